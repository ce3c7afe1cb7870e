package batch

import (
	"fmt"
	"iter"
	"unicode/utf8"
)

// Node is a node to plan for. Facts holds the values of Policy.Facts, where the
// node has them.
type Node struct {
	Identity string
	Facts    map[string]string
	Last     bool // it goes last: nothing else is left when it begins
}

// planVersion is the version of plans with a pool, batchesVersion that of the
// others. Begin and Replay take them and earlier ones; plans without a version
// are of version 1.
const (
	planVersion    = 3
	batchesVersion = 2
)

// Plan reports which nodes are sent to, in which order, and why.
type Plan struct {
	Version int      `json:"version,omitempty"`
	Policy  Policy   `json:"policy"`
	Batches []Batch  `json:"batches"`
	Notes   []string `json:"notes,omitempty"` // reasons that concern the whole plan
	// Pool are the nodes of a rolling window: they start in this order, as far as
	// caps let them. They have no batch before they are sent to.
	Pool []string `json:"pool,omitempty"`
	// Last are the nodes that go last, in batches of their own; in a window they start when all others are over.
	Last []string `json:"last,omitempty"`
	// LeftOut are nodes that are not sent to on purpose: they are not-sent from the beginning, and stay it in a resume. They
	// are in no batch, and the last ones in the order of the plan.
	LeftOut []LeftOut `json:"left_out,omitempty"`
	// Facts are the values of Policy.Facts in a plan with a pool: by fact, one value a
	// node, in the order of the plan, batches first; "" where a node has none.
	Facts map[string][]string `json:"facts,omitempty"`
	// Doubts are attempts of earlier runs of the chain that may have reached
	// their nodes: these nodes are probed first, and only one that is proved
	// untouched is sent to. One without a time of sending cannot be probed.
	Doubts []Target `json:"doubts,omitempty"`

	// CapRounds is how many rounds the caps ask for at least, in a plan without Facts. Only for estimates: it is not
	// recorded.
	CapRounds int `json:"-"`
}

// Batch is one step of a plan.
type Batch struct {
	Number int      `json:"number"` // from 1
	Nodes  []string `json:"nodes"`
	Canary bool     `json:"canary,omitempty"`
	Reason string   `json:"reason"` // why it has this size
}

// LeftOut are nodes that are left out for one reason.
type LeftOut struct {
	Nodes  []string `json:"nodes"`
	Reason string   `json:"reason"` // for people
}

// Nodes returns how many nodes are to be sent to.
func (p Plan) Nodes() int {
	n := len(p.Pool)
	for _, b := range p.Batches {
		n += len(b.Nodes)
	}
	return n
}

// Names returns the nodes that are to be sent to, in the order of the plan. The slice is the
// caller's.
func (p Plan) Names() []string {
	names := make([]string, 0, p.Nodes())
	for _, b := range p.Batches {
		names = append(names, b.Nodes...)
	}
	return append(names, p.Pool...)
}

// AllNames returns the nodes in the order of the plan, those that are left out behind the others. The slice is the caller's.
func (p Plan) AllNames() []string {
	names := p.Names()
	for _, out := range p.LeftOut {
		names = append(names, out.Nodes...)
	}
	return names
}

