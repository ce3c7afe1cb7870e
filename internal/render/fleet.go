package render

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"fleetctl/internal/plain"
	"fleetctl/inventory"
)

// FleetOptions are the operator's wishes for a report on a fleet.
type FleetOptions struct {
	// GroupBy names what the groups are of; empty is the report without groups.
	GroupBy string
	// Bars draws the counts as bars as well, for a terminal of this width; zero draws none.
	Bars int
}

// absent stands for a value that nodes do not have.
const absent = "(none)"

// bar is one line of a chart.
type bar struct {
	name, note string
	count      int
}

// chart writes counts with their share of all nodes, and bars where there is room.
func chart(w io.Writer, bars []bar, all, width int) {
	const indent, gap, smallest = 4, 2, 10
	longest, most, digits, note := 0, 0, 0, 0
	for _, b := range bars {
		longest = max(longest, utf8.RuneCountInString(b.name))
		note = max(note, utf8.RuneCountInString(b.note))
		most = max(most, b.count)
	}
	digits = len(strconv.Itoa(most))
	room := width - indent - longest - digits - note - len("100%") - 4*gap
	for _, b := range bars {
		line := fmt.Sprintf("%*s%-*s  %*d  %3d%%  %-*s", indent, "", longest, b.name, digits, b.count, share(b.count, all), note, b.note)
		if width > 0 && room >= smallest && most > 0 {
			line += "  " + strings.Repeat("█", (b.count*room+most-1)/most)
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// share is a percentage; only none is 0 and only all is 100.
func share(n, all int) int {
	if n == 0 || all == 0 {
		return 0
	}
	if n == all {
		return 100
	}
	return min(max((200*n+all)/(2*all), 1), 99)
}

func bars(counts []inventory.Count) []bar {
	list := make([]bar, 0, len(counts))
	for _, c := range counts {
		list = append(list, bar{name: oneLine(c.Name), count: c.Nodes})
	}
	return list
}

// Fleet writes what a fleet consists of: versions, collectives and agents, or the groups that were asked for.
func Fleet(w io.Writer, t *inventory.Tally, o FleetOptions) error {
	buf := bufio.NewWriter(w)
	if t.Selected > 0 && o.GroupBy != "" {
		fmt.Fprintf(buf, "By %s:\n\n", oneLine(o.GroupBy))
		var list []bar
		for _, g := range t.Groups() {
			list = append(list, bar{name: groupName(g), count: g.Nodes, note: fmt.Sprintf("%d upgradable", g.Upgradable)})
		}
		chart(buf, list, t.Selected, o.Bars)
		fmt.Fprintln(buf)
	} else if t.Selected > 0 {
		for _, section := range []struct {
			title  string
			counts []inventory.Count
			width  int
		}{{"Versions", t.Versions(), o.Bars}, {"Collectives", t.Collectives(), 0}, {"Agents", t.Agents(), 0}} {
			fmt.Fprintf(buf, "%s:\n\n", section.title)
			chart(buf, bars(section.counts), t.Selected, section.width)
			fmt.Fprintln(buf)
		}
		if t.Timed > 0 {
			fmt.Fprintf(buf, "Up for %s to %s.\n\n", inventory.UptimeText(t.Shortest), inventory.UptimeText(t.Longest))
		}
	}
	fmt.Fprintln(buf, FleetVerdict(t))
	return buf.Flush()
}

// FleetVerdict is the account of a survey in one line.
func FleetVerdict(t *inventory.Tally) string {
	text := fmt.Sprintf("%s, %d upgradable during provisioning", plain.Count(t.Selected, "node"), t.Upgradable)
	if others := t.Told - t.Selected; others > 0 {
		text += fmt.Sprintf("; %d not selected", others)
	}
	if n := len(t.Silent); n > 0 {
		text += fmt.Sprintf("; %d did not reply", n)
	}
	if n := len(t.Problems); n > 0 {
		text += fmt.Sprintf("; %d did not tell", n)
	}
	return text + "."
}

func groupName(g inventory.GroupCount) string {
	if g.Absent {
		return absent
	}
	return oneLine(g.Name)
}

// FleetGroups are the groups as a header and rows, for tables and CSV.
func FleetGroups(t *inventory.Tally, by string) (header []string, rows [][]string) {
	for _, g := range t.Groups() {
		name := g.Name
		if g.Absent {
			name = absent
		}
		rows = append(rows, []string{name, strconv.Itoa(g.Nodes), strconv.Itoa(g.Upgradable)})
	}
	return []string{by, "Nodes", "Upgradable"}, rows
}

// fleetCounts are the counts of a report.
type fleetCounts struct {
	SchemaVersion int                 `json:"schema_version"`
	Asked         int                 `json:"asked"`
	Count         int                 `json:"count"`
	Upgradable    int                 `json:"upgradable"`
	Versions      []inventory.Count   `json:"versions,omitempty"`
	Collectives   []inventory.Count   `json:"collectives,omitempty"`
	Agents        []inventory.Count   `json:"agents,omitempty"`
	Silent        []string            `json:"silent"`
	Problems      []inventory.Problem `json:"problems"`
	Partial       []inventory.Problem `json:"partial"`
}

// FleetLine writes the counts as the last of the JSON lines.
func FleetLine(l Lines, t *inventory.Tally) error {
	return l.fleet(fleetCounts{SchemaVersion, t.Asked(), t.Selected, t.Upgradable, t.Versions(), t.Collectives(), t.Agents(),
		notNil(t.Silent), problems(t.Problems), problems(t.Partial)})
}

func problems(list []inventory.Problem) []inventory.Problem {
	if list == nil {
		return []inventory.Problem{}
	}
	return list
}

// FleetJSON writes the document of a fleet: counts, the nodes one after another, and who did not answer. nodes are
// records as JSON; with groups they are left out.
func FleetJSON(w io.Writer, t *inventory.Tally, nodes []json.RawMessage, o FleetOptions) error {
	buf := bufio.NewWriter(w)
	d := document{w: buf}
	d.print("{\n")
	d.member("schema_version", SchemaVersion)
	d.member("asked", t.Asked())
	d.member("count", t.Selected)
	d.member("upgradable", t.Upgradable)
	if o.GroupBy != "" {
		groups := t.Groups()
		if groups == nil {
			groups = []inventory.GroupCount{}
		}
		d.member("group_by", o.GroupBy)
		d.member("groups", groups)
	} else {
		d.member("versions", listed(t.Versions()))
		d.member("collectives", listed(t.Collectives()))
		d.member("agents", listed(t.Agents()))
		d.print(documentIndent + `"nodes": [`)
		for i, n := range nodes {
			if i > 0 {
				d.print(",")
			}
			d.print("\n" + documentIndent + documentIndent)
			d.value(n, documentIndent+documentIndent)
		}
		if len(nodes) > 0 {
			d.print("\n" + documentIndent)
		}
		d.print("],\n")
	}
	d.member("silent", notNil(t.Silent))
	d.member("problems", problems(t.Problems))
	d.print(documentIndent + `"partial": `)
	d.value(problems(t.Partial), documentIndent)
	d.print("\n}\n")
	if d.err != nil {
		return d.err
	}
	return buf.Flush()
}

func listed(list []inventory.Count) []inventory.Count {
	if list == nil {
		return []inventory.Count{}
	}
	return list
}

// Side is one side of a comparison.
type Side struct {
	// Source is a file, or the network.
	Source string    `json:"source"`
	Taken  time.Time `json:"taken"`
	Nodes  int       `json:"nodes"`
}

// Difference writes what has changed from one side to the other, each group with its nodes folded.
func Difference(w io.Writer, d inventory.Difference, from, to Side, o TextOptions) error {
	buf := bufio.NewWriter(w)
	for _, s := range []struct {
		word string
		side Side
	}{{"From", from}, {"To  ", to}} {
		fmt.Fprintf(buf, "%s %s of %s: %s\n", s.word, oneLine(s.side.Source), s.side.Taken.UTC().Format("2006-01-02 15:04:05 UTC"), plain.Count(s.side.Nodes, "node"))
	}
	fmt.Fprintln(buf)
	var groups []Group
	for _, g := range d.Groups {
		changes := make([]string, len(g.Changes))
		for i, c := range g.Changes {
			changes[i] = c.String()
		}
		groups = append(groups, Group{Cause: strings.Join(changes, "; "), Nodes: g.Nodes})
	}
	writeGroups(buf, groups, o)
	if len(groups) == 0 {
		fmt.Fprintf(buf, "No difference: %s the same.\n", plain.Count(d.Same, "node"))
	} else {
		fmt.Fprintf(buf, "%s the same.\n", plain.Count(d.Same, "node"))
	}
	return buf.Flush()
}

// DifferenceJSON writes the same as a document.
func DifferenceJSON(w io.Writer, d inventory.Difference, from, to Side) error {
	groups := d.Groups
	if groups == nil {
		groups = []inventory.ChangeGroup{}
	}
	from.Taken, to.Taken = from.Taken.UTC(), to.Taken.UTC()
	return IndentedJSON(w, struct {
		SchemaVersion int                     `json:"schema_version"`
		From          Side                    `json:"from"`
		To            Side                    `json:"to"`
		Same          int                     `json:"same"`
		Groups        []inventory.ChangeGroup `json:"groups"`
	}{SchemaVersion, from, to, d.Same, groups})
}

// CSVStream writes comma-separated values row by row.
type CSVStream struct{ c *csv.Writer }

// NewCSVStream writes the header.
func NewCSVStream(w io.Writer, header []string) (CSVStream, error) {
	s := CSVStream{csv.NewWriter(w)}
	return s, s.Row(header)
}

// Row writes a row, which may stay in a buffer until Close.
func (s CSVStream) Row(row []string) error { return s.c.Write(harmless(row)) }

// Close writes what is left in the buffer. The writer below stays open.
func (s CSVStream) Close() error {
	s.c.Flush()
	return s.c.Error()
}
