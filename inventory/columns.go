package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetctl/internal/filter"
)

// Column is what a table or CSV shows of a node, and how it is sorted.
type Column struct {
	Name, Title string
	Text        func(n Node) string
	// Which requests the column needs.
	Stats, Agents, Facts bool

	key     func(n Node) string   // what is sorted; nil is the text
	compare func(a, b string) int // nil is strings.Compare
}

// DefaultColumns are shown where none are named.
var DefaultColumns = []string{"node", "version", "upgradable", "collectives", "agents", "uptime"}

// FactPrefix makes a column, or a grouping, of any fact.
const FactPrefix = "fact:"

var columns = []Column{
	{Name: "node", Title: "Node", Text: func(n Node) string { return n.Identity },
		key: func(n Node) string { return fmt.Sprintf("%09d", n.Place) }}, // the list is in natural order
	{Name: "version", Title: "Version", Text: func(n Node) string { return n.Version }, compare: filter.CompareVersions},
	{Name: "upgradable", Title: "Upgradable", Text: func(n Node) string { return YesNo(n.Upgradable) }},
	{Name: "uptime", Title: "Uptime", Stats: true, Text: func(n Node) string {
		if n.Stats == nil {
			return ""
		}
		return UptimeText(n.Uptime)
	}, key: func(n Node) string { return fmt.Sprintf("%015d", n.Uptime/time.Second) }},
	{Name: "started", Title: "Started", Stats: true, Text: func(n Node) string {
		if n.Stats == nil {
			return ""
		}
		return n.Stats.StartTime.UTC().Format(time.RFC3339)
	}},
	{Name: "main_collective", Title: "Main Collective", Text: func(n Node) string { return n.MainCollective }},
	{Name: "collectives", Title: "Collectives", Text: func(n Node) string { return strings.Join(n.Collectives, " ") }},
	{Name: "agents", Title: "Agents", Text: func(n Node) string { return strings.Join(n.Agents, " ") }},
	{Name: "agent_versions", Title: "Agent Versions", Agents: true, Text: func(n Node) string {
		return strings.Join(agentNames(n), ", ")
	}},
	{Name: "token-expires", Title: "Token Expires", Text: expiry},
	{Name: "classes", Title: "Classes", Text: func(n Node) string { return strings.Join(n.Classes, " ") }},
}

// YesNo is a truth as tables show it.
func YesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// ColumnNames lists the names for help and hints.
func ColumnNames() string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// ColumnOf finds a column by its name: one of ColumnNames, or fact:NAME.
func ColumnOf(name string) (Column, error) {
	if i := slices.IndexFunc(columns, func(c Column) bool { return c.Name == name }); i >= 0 {
		return columns[i], nil
	}
	if path, ok := strings.CutPrefix(name, FactPrefix); ok && path != "" {
		return Column{Name: name, Title: path, Facts: true, compare: compareNumbers, Text: func(n Node) string {
			text, _ := filter.TextAt(n.Facts, path)
			return text
		}}, nil
	}
	meant := ""
	if near := filter.Nearest(name, strings.Split(ColumnNames(), ", ")); near != "" {
		meant = " (did you mean " + near + "?)"
	}
	return Column{}, fmt.Errorf("unknown column %q%s: there are %s, and %sNAME for a fact", name, meant, ColumnNames(), FactPrefix)
}

// compareNumbers compares as numbers what is written as numbers.
func compareNumbers(a, b string) int {
	x, xerr := strconv.ParseFloat(a, 64)
	y, yerr := strconv.ParseFloat(b, 64)
	if xerr == nil && yerr == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

// Grouping is what --group-by counts; nil for none. byFact means that the nodes have to be asked for their facts.
func Grouping(by string) (values func(Node) []string, byFact bool) {
	switch by {
	case "":
		return nil, false
	case "version":
		return func(n Node) []string { return []string{n.Version} }, false
	case "class":
		return func(n Node) []string { return n.Classes }, false
	case "collective":
		return func(n Node) []string { return n.Collectives }, false
	case "agent":
		return agentNames, false
	case "upgradable":
		return func(n Node) []string { return []string{YesNo(n.Upgradable)} }, false
	}
	if by == "token-expiry" {
		now := time.Now()
		return func(n Node) []string { return expiryBucket(n, now) }, false
	}
	path := strings.TrimPrefix(by, FactPrefix)
	return func(n Node) []string {
		if text, ok := filter.TextAt(n.Facts, path); ok {
			return []string{text}
		}
		return nil
	}, true
}

// GroupNames are what Grouping counts without facts.
var GroupNames = []string{"version", "class", "collective", "agent", "upgradable", "token-expiry"}

// UptimeText is a duration in its two largest units.
func UptimeText(d time.Duration) string {
	d = d.Round(time.Second)
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
