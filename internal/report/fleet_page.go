package report

import (
	"slices"
	"strconv"
	"time"

	"fleetctl/discovery"
	"fleetctl/internal/page"
	"fleetctl/internal/render"
	"fleetctl/inventory"
)

// pageSink keeps a line for each node, and writes the page at the end. With groups the page has no nodes.
type pageSink struct {
	o     FleetOptions
	lines []inventory.Line
}

// uptimeColumn holds a time; all other columns are texts.
const uptimeColumn = "uptime"

func (s *pageSink) add(n inventory.Node) error {
	if s.o.GroupBy != "" {
		return nil
	}
	l := s.o.Order.Line(n)
	for _, c := range s.o.Columns {
		text := c.Text(n)
		if c.Name == uptimeColumn && text != "" {
			text = strconv.FormatInt(int64(n.Uptime), 10)
		}
		l.Cells = append(l.Cells, text)
	}
	s.lines = append(s.lines, l)
	return nil
}

func (s *pageSink) end(t *inventory.Tally) error {
	defer s.o.verdict(t)
	s.o.Order.Sort(s.lines)
	d := fleetPage(t, s.o)
	if s.o.GroupBy == "" {
		d.Nodes = s.table()
	}
	return writePage(s.o.Out, s.o.Format, d)
}

// fleetPage describes the counts of a fleet.
func fleetPage(t *inventory.Tally, o FleetOptions) page.Document {
	d := page.Document{
		Title: "Inventory", Verdict: render.FleetVerdict(t), Tone: page.Good,
		Facts: []page.Pair{{Name: "Taken", Value: render.When(o.Info.Taken)}, {Name: "Collective", Value: o.Info.Collective}},
	}
	for _, c := range []page.Count{
		{Name: "selected", N: t.Selected, Tone: page.Good}, {Name: "upgradable", N: t.Upgradable, Tone: page.Open},
		{Name: "did not reply", N: len(t.Silent), Tone: page.Warn}, {Name: "refused", N: len(t.Problems), Tone: page.Bad},
	} {
		if c.Free = true; c.N > 0 {
			d.Counts = append(d.Counts, c)
		}
	}
	d.Groups = missing(t)
	if len(d.Groups) > 0 {
		d.Tone = page.Warn
	}
	if o.GroupBy != "" {
		bars := page.Bars{Title: "By " + o.GroupBy, Unit: o.GroupBy}
		for _, g := range t.Groups() {
			name := g.Name
			if g.Absent {
				name = "(none)"
			}
			bars.Items = append(bars.Items, page.Bar{Label: name, N: g.Nodes})
		}
		d.Bars = []page.Bars{bars}
		return d
	}
	for _, c := range []struct {
		title, unit string
		counts      []inventory.Count
	}{{"Versions", "Version", t.Versions()}, {"Collectives", "Collective", t.Collectives()}, {"Agents", "Agent", t.Agents()}} {
		bars := page.Bars{Title: c.title, Unit: c.unit}
		for _, n := range c.counts {
			bars.Items = append(bars.Items, page.Bar{Label: n.Name, N: n.Nodes})
		}
		d.Bars = append(d.Bars, bars)
	}
	return d
}

// missing groups the nodes whose answers are missing, by the reason.
func missing(t *inventory.Tally) []page.Group {
	var groups []page.Group
	add := func(cause string, tone page.Tone, nodes []string) {
		if len(nodes) > 0 {
			groups = append(groups, page.Group{Cause: cause, N: len(nodes), Nodes: discovery.Fold(nodes), Tone: tone})
		}
	}
	add("replies rejected, the token has expired", page.Bad, t.Expired)
	byReason := map[string][]string{}
	for _, p := range slices.Concat(t.Problems, t.Partial) {
		byReason[p.Reason()] = append(byReason[p.Reason()], p.Node)
	}
	for _, reason := range sortedKeys(byReason) {
		add(reason, page.Bad, byReason[reason])
	}
	add("not connected", page.Warn, t.Absent)
	add("did not reply", page.Warn, discovery.Without(t.Silent, slices.Concat(t.Absent, t.Expired)))
	return groups
}

// choices are the columns with few different values; facts are, too.
var choices = []string{"version", "upgradable", "main_collective", "collectives", "agents", "agent_versions", "classes"}

func (s *pageSink) table() page.Table {
	t := page.Table{By: "version"}
	for _, c := range s.o.Columns {
		column := page.Column{Key: c.Name, Title: c.Title, Kind: page.Text}
		switch {
		case c.Name == uptimeColumn:
			column.Kind = page.Seconds
		case c.Facts, slices.Contains(choices, c.Name):
			column.Kind, column.Map = page.Choice, c.Facts || c.Name == "main_collective" || c.Name == "upgradable"
		}
		t.Columns = append(t.Columns, column)
	}
	for _, l := range s.lines {
		row := make([]any, len(l.Cells))
		for i, cell := range l.Cells {
			row[i] = cell
			if t.Columns[i].Kind == page.Seconds {
				row[i] = nil
				if ns, err := strconv.ParseInt(cell, 10, 64); err == nil {
					row[i] = time.Duration(ns)
				}
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
