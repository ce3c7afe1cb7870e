package discovery

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
)

// quiet is how long a broadcast with a window waits for another node (docs/protocol.md, timeouts).
const quiet = 300 * time.Millisecond

// Broadcaster sends one discovery request to a collective and yields the sender of each reply once, until the
// window closes, ctx ends or the loop is left. Replies that arrived within the window are yielded even if checking
// them takes longer. A yielded error ends the discovery. The Broadcaster drops malformed replies, and after a lost
// connection it waits and asks again, so that an incomplete fleet is never reported as complete. The window does
// not limit the steps before sending, such as signing.
type Broadcaster interface {
	Broadcast(ctx context.Context, collective string, f choria.Filter, w choria.Window) iter.Seq2[string, error]
}

// Query reports which nodes are wanted and how long to wait for them.
type Query struct {
	Filter     filter.Filter
	Collective string
	Agent      string        // the agent that will be called: only nodes that have it answer; "" for any
	Timeout    time.Duration // from the moment that the request has left; must be positive
	Window     bool          // stop early, 300 ms after the last new node
	// Known are nodes that are expected to answer: they decide when a broadcast ends (see choria.Known in
	// internal/choria/message.go). Without them it takes the whole Timeout.
	Known []string
}

// Result is what a discovery found.
type Result struct {
	Nodes   []string      // sorted, unique, possibly none
	Method  string        // "broadcast"; "identities" when the filter named the nodes and no request was sent
	Took    time.Duration // from sending to the end of the wait
	Strange int           // replies whose sender cannot be a node's name
	// Missing are the known nodes that neither answered, nor are absent, nor do not match. Whole: the broadcast ended by
	// itself, and nearly all known nodes are accounted for.
	Missing []string
	Whole   bool

	// What the caller of the source adds, for the record: which seed Limit was given, 0 for none, and what each --exclude did.
	Seed     int64
	Excluded []Exclusion
}

// Broadcast asks the network which nodes match. A filter of exact names only is answered without the
// network, as in Choria, so those nodes may be dead. When ctx ends first the error is its cause, and
// the result has the nodes found so far.
func Broadcast(ctx context.Context, b Broadcaster, q Query) (Result, error) {
	if names, exact := q.Filter.ExactIdentities(); exact {
		for _, n := range names {
			if err := choria.CheckIdentity(n); err != nil {
				return Result{}, err
			}
		}
		return Result{Nodes: Sort(names), Method: "identities"}, nil
	}
	if q.Timeout <= 0 {
		return Result{}, fmt.Errorf("cannot discover nodes in %v: the timeout must be positive", q.Timeout)
	}
	start := time.Now()
	result := Result{Method: "broadcast"}
	err := result.collect(ctx, b, q)
	result.Nodes, result.Took = Sort(result.Nodes), time.Since(start)
	if err != nil {
		return result, fmt.Errorf("discover nodes in collective %q: %w", q.Collective, err)
	}
	return result, nil
}

// longest is how long a broadcast goes on while known nodes are missing, unless a longer time was asked for.
const longest = 10 * time.Second

// collect broadcasts and gathers the names.
func (r *Result) collect(ctx context.Context, b Broadcaster, q Query) error {
	w := choria.Window{Timeout: q.Timeout}
	switch {
	case q.Window:
		w.Quiet = quiet
	case len(q.Known) > 0:
		w.Known = &choria.Known{Nodes: q.Known, Longest: max(longest, q.Timeout)}
	}
	seen := map[string]bool{}
	for sender, err := range b.Broadcast(ctx, q.Collective, WireFilter(q.Filter, q.Agent), w) {
		switch {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case choria.CheckIdentity(sender) != nil:
			r.Strange++
		case !seen[sender]:
			seen[sender] = true
			r.Nodes = append(r.Nodes, sender)
		}
	}
	if w.Known != nil {
		r.Missing = w.Known.Missing
	}
	r.Whole = !q.Window && len(r.Missing)*100 <= len(q.Known)
	return context.Cause(ctx)
}

// WireFilter is the filter in the form that a request carries, with the agent that will be called added
// to its agents, as the choria client does; "" adds none. Nothing is shared with f.
func WireFilter(f filter.Filter, agent string) choria.Filter {
	w := choria.Filter{
		Fact:     make([]choria.FactFilter, 0, len(f.Facts)),
		Class:    once(f.Classes),
		Agent:    once(f.Agents),
		Identity: once(f.Identities),
		Compound: make([][]choria.CompoundFilter, 0, len(f.Compound)),
	}
	for _, fact := range f.Facts {
		w.Fact = append(w.Fact, choria.FactFilter{Fact: fact.Name, Operator: fact.Operator, Value: fact.Value})
	}
	for _, expr := range f.Compound {
		w.Compound = append(w.Compound, []choria.CompoundFilter{{Expr: expr}})
	}
	if agent != "" && !slices.Contains(w.Agent, agent) {
		w.Agent = append(w.Agent, agent)
	}
	return w
}

// once copies a list without repetitions; the order is kept.
func once(values []string) []string {
	list := make([]string, 0, len(values))
	for _, v := range values {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}
