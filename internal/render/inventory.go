package render

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"fleetctl/inventory"
)

// The columns of `choria inventory` (docs/protocol.md, choria inventory).
const (
	labelWidth    = 27
	agentColumns  = 3
	agentWidth    = 15
	classColumns  = 2
	maxClassWidth = 40
)

// InventoryOptions are the operator's wishes for one node's inventory.
type InventoryOptions struct {
	// HideFacts leaves the facts out.
	HideFacts bool
	// Location is where the start time is shown; nil is UTC.
	Location *time.Location
}

// Inventory writes one node as `choria inventory` does. A node without statistics shows `unknown` for each of them.
func Inventory(w io.Writer, n inventory.Node, o InventoryOptions) error {
	buf := bufio.NewWriter(w)
	fmt.Fprintf(buf, "Inventory for %s\n\n  Choria Server Statistics:\n\n", oneLine(n.Identity))
	for _, l := range statistics(n, o) {
		fmt.Fprintf(buf, "%*s: %s\n", labelWidth, l[0], oneLine(l[1]))
	}
	fmt.Fprint(buf, "\n  Agents:\n\n")
	columns(buf, n.Agents, agentColumns, agentWidth)
	fmt.Fprint(buf, "\n  Tagged Classes:\n\n")
	longest := 0
	for _, c := range n.Classes {
		longest = min(max(longest, utf8.RuneCountInString(c)), maxClassWidth)
	}
	columns(buf, n.Classes, classColumns, longest)
	fmt.Fprintln(buf)
	if len(n.Machines) > 0 {
		fmt.Fprint(buf, "  Autonomous Agents:\n\n")
		table := tabwriter.NewWriter(buf, 0, 0, 4, ' ', 0)
		for _, m := range n.Machines {
			fmt.Fprintf(table, "    %s\t%s\t%s\t\n", oneLine(m.Name), oneLine(m.Version), oneLine(m.State))
		}
		table.Flush() // an error stays in buf
		fmt.Fprintln(buf)
	}
	if !o.HideFacts {
		facts := n.Facts
		if len(facts) == 0 {
			facts = []byte("{}")
		}
		fmt.Fprintf(buf, "  Facts:\n\n%s\n\n", clean(string(prettyJSON(facts, "    ", 0))))
	}
	return buf.Flush()
}

func statistics(n inventory.Node, o InventoryOptions) [][2]string {
	version := n.Version
	if n.Upgradable {
		version += " (upgradable during provisioning)"
	}
	stat := func(get func(s inventory.Stats) string) string {
		if n.Stats == nil {
			return "unknown"
		}
		return get(*n.Stats)
	}
	count := func(get func(s inventory.Stats) int64) string {
		return stat(func(s inventory.Stats) string { return strconv.FormatInt(get(s), 10) })
	}
	location := o.Location
	if location == nil {
		location = time.UTC
	}
	return [][2]string{
		{"Version", version},
		{"Start Time", stat(func(s inventory.Stats) string { return s.StartTime.Round(time.Second).In(location).String() })},
		{"Config File", stat(func(s inventory.Stats) string { return s.ConfigFile })},
		{"Collectives", strings.Join(n.Collectives, ", ")},
		{"Main Collective", n.MainCollective},
		{"Process ID", count(func(s inventory.Stats) int64 { return s.PID })},
		{"Total Messages", count(func(s inventory.Stats) int64 { return s.Total })},
		{"Messages Passed Filters", count(func(s inventory.Stats) int64 { return s.Passed })},
		{"Messages Filtered", count(func(s inventory.Stats) int64 { return s.Filtered })},
		{"Expired Messages", count(func(s inventory.Stats) int64 { return s.Expired })},
		{"Replies Sent", count(func(s inventory.Stats) int64 { return s.Replies })},
		{"Events Published", count(func(s inventory.Stats) int64 { return s.Events })},
	}
}

// columns fills n columns from top to bottom.
func columns(w io.Writer, list []string, n, width int) {
	rows := (len(list) + n - 1) / n
	for row := range rows {
		cells := make([]string, n)
		for col := range n {
			if i := row + col*rows; i < len(list) {
				cells[col] = oneLine(list[i])
			}
			cells[col] = fmt.Sprintf("%-*s", width, cells[col])
		}
		fmt.Fprintf(w, "    %s\n", strings.Join(cells, " "))
	}
}

// Collectives writes the table of `choria inventory --collectives`.
func Collectives(w io.Writer, c inventory.Collectives) error {
	var rows [][]string
	for _, count := range c.Counts {
		rows = append(rows, []string{count.Name, strconv.Itoa(count.Nodes)})
	}
	return Table(w, fmt.Sprintf("Collective Report for %d nodes", len(c.Nodes)), []string{"Collective", "Nodes"}, rows)
}
