//go:build unix

package interop

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testFacts compares the distribution of facts of every kind: text, nested, boolean, list, absent.
func (n *network) testFacts(t *testing.T) {
	cases := [][]string{{"country"}, {"os.release.major"}, {"virtual"}, {"tags"}, {"nosuch"}, {"country", "-F", "role=web"}, {"memorymb", "-r"}}
	n.compareFacts(t, cases, factValues, "--json")
	n.compareFacts(t, append(cases, []string{"country", "--table"}, []string{"country", "--show-nodes"}), factReports)
}

// compareFacts wants the same report from both clients. A busy machine can make either miss a node while it listens no
// longer than it must: what differs is asked again, for as long as discovery lasts.
func (n *network) compareFacts(t *testing.T, cases [][]string, difference func(*testing.T, pair) string, flags ...string) {
	t.Helper()
	theirs := append([]string{"facts"}, flags...)
	var again [][]string
	for _, p := range n.Both(t, [2][]string{theirs, append(slices.Clone(theirs), "--discovery-window")}, cases) {
		if difference(t, p) != "" {
			again = append(again, p.args)
		}
	}
	for _, p := range n.Both(t, [2][]string{theirs, append(slices.Clone(theirs), "--discovery-timeout", "4")}, again) {
		if diff := difference(t, p); diff != "" {
			t.Errorf("facts %q: -theirs +ours\n%s", p.args, diff)
		}
	}
}

// factValues compares the documents; "" when they have the same nodes for each value.
func factValues(t *testing.T, p pair) string {
	t.Helper()
	type values map[string]struct {
		Count      int      `json:"count"`
		Identities []string `json:"identities"`
	}
	var theirs, ours values
	decode(t, p.theirs, &theirs)
	decode(t, p.ours, &ours)
	for _, v := range theirs { // in the order of arrival there
		slices.Sort(v.Identities)
	}
	if len(ours) == 0 {
		return "ours is empty"
	}
	return cmp.Diff(theirs, ours)
}

// factReports compares the texts; "" when they say the same.
func factReports(_ *testing.T, p pair) string {
	theirs, ours := factLines(p.theirs.Stdout), factLines(p.ours.Stdout)
	if len(ours) < 3 {
		return "ours has no report: " + p.ours.Stdout + p.ours.Stderr
	}
	return cmp.Diff(theirs, ours)
}

// factLines are the lines of a report in alphabetical order, because values with the same count have none in the real
// client's, and without the time that it took.
func factLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, " hosts in ")
		if line = strings.TrimRight(line, "\n"); line != "" {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}
