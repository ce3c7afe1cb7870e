package render

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"fleetctl/discovery"
	"fleetctl/rpcclient"
)

// groupIndent stands before the folded names of a group.
const groupIndent = "    "

// GroupFailures gathers the failed replies by cause: the status message, or the status label where there is none.
// The largest group comes first.
func GroupFailures(replies []rpcclient.Reply) []Group {
	type key struct {
		code    int
		message string
	}
	at := map[key]int{}
	var groups []Group
	for _, r := range replies {
		if r.OK() {
			continue
		}
		k := key{int(r.Code), r.Message}
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			groups = append(groups, Group{Cause: cause(r)})
		}
		groups[i].Nodes = append(groups[i].Nodes, r.Node)
	}
	slices.SortStableFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(len(b.Nodes), len(a.Nodes)), strings.Compare(a.Cause, b.Cause))
	})
	return groups
}

func cause(r rpcclient.Reply) string {
	message := oneLine(r.Message)
	if message != "" {
		return message
	}
	if label := StatusLabel(int(r.Code)); label != "" {
		return label
	}
	return fmt.Sprintf("status code %d", r.Code)
}

// Groups writes each group as its size and cause, and its nodes folded on lines of their own.
func Groups(w io.Writer, groups []Group, o TextOptions) error {
	buf := bufio.NewWriter(w)
	writeGroups(buf, groups, o)
	return buf.Flush()
}

func writeGroups(w io.Writer, groups []Group, o TextOptions) {
	if o.Verbose && len(groups) > 0 {
		fmt.Fprintln(w) // verbose replies end without an empty line
	}
	for _, g := range groups {
		fmt.Fprintf(w, "%s: %s\n", count(len(g.Nodes), "node"), yellow.paint(o.Colour, oneLine(g.Cause)))
		for _, l := range wrapNames(oneLine(discovery.Fold(g.Nodes)), o.Width-len(groupIndent)) {
			fmt.Fprintf(w, "%s%s\n", groupIndent, l)
		}
		fmt.Fprintln(w)
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// wrapNames breaks a node set after commas that stand outside brackets, so that each line is a node set of its own.
// A width below 20 means no wrapping.
func wrapNames(set string, width int) []string {
	if width < 20 || len(set) <= width {
		return []string{set}
	}
	var lines []string
	start, last, depth := 0, -1, 0
	for i := range len(set) {
		switch set[i] {
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if depth == 0 {
				if i+1-start > width && last >= start {
					lines = append(lines, set[start:last+1])
					start = last + 1
				}
				last = i
			}
		}
	}
	if len(set)-start > width && last >= start {
		lines = append(lines, set[start:last+1])
		start = last + 1
	}
	return append(lines, set[start:])
}
