package cmd

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetctl/internal/filter"
	"fleetctl/internal/render"
	"fleetctl/inventory"
)

// column is what a table or CSV shows of a node, and how it is sorted.
type column struct {
	name, title string
	text        func(a inventory.Answer) string
	// key is what is sorted; nil is the text.
	key     func(a inventory.Answer) string
	compare func(a, b string) int // nil is strings.Compare
	// What has to be asked for it.
	stats, agents, facts bool
}

var defaultColumns = []string{"node", "version", "upgradable", "collectives", "agents", "uptime"}

// factPrefix makes a column, or a grouping, of any fact.
const factPrefix = "fact:"

var columns = []column{
	{name: "node", title: "Node", text: func(a inventory.Answer) string { return a.Identity },
		key: func(a inventory.Answer) string { return fmt.Sprintf("%09d", a.Place) }}, // the list is in natural order
	{name: "version", title: "Version", text: func(a inventory.Answer) string { return a.Node.Version }, compare: filter.CompareVersions},
	{name: "upgradable", title: "Upgradable", text: func(a inventory.Answer) string { return yesNo(a.Node.Upgradable) }},
	{name: "uptime", title: "Uptime", stats: true, text: func(a inventory.Answer) string {
		if a.Node.Stats == nil {
			return ""
		}
		return render.Uptime(a.Uptime)
	}, key: func(a inventory.Answer) string { return fmt.Sprintf("%015d", a.Uptime/time.Second) }},
	{name: "started", title: "Started", stats: true, text: func(a inventory.Answer) string {
		if a.Node.Stats == nil {
			return ""
		}
		return a.Node.Stats.StartTime.UTC().Format(time.RFC3339)
	}},
	{name: "main_collective", title: "Main Collective", text: func(a inventory.Answer) string { return a.Node.MainCollective }},
	{name: "collectives", title: "Collectives", text: func(a inventory.Answer) string { return strings.Join(a.Node.Collectives, " ") }},
	{name: "agents", title: "Agents", text: func(a inventory.Answer) string { return strings.Join(a.Node.Agents, " ") }},
	{name: "agent_versions", title: "Agent Versions", agents: true, text: func(a inventory.Answer) string {
		return strings.Join(inventory.AgentNames(a), ", ")
	}},
	{name: "classes", title: "Classes", text: func(a inventory.Answer) string { return strings.Join(a.Node.Classes, " ") }},
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func columnNames() string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

func columnOf(name string) (column, error) {
	if i := slices.IndexFunc(columns, func(c column) bool { return c.name == name }); i >= 0 {
		return columns[i], nil
	}
	if path, ok := strings.CutPrefix(name, factPrefix); ok && path != "" {
		return column{name: name, title: path, facts: true, compare: compareNumbers, text: func(a inventory.Answer) string {
			text, _ := filter.TextAt(a.Node.Facts, path)
			return text
		}}, nil
	}
	meant := ""
	if near := filter.Nearest(name, strings.Split(columnNames(), ", ")); near != "" {
		meant = " (is " + near + " meant?)"
	}
	return column{}, fmt.Errorf("unknown column %q%s: there are %s, and %sNAME for a fact", name, meant, columnNames(), factPrefix)
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

// sorting is one column of an order.
type sorting struct {
	column
	down bool
}

func trimSort(name string) string { return strings.TrimLeft(name, "-+") }

func orderOf(names []string) ([]sorting, error) {
	var order []sorting
	for _, name := range names {
		c, err := columnOf(trimSort(name))
		if err != nil {
			return nil, err
		}
		if c.key == nil {
			c.key = c.text
		}
		if c.compare == nil {
			c.compare = strings.Compare
		}
		order = append(order, sorting{c, strings.HasPrefix(name, "-")})
	}
	return order, nil
}

// line is one node on its way out: only what is shown of it.
type line struct {
	place int
	keys  []string
	cells []string
	text  []byte
}

func newLine(a inventory.Answer, order []sorting) line {
	l := line{place: a.Place}
	for _, s := range order {
		l.keys = append(l.keys, s.key(a))
	}
	return l
}

// sortLines sorts by the order, and nodes that are equal in it by name.
func sortLines(lines []line, order []sorting) {
	slices.SortFunc(lines, func(a, b line) int {
		for i, s := range order {
			n := s.compare(a.keys[i], b.keys[i])
			if s.down {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return cmp.Compare(a.place, b.place)
	})
}

// grouping is what --group-by counts; nil for none.
func grouping(by string) (values func(inventory.Answer) []string, byFact bool) {
	switch by {
	case "":
		return nil, false
	case "version":
		return func(a inventory.Answer) []string { return []string{a.Node.Version} }, false
	case "class":
		return func(a inventory.Answer) []string { return a.Node.Classes }, false
	case "collective":
		return func(a inventory.Answer) []string { return a.Node.Collectives }, false
	case "agent":
		return inventory.AgentNames, false
	case "upgradable":
		return func(a inventory.Answer) []string { return []string{yesNo(a.Node.Upgradable)} }, false
	}
	path := strings.TrimPrefix(by, factPrefix)
	return func(a inventory.Answer) []string {
		if text, ok := filter.TextAt(a.Node.Facts, path); ok {
			return []string{text}
		}
		return nil
	}, true
}
