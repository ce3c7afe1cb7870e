package page

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"fleetctl/internal/plain"
)

// Limits of Markdown: GitHub refuses a summary of more than 1 MiB.
const (
	markdownRows  = 200
	markdownNodes = 20_000 // bytes of the names of one group
)

// Markdown writes a document for a CI job's summary, as GitHub and GitLab show it. It has no HTML and no pictures. A table
// of nodes is written only where no groups and no tones say what is wrong with them.
func Markdown(w io.Writer, d Document) error {
	m := markdown{bufio.NewWriter(w)}
	fmt.Fprintf(m, "# %s\n\n**%s**\n\n", escape(d.Title), escape(d.Verdict))
	if len(d.Counts) > 0 {
		m.head("Nodes", "State")
		for _, c := range d.Counts {
			m.row(strconv.Itoa(c.N), c.Name)
		}
		fmt.Fprintln(m)
	}
	if len(d.Groups) > 0 {
		fmt.Fprint(m, "## Nodes that need a look\n\n")
		for _, g := range d.Groups {
			fmt.Fprintf(m, "- **%d: %s** – %s\n", g.N, escape(g.Cause), escape(cut(g.Nodes)))
		}
		fmt.Fprintln(m)
	}
	if len(d.Facts) > 0 {
		fmt.Fprint(m, "## About\n\n")
		m.head("What", "Value")
		for _, f := range d.Facts {
			if f.Value != "" {
				m.row(f.Name, f.Value)
			}
		}
		fmt.Fprintln(m)
	}
	for _, n := range d.Notes {
		fmt.Fprintf(m, "- %s\n", escape(n))
	}
	if len(d.Notes) > 0 {
		fmt.Fprintln(m)
	}
	m.spans(d.Spans)
	m.checks(d.Checks)
	for _, b := range d.Bars {
		m.bars(b)
	}
	for _, h := range d.Nodes.heats() {
		m.heat(h)
	}
	if d.Nodes.Tones == nil {
		m.nodes(d.Nodes)
	}
	return m.Flush()
}

// cut ends a long list of nodes after a whole name.
func cut(nodes string) string {
	if len(nodes) <= markdownNodes {
		return nodes
	}
	return nodes[:strings.LastIndexByte(nodes[:markdownNodes], ',')+1] + " …"
}

// markdown writes to a buffer, which keeps the first error.
type markdown struct{ *bufio.Writer }

func (m markdown) head(titles ...string) {
	m.row(titles...)
	fmt.Fprintln(m, "|"+strings.Repeat(" --- |", len(titles)))
}

func (m markdown) row(cells ...string) {
	for _, c := range cells {
		fmt.Fprintf(m, "| %s ", escape(c))
	}
	fmt.Fprintln(m, "|")
}

// rest reports how many lines of a table are missing.
func (m markdown) rest(n int) {
	if n > 0 {
		fmt.Fprintf(m, "\n%d more are not shown.\n", n)
	}
	fmt.Fprintln(m)
}

func (m markdown) spans(spans []Span) {
	if len(spans) == 0 {
		return
	}
	fmt.Fprint(m, "## Timeline\n\n")
	m.head("Sent", "Nodes", "At", "Answered", "Ended", "Result")
	for _, s := range spans {
		m.row(s.Name, strconv.Itoa(s.Nodes), offset(s.Sent), offset(s.Answered), offset(s.Ended), s.Result)
	}
	fmt.Fprintln(m)
}

func (m markdown) checks(checks []Check) {
	if len(checks) == 0 {
		return
	}
	fmt.Fprint(m, "## Gates\n\n")
	m.head("Asked", "At", "Rounds", "Took", "Result", "Why")
	for _, c := range checks[:min(len(checks), markdownRows)] {
		m.row(c.Place, offset(c.At), strconv.Itoa(c.Rounds), offset(c.Took), c.Result, c.Reason)
	}
	m.rest(len(checks) - markdownRows)
}

func (m markdown) bars(b Bars) {
	if len(b.Items) == 0 {
		return
	}
	fmt.Fprintf(m, "## %s\n\n", escape(b.Title))
	if b.Note != "" {
		fmt.Fprintf(m, "%s\n\n", escape(b.Note))
	}
	m.head(b.Unit, "Nodes")
	for _, i := range b.Items[:min(len(b.Items), markdownRows)] {
		m.row(i.Label, strconv.Itoa(i.N))
	}
	m.rest(len(b.Items) - markdownRows)
}

func (m markdown) heat(h heat) {
	fmt.Fprintf(m, "## By %s\n\n", escape(h.Title))
	titles := []string{h.Title}
	for _, name := range h.Heads {
		titles = append(titles, orNone(name))
	}
	m.head(append(titles, "Nodes")...)
	for _, r := range h.Rows {
		cells := []string{orNone(r.Name)}
		for _, n := range append(r.Cells, r.Total) {
			cells = append(cells, strconv.Itoa(n))
		}
		m.row(cells...)
	}
	m.rest(h.More)
}

func orNone(name string) string {
	if name == "" {
		return "(none)"
	}
	return name
}

func (m markdown) nodes(t Table) {
	if len(t.Rows) == 0 {
		return
	}
	fmt.Fprint(m, "## Nodes\n\n")
	var titles []string
	for _, c := range t.Columns {
		titles = append(titles, c.Title)
	}
	m.head(titles...)
	for _, r := range t.Rows[:min(len(t.Rows), markdownRows)] {
		var cells []string
		for _, cell := range r {
			cells = append(cells, cellText(cell))
		}
		m.row(cells...)
	}
	m.rest(len(t.Rows) - markdownRows)
}

// special are characters with a meaning in Markdown, in its tables, or as the mention of a user. They are written as
// entities: the backslash does not protect every one of them in a table.
const special = "\\`*_~{}[]<>|&$@#"

// escape makes a text one line that is no markup.
func escape(s string) string {
	s = plain.Line(s)
	var b strings.Builder
	for i, r := range s {
		switch {
		case (r == '_' || r == '#' || r == '@') && between(s, i) && harmless(r, s[i+1:]):
			b.WriteRune(r)
		case strings.ContainsRune(special, r), r == ':' && strings.HasPrefix(s[i:], "://"), r == '.' && strings.HasSuffix(strings.ToLower(s[:i]), "www"):
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// harmless reports whether a character within a word has no meaning: no emphasis begins there, as in an agent's name;
// agent#action is no number of an issue, and user@host without a domain no address.
func harmless(r rune, rest string) bool {
	word, _, _ := strings.Cut(rest, " ")
	switch r {
	case '#':
		return word[0] < '0' || word[0] > '9'
	case '@':
		return !strings.Contains(word, ".")
	}
	return true
}

// between reports whether the byte at i stands between letters or digits.
func between(s string, i int) bool {
	return i > 0 && i+1 < len(s) && isWord(s[i-1]) && isWord(s[i+1])
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
