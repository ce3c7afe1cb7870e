// Package page writes a report that people look at: one HTML file that needs no network, or Markdown for the summary of a
// CI job. It also turns times into histograms and the nodes of a table into heat maps.
//
// It knows how a report looks: sections, charts, colors, the table that filters and sorts itself. It does not know what a
// run or an inventory is; packages that do describe theirs as a Document. Invariants: text of a document is never markup
// or code in the output; the HTML file holds all that it needs, and its content security policy forbids the rest.
package page

import "time"

// Tone is what a value means for the operator. It chooses a color; the text beside it always says the same.
type Tone string

// The tones.
const (
	Good Tone = "good" // it succeeded
	Bad  Tone = "bad"  // it failed
	Warn Tone = "warn" // it was not reached
	Open Tone = "open" // the outcome is not known
	Idle Tone = "idle" // nothing was done
)

// Document is a report. Empty parts are left out.
type Document struct {
	Title   string
	Verdict string
	Tone    Tone // of the verdict
	Facts   []Pair
	Notes   []string // the plan, in sentences
	Counts  []Count
	Groups  []Group
	Spans   []Span
	Checks  []Check
	Bars    []Bars
	Nodes   Table
}

// Pair is a name with its value. A pair without a value is left out.
type Pair struct{ Name, Value string }

// Count is how many nodes have a value of the column Nodes.By.
type Count struct {
	Name string
	N    int
	Tone Tone
	Free bool // the nodes are not in the table
}

// Group is a set of nodes that share a cause.
type Group struct {
	Cause string
	N     int
	Nodes string // folded
	Tone  Tone
	Where []Pair // columns of the table and the values that these nodes have there; none for nodes that are not in it
}

// Span is a line of the timeline: nodes that were sent to together.
type Span struct {
	Name, Note, Result string
	Nodes              int
	// Times since the start. Answered and Ended are those of the last node; negative where there is none.
	Sent, Answered, Ended time.Duration
	Tone                  Tone
}

// Check is a place at which it was asked whether more may be sent.
type Check struct {
	Place, Result, Reason string
	Rounds                int           // how often it was asked
	At, Took              time.Duration // since the start, and from the first round to the last
	Tone                  Tone
}

// Bars are counts that are drawn beside each other.
type Bars struct {
	Title, Note string
	Unit        string // heads the labels
	Items       []Bar
}

// Bar is one of them.
type Bar struct {
	Label string
	N     int
}

// Kind is what the cells of a column are.
type Kind string

// The kinds.
const (
	Text    Kind = "text"    // strings
	Choice  Kind = "choice"  // strings; few differ, so the reader can choose one
	Number  Kind = "number"  // int
	Seconds Kind = "seconds" // time.Duration, shown in seconds
)

// Column of a table. Key names it in links.
type Column struct {
	Key, Title string
	Kind       Kind
	Map        bool // shown as a heat map against the column By
	Aside      bool // not shown in the table: one can only choose by it
}

// Table holds a row for each node. A cell is of its column's kind, or nil.
type Table struct {
	Columns []Column
	Rows    [][]any
	By      string          // the key of the column that colors the rows and heads the heat maps
	Tones   map[string]Tone // of its values; nil: the rows have no color
}

// at is the place of a column; -1 when there is none.
func (t Table) at(key string) int {
	for i, c := range t.Columns {
		if c.Key == key {
			return i
		}
	}
	return -1
}
