package render

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"fleetctl/discovery"
	"fleetctl/internal/plain"
	"fleetctl/rpcclient"
)

// groupIndent stands before the folded names of a group.
const groupIndent = "    "

// groupFailures gathers the failed replies by cause: the status message, or the status label where there is none.
// The gravest group comes first, then the largest.
func groupFailures(replies []*rpcclient.Reply) []Group {
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
	return gravestFirst(groups)
}

// grave are parts of causes of which one node matters more than many others: these stand first (docs/protocol.md,
// per-action behavior, expired server tokens).
var grave = []string{"rollback also failed, server in broken state", "came back unprovisioned"}

// isGrave reports whether a cause has such a part.
func isGrave(cause string) bool {
	return slices.ContainsFunc(grave, func(part string) bool { return strings.Contains(cause, part) })
}

// gravestFirst sorts the groups of a grave cause to the front, and keeps the order of the others. The slice is changed.
func gravestFirst(groups []Group) []Group {
	rank := func(g Group) int {
		if isGrave(g.Cause) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(groups, func(a, b Group) int { return cmp.Compare(rank(a), rank(b)) })
	return groups
}

// explained reports what servers' words mean where they do not say it themselves (docs/protocol.md, provisioning lock).
var explained = map[string]string{
	"Could not obtain provisioning lock": "another provisioner is at work there, or was less than 2 minutes ago",
}

// explain is a message as one line, with what it means.
func explain(message string) string {
	line := oneLine(message)
	if why := explained[line]; why != "" {
		return line + ": " + why
	}
	return line
}

func cause(r *rpcclient.Reply) string {
	message := explain(r.Message)
	if message != "" {
		return message
	}
	if label := statusLabel(r); label != "" {
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
		c := yellow
		if g.Good {
			c = green
		}
		fmt.Fprintf(w, "%s: %s\n", plain.Count(len(g.Nodes), "node"), c.paint(o.Color, oneLine(g.Cause)))
		for _, l := range wrapNames(oneLine(discovery.Fold(g.Nodes)), o.Width-len(groupIndent)) {
			fmt.Fprintf(w, "%s%s\n", groupIndent, l)
		}
		fmt.Fprintln(w)
	}
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
