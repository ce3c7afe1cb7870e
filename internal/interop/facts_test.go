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
	verbs := [2][]string{{"facts"}, {"facts", "--discovery-window"}}
	for _, p := range n.Both(t, [2][]string{append(slices.Clone(verbs[0]), "--json"), append(slices.Clone(verbs[1]), "--json")}, cases) {
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
		if diff := cmp.Diff(theirs, ours); diff != "" || len(ours) == 0 {
			t.Errorf("facts %q: -theirs +ours\n%s", p.args, diff)
		}
	}
	for _, p := range n.Both(t, verbs, append(cases, []string{"country", "--table"}, []string{"country", "--show-nodes"})) {
		theirs, ours := factLines(p.theirs.Stdout), factLines(p.ours.Stdout)
		if diff := cmp.Diff(theirs, ours); diff != "" || len(ours) < 3 {
			t.Errorf("facts %q: -theirs +ours\n%s", p.args, diff)
		}
	}
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
