package batch

import "slices"

// rollingPlan makes a batch of the canaries, and the pool of all other nodes, those that go last at its end.
func rollingPlan(front, last []Node, p Policy, first step, notes []string) Plan {
	plan := Plan{Version: planVersion, Policy: p, Batches: []Batch{}, Notes: notes}
	taken := map[string]bool{}
	if first.canary {
		names, _ := newDealer(front, p).take(first.size)
		plan.Batches = append(plan.Batches, Batch{Number: 1, Nodes: names, Canary: true, Reason: first.reason})
		for _, name := range names {
			taken[name] = true
		}
	}
	nodes := slices.Concat(front, last)
	of := make(map[string]int, len(nodes))
	for i, n := range nodes {
		of[n.Identity] = i
		if !taken[n.Identity] {
			plan.Pool = append(plan.Pool, n.Identity)
		}
	}
	facts := p.Facts()
	if len(facts) > 0 {
		plan.Facts = make(map[string][]string, len(facts))
	}
	names := plan.Names()
	for _, fact := range facts {
		values := make([]string, len(names))
		for i, name := range names {
			values[i] = nodes[of[name]].Facts[fact]
		}
		plan.Facts[fact] = values
	}
	return plan
}

// Knows reports whether the plan holds the values of all these facts.
func (p Plan) Knows(facts []string) bool {
	return !slices.ContainsFunc(facts, func(f string) bool { return p.Facts[f] == nil })
}

// Rolls reports whether the plan has nodes that start one by one.
func (p Plan) Rolls() bool { return p.Policy.Rolling }

// window is how many nodes may be in flight after so many proofs of nodes of the
// pool: each step but the last ends after as many proofs as it has nodes.
func (p Policy) window(set, proofs int) int { return p.Sizes.At(p.rampStep(set, proofs), set) }

// rampStep is the index of the size that is the window after so many proofs.
func (p Policy) rampStep(set, proofs int) int {
	for i := range len(p.Sizes) - 1 {
		n := p.Sizes.At(i, set)
		if proofs < n {
			return i
		}
		proofs -= n
	}
	return len(p.Sizes) - 1
}
