package run

import (
	"context"
	"fmt"
	"slices"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
)

// values is what is known of the facts that are limited, by fact and by node: from the plan, from the record, else from the
// nodes, which are asked once. A node that has no such fact has an empty value; one that did not answer is missing.
func (c budgeting) values(ctx context.Context, p guardInput) (map[string]map[string]string, error) {
	if c.budget.values != nil {
		return c.budget.values, nil
	}
	known := map[string]map[string]string{}
	if p.stored != nil {
		known = p.stored.values()
	}
	put := func(fact, node, value string) {
		if known[fact] == nil {
			known[fact] = map[string]string{}
		}
		known[fact][node] = value
	}
	if c.known == nil { // else the plan has an empty value for nodes that did not answer
		for fact, values := range valuesOf(p.plan.Names(), p.plan.Facts) {
			for node, value := range values {
				put(fact, node, value)
			}
		}
	}
	for node, of := range c.known {
		for fact, value := range of {
			put(fact, node, value)
		}
	}
	facts, nodes := c.budget.limits().Facts(), append(p.targets(), c.down(p)...)
	missing := slices.DeleteFunc(slices.Clone(facts), func(fact string) bool { return known[fact] != nil })
	if len(missing) > 0 && len(nodes) > 0 {
		got, err := c.planner().facts(ctx, nodes, missing)
		if err != nil {
			return nil, err
		}
		for _, fact := range missing {
			known[fact] = map[string]string{}
			for node, of := range got {
				put(fact, node, of[fact])
			}
		}
	}
	c.budget.values = known
	return known, nil
}

// limitsAny reports whether one of the facts is limited; nil limits none.
func (b *budget) limitsAny(facts []string) bool {
	return b != nil && slices.ContainsFunc(b.limits().Facts(), func(f string) bool { return slices.Contains(facts, f) })
}

// silentOf are the nodes that have no value: they did not answer.
func silentOf[V any](values map[string]V, nodes []string) []string {
	return which(nodes, func(n string) bool {
		_, said := values[n]
		return !said
	})
}

// placed refuses nodes that did not answer when they were asked for a fact that is limited: another node of the same rack
// could go down beside one of them.
func (c budgeting) placed(ctx context.Context, p guardInput) error {
	known, err := c.values(ctx, p)
	if err != nil {
		return err
	}
	for _, fact := range c.budget.limits().Facts() {
		if silent := silentOf(known[fact], p.targets()); len(silent) > 0 {
			hint := "try again when they answer"
			if p.stored == nil && c.req.plan == nil {
				hint = "leave them out with --exclude '" + discovery.Fold(silent) + "', or " + hint
			}
			return refuse(hint, "cannot keep the limit of nodes that are down: %s did not answer when asked for %s: %s", plain.Count(len(silent), "node"), fact, discovery.Fold(silent))
		}
	}
	return nil
}

// lasting is a note of the plan, "" for none: that a run whose nodes stay in the budget does not get to its end.
func (c budgeting) lasting(ctx context.Context, p guardInput) (string, error) {
	if c.budget == nil || !c.budget.rule.lasts() {
		return "", nil
	}
	known, err := c.values(ctx, p)
	if err != nil {
		return "", err
	}
	limits, nodes := c.budget.limits(), p.targets()
	fit := len(nodes)
	if most, ok := limits[lease.All]; ok {
		fit = min(fit, most)
	}
	for _, fact := range limits.Facts() {
		count, room := map[string]int{}, 0
		for _, n := range nodes {
			if value := known[fact][n]; count[value] < limits[fact] {
				count[value]++
				room++
			}
		}
		fit = min(fit, room)
	}
	if fit == len(nodes) {
		return "", nil
	}
	return fmt.Sprintf("at most %d of %s can be sent to: they count as down until `runs settle` or `runs forget` takes them off", fit, plain.Count(len(nodes), "node")), nil
}

// spread refuses batches, and a window, of a record or of a saved plan that have more nodes with one value of a fact than may
// be down. Those of a new plan fit.
func (c budgeting) spread(p guardInput, hint string) error {
	limits := c.budget.limits()
	for _, fact := range limits.Facts() {
		values, most := c.budget.values[fact], limits[fact]
		for _, b := range p.plan.Batches {
			if value, n := mostOf(values, b.Nodes); n > most {
				return refuse(hint, "cannot send batch %d: at most %s with %s=%s may be down at once, and it has %d", b.Number, plain.Count(most, "node"), fact, value, n)
			}
		}
		capped := slices.ContainsFunc(p.plan.Policy.MaxPer, func(m batch.MaxPer) bool { return m.Fact == fact && m.N <= most })
		if value, n := mostOf(values, p.plan.Pool); n > most && !capped {
			return refuse(hint, "cannot send with a window that does not count by %s: at most %s with %s=%s may be down at once, and it may hold %d", fact, plain.Count(most, "node"), fact, value, n)
		}
	}
	return nil
}

// mostOf is the value that most of the nodes have, and how many that are.
func mostOf(values map[string]string, nodes []string) (most string, of int) {
	count := map[string]int{}
	for _, n := range nodes {
		value := values[n]
		if count[value]++; count[value] > of {
			most, of = value, count[value]
		}
	}
	return most, of
}
