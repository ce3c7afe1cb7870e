package cmd

import (
	"fmt"
	"slices"
	"strings"

	"fleetctl/internal/filter"
	"fleetctl/inventory"
)

// unknownName refuses an unknown name, and suggests similar ones.
func unknownName(flag, name, why string, known []string) error {
	hint := ""
	if near := filter.NearestFew(strings.TrimPrefix(name, inventory.FactPrefix), known, 3); len(near) > 0 {
		hint = "did you mean one of these? " + strings.Join(near, ", ")
	}
	return usage(fmt.Errorf("cannot use %s %s: %s", flag, name, why), hint)
}

// factsSeen collects the names of facts of the first nodes that report any, to suggest a name.
type factsSeen struct {
	nodes int
	names map[string]bool
}

// enoughFacts is how many nodes are looked at for the names of facts.
const enoughFacts = 50

func (s *factsSeen) add(n inventory.Node) {
	if s.nodes == enoughFacts || len(n.Facts) == 0 {
		return
	}
	s.nodes++
	if s.names == nil {
		s.names = map[string]bool{}
	}
	for _, name := range filter.FactNames(n.Facts) {
		s.names[name] = true
	}
}

// checkGroup refuses --group-by of a fact that no node has. Nodes that reported no facts do not count.
func (s *factsSeen) checkGroup(by string, t *inventory.Tally) error {
	if _, byFact := inventory.Grouping(by); !byFact || len(s.names) == 0 || t.Grouped() {
		return nil
	}
	known := slices.Clone(inventory.GroupNames)
	for name := range s.names {
		known = append(known, name)
	}
	slices.Sort(known)
	return unknownName("--group-by", by, "no node has a fact of this name", known)
}
