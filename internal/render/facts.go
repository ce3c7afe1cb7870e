package render

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// FactValue is one value of a fact and the nodes that have it.
type FactValue struct {
	Value string
	Nodes []string
}

// FactOptions are the operator's wishes for a fact report.
type FactOptions struct {
	// ShowNodes lists the nodes below each value.
	ShowNodes bool
	// Reverse puts the most frequent value first; otherwise it is last, as upstream has it.
	Reverse bool
}

func (o FactOptions) order(values []FactValue) []FactValue {
	return slices.SortedStableFunc(slices.Values(values), func(a, b FactValue) int {
		n := cmp.Compare(len(a.Nodes), len(b.Nodes))
		if o.Reverse {
			n = -n
		}
		return cmp.Or(n, strings.Compare(a.Value, b.Value))
	})
}

// Facts writes the report of `choria facts`, without its footer: Footer writes that.
func Facts(w io.Writer, fact string, values []FactValue, o FactOptions) error {
	buf := bufio.NewWriter(w)
	fmt.Fprintf(buf, "Report for fact: %s\n\n", oneLine(fact))
	longest := 0
	for _, v := range values {
		longest = max(longest, utf8.RuneCountInString(oneLine(v.Value)))
	}
	for _, v := range o.order(values) {
		fmt.Fprintf(buf, "  %-*s found %d times\n", longest, oneLine(v.Value), len(v.Nodes))
		if o.ShowNodes {
			fmt.Fprintln(buf)
			for _, n := range slices.Sorted(slices.Values(v.Nodes)) {
				fmt.Fprintf(buf, "    %s\n", oneLine(n))
			}
			fmt.Fprintln(buf)
		}
	}
	fmt.Fprintln(buf)
	return buf.Flush()
}

// FactsTable writes the report as `choria facts --table` does.
func FactsTable(w io.Writer, values []FactValue, o FactOptions) error {
	header := []string{"Fact", "Matches"}
	if o.ShowNodes {
		header = append(header, "Nodes")
	}
	var rows [][]string
	for _, v := range o.order(values) {
		row := []string{v.Value, fmt.Sprint(len(v.Nodes))}
		if o.ShowNodes {
			row = append(row, strings.Join(slices.Sorted(slices.Values(v.Nodes)), "\n"))
		}
		rows = append(rows, row)
	}
	return Table(w, "", header, rows)
}

// FactsJSON writes the bare map of `choria facts --json`: value to count and identities.
func FactsJSON(w io.Writer, values []FactValue) error {
	type entry struct {
		Count      int      `json:"count"`
		Identities []string `json:"identities"`
	}
	report := make(map[string]entry, len(values))
	for _, v := range values {
		report[v.Value] = entry{Count: len(v.Nodes), Identities: notNil(v.Nodes)}
	}
	return IndentedJSON(w, report)
}