// NewPlan splits nodes into batches by the policy. Pure: the same nodes and
// policy give the same plan. Nodes keep their order where the policy does not
// ask for another. Blank and repeated identities are errors; ErrNoNodes when
// there is none.
func NewPlan(nodes []Node, p Policy) (Plan, error) {
	if err := p.Validate(); err != nil {
		return Plan{}, err
	}
	if len(nodes) == 0 {
		return Plan{}, ErrNoNodes
	}
	seen := make(map[string]struct{}, len(nodes))
	for _, n := range nodes {
		if n.Identity == "" {
			return Plan{}, fmt.Errorf("cannot plan: a node without a name")
		}
		if !utf8.ValidString(n.Identity) {
			return Plan{}, fmt.Errorf("cannot plan: the name %q is not text", n.Identity)
		}
		if _, twice := seen[n.Identity]; twice {
			return Plan{}, fmt.Errorf("cannot plan: node %q is named twice", n.Identity)
		}
		seen[n.Identity] = struct{}{}
	}
	steps, notes := p.steps(len(nodes))
	notes = append(notes, factNotes(nodes, p)...)
	front, last := divide(nodes)
	var names []string
	for _, n := range last {
		names = append(names, n.Identity)
	}
	if len(last) > 0 {
		notes = append(notes, fmt.Sprintf("%s go last, for which this holds: %s", nodeCount(len(last)), p.LastIf))
	}
	if p.Rolling {
		plan := rollingPlan(front, last, p, steps(0), notes)
		plan.Last = names
		return plan, nil
	}
	plan := Plan{Version: batchesVersion, Policy: p, Notes: notes, Last: names, CapRounds: capRounds(p.MaxPer, func(fact string) iter.Seq[string] {
		return func(yield func(string) bool) {
			for _, n := range nodes {
				if !yield(n.Facts[fact]) {
					return
				}
			}
		}
	})}
	plan.deal(front, steps, "")
	plan.deal(last, steps, "go last: ")
	return plan, nil
}

// divide separates the nodes that go last, unless all do.
func divide(nodes []Node) (front, last []Node) {
	for _, n := range nodes {
		if n.Last {
			last = append(last, n)
		} else {
			front = append(front, n)
		}
	}
	if len(front) == 0 {
		return nodes, nil
	}
	return front, last
}

// deal adds batches of nodes to the plan. why begins their reasons.
func (p *Plan) deal(nodes []Node, steps func(i int) step, why string) {
	deal := newDealer(nodes, p.Policy)
	for left := len(nodes); left > 0; {
		s := steps(len(p.Batches))
		got, capped := deal.take(s.size)
		left -= len(got)
		reason := why + s.reason
		switch {
		case capped != "":
			reason = fmt.Sprintf("%s, cut to %d by at most %s", reason, len(got), capped)
		case len(got) < s.size:
			reason = fmt.Sprintf("%s, the last %d", reason, len(got))
		}
		p.Batches = append(p.Batches, Batch{Number: len(p.Batches) + 1, Nodes: got, Canary: s.canary, Reason: reason})
	}
}

// step is the wanted size of one batch.
type step struct {
	size   int
	canary bool
	reason string
}

// steps gives the wanted size of batch i (from 0) of a set, and the notes on the way.
func (p Policy) steps(set int) (func(i int) step, []string) {
	var notes []string
	canary := p.Canary
	why := "canary"
	if canary == 0 && p.TakesToken && len(p.Sizes) == 0 && set > defaultCanaryAbove {
		canary = 1
		why = "canary by default"
		notes = append(notes, fmt.Sprintf("a canary of 1 goes first: the action takes a token, and a wrong one must not reach all %d nodes", set))
	}
	canary = min(max(canary, 0), set)
	reasons := make([]string, max(len(p.Sizes), 1))
	reasons[0] = "everything at once"
	if canary > 0 {
		reasons[0] = "everything else at once"
	}
	for i, a := range p.Sizes {
		n := a.Of(set)
		switch {
		case a.Millionths > 0:
			reasons[i] = fmt.Sprintf("%s of %d nodes is %d", a, set, n)
		default:
			reasons[i] = fmt.Sprintf("batches of %d", n)
		}
	}
	return func(i int) step {
		if canary > 0 {
			if i == 0 {
				return step{canary, true, why}
			}
			i--
		}
		if len(p.Sizes) == 0 {
			return step{set - canary, false, reasons[0]}
		}
		return step{p.Sizes.At(i, set), false, reasons[min(i, len(reasons)-1)]}
	}, notes
}

// factNotes reports how many nodes lack a fact that the policy asks about.
func factNotes(nodes []Node, p Policy) []string {
	var notes []string
	for _, fact := range p.Facts() {
		missing := 0
		for _, n := range nodes {
			if n.Facts[fact] == "" {
				missing++
			}
		}
		if missing > 0 {
			notes = append(notes, fmt.Sprintf("%d of %d nodes have no fact %s: they count as one value", missing, len(nodes), fact))
		}
	}
	return notes
}
