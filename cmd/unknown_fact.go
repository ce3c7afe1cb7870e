package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"fleetctl/batch"
	"fleetctl/internal/filter"
	"fleetctl/inventory"
)

// unknownName refuses a name that means nothing, with those that may have been meant.
func unknownName(flag, name, why string, known []string) error {
	hint := ""
	if near := filter.NearestFew(strings.TrimPrefix(name, factPrefix), known, 3); len(near) > 0 {
		hint = "is one of these meant? " + strings.Join(near, ", ")
	}
	return usage(fmt.Errorf("cannot use %s %s: %s", flag, name, why), hint)
}

// groupNames are what --group-by counts without asking for facts.
var groupNames = []string{"version", "class", "collective", "agent", "upgradable"}

// factsSeen collects the names of facts of the first nodes that tell any, for a proposal.
type factsSeen struct {
	nodes int
	names map[string]bool
}

// enoughFacts is how many nodes are looked at for the names of facts.
const enoughFacts = 50

func (s *factsSeen) add(a inventory.Answer) {
	if s.nodes == enoughFacts || len(a.Node.Facts) == 0 {
		return
	}
	s.nodes++
	if s.names == nil {
		s.names = map[string]bool{}
	}
	for _, name := range filter.FactNames(a.Node.Facts) {
		s.names[name] = true
	}
}

// checkGroup refuses --group-by of a fact that no node has. Nothing is said of nodes that told no facts at all.
func (s *factsSeen) checkGroup(by string, t *inventory.Tally) error {
	if _, byFact := grouping(by); !byFact || len(s.names) == 0 || t.Grouped() {
		return nil
	}
	known := slices.Clone(groupNames)
	for name := range s.names {
		known = append(known, name)
	}
	slices.Sort(known)
	return unknownName("--group-by", by, "no node has a fact of this name", known)
}

// checkPlanFacts refuses --spread-by and --max-per of a fact that no node has: they would spread and cap nothing.
func (j *job) checkPlanFacts(ctx context.Context, nodes []batch.Node, wanted []string) error {
	told := slices.IndexFunc(nodes, func(n batch.Node) bool { return n.Facts != nil })
	if told < 0 {
		return nil // the plan says that no node told
	}
	for _, fact := range wanted {
		if slices.ContainsFunc(nodes, func(n batch.Node) bool { return n.Facts[fact] != "" }) {
			continue
		}
		flag := "--max-per"
		if fact == j.o.spreadBy {
			flag = "--spread-by"
		}
		return unknownName(flag, fact, "no node has a fact of this name", j.factNames(ctx, nodes[told].Identity))
	}
	return nil
}

// factNames asks one node for the names of its facts; none where it does not tell.
func (j *job) factNames(ctx context.Context, node string) []string {
	client, err := j.network.dial(ctx)
	if err != nil {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, j.pace().ReplyTimeout)
	defer cancel()
	n, _ := inventory.Fetch(wait, client, j.network.collective, node) // no answer gives no proposal
	return filter.FactNames(n.Facts)
}
