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

// FactsChart draws how many nodes have each value: the count, the share, a bar as long as the share of the most
// frequent value. width is the terminal's, zero is 80. Values that would leave no room for bars are cut short.
func FactsChart(w io.Writer, fact string, values []FactValue, o FactOptions, width int) error {
	buf := bufio.NewWriter(w)
	fmt.Fprintf(buf, "Report for fact: %s\n\n", oneLine(fact))
	width = cmp.Or(max(width, 0), 80)
	total, most, longest := 0, 1, 0
	for _, v := range values {
		total += len(v.Nodes)
		most = max(most, len(v.Nodes))
		longest = max(longest, utf8.RuneCountInString(oneLine(v.Value)))
	}
	longest = min(longest, max(width/3, 8))
	digits := len(fmt.Sprint(most))
	room := max(width-longest-digits-len("     100%  "), 10)
	for _, v := range o.order(values) {
		n := len(v.Nodes)
		line := fmt.Sprintf("  %-*s  %*d %3d%%  %s", longest, shorten(oneLine(v.Value), longest), digits, n, (100*n+total/2)/max(total, 1),
			strings.Repeat("█", (n*room+most-1)/most))
		fmt.Fprintln(buf, strings.TrimRight(line, " "))
		if o.ShowNodes {
			for _, name := range slices.Sorted(slices.Values(v.Nodes)) {
				fmt.Fprintf(buf, "    %s\n", oneLine(name))
			}
		}
	}
	fmt.Fprintln(buf)
	return buf.Flush()
}

// shorten cuts a text to a number of characters; the last one says that something is missing.
func shorten(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:max(limit-1, 0)]) + "…"
}
