package saved

import (
	"slices"
	"strconv"
	"time"

	"fleetctl/batch"
)

// Change is why a node is not what it was when the plan was made.
type Change uint8

// The changes, the first that holds is the node's.
const (
	Gone         Change = iota + 1 // it does not answer, or is not found any more
	OtherVersion                   // it runs another version
	Restarted                      // its process is another one
	Unseen                         // it did not answer when the plan was made, and does now
	changeEnd
)

var changeWords = [changeEnd]string{"unset", "gone", "other version", "restarted", "not seen when the plan was saved"}

// String returns the change's words; it is total.
func (c Change) String() string {
	if c < changeEnd {
		return changeWords[c]
	}
	return "change(" + strconv.Itoa(int(c)) + ")"
}

// MarshalText returns the change's words.
func (c Change) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Drifted is one node that has changed.
type Drifted struct {
	Identity string `json:"identity"`
	Change   Change `json:"change"`
	Was      string `json:"was,omitempty"` // version or start time, as the plan has it
	Is       string `json:"is,omitempty"`  // and now
}

// Drift is how the fleet differs from a plan: the nodes that have changed, in the order of the plan.
type Drift []Drifted

// Drift compares the plan with the nodes as they are now: answered are those that reported it. A restart counts for
// actions that change something: the operator that saved the plan did not know of it.
func (p *Plan) Drift(answered []Node, changes bool) Drift {
	now := make(map[string]Node, len(answered))
	for _, n := range answered {
		now[n.Identity] = n
	}
	var d Drift
	for _, was := range p.Nodes {
		is, there := now[was.Identity]
		if c := was.change(is, there, changes); c.Change != 0 {
			d = append(d, c)
		}
	}
	return d
}

func (n Node) change(is Node, there, changes bool) Drifted {
	d := Drifted{Identity: n.Identity}
	switch {
	case !there:
		d.Change = Gone
	case n.Version == "" && n.Started.IsZero():
		if changes {
			d.Change = Unseen
		}
	case n.Version != is.Version:
		d.Change, d.Was, d.Is = OtherVersion, n.Version, is.Version
	case changes && !n.Started.Equal(is.Started.Truncate(time.Second)):
		d.Change, d.Was, d.Is = Restarted, stamp(n.Started), stamp(is.Started)
	}
	return d
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// Names are the nodes that have changed in one way.
func (d Drift) Names(c Change) []string {
	var names []string
	for _, n := range d {
		if n.Change == c {
			names = append(names, n.Identity)
		}
	}
	return names
}

// Accept refuses drift beyond an allowance, a share of which is of the plan's nodes; the zero allowance accepts none. What
// is accepted is left out; a plan of which nothing is left is refused.
func (p *Plan) Accept(d Drift, allowed batch.Amount) error {
	n, most := len(d), allowed.Of(len(p.Nodes))
	if n == len(p.Nodes) {
		return refused(saveAgain, "every node of the plan has changed since it was saved")
	}
	if n <= most {
		return nil
	}
	limit := ""
	if most > 0 {
		limit = ", and " + strconv.Itoa(most) + " may (--accept-drift " + allowed.String() + ")"
	}
	return refused("save the plan again, or leave them out: --accept-drift "+strconv.Itoa(n), "%s changed since the plan was saved%s", nodes(n), limit)
}

// Without is the plan that is left without the nodes that have changed. A plan that lost its canary is refused: what goes
// first then would be more than was planned.
func (p *Plan) Without(d Drift) (batch.Plan, error) {
	out := make(map[string]bool, len(d))
	for _, n := range d {
		out[n.Identity] = true
	}
	rest := p.Plan
	rest.Batches, rest.Pool, rest.Facts, rest.LeftOut = nil, nil, nil, d.leftOut()
	for _, b := range p.Plan.Batches {
		b.Nodes = slices.DeleteFunc(slices.Clone(b.Nodes), func(name string) bool { return out[name] })
		switch {
		case len(b.Nodes) > 0:
			b.Number = len(rest.Batches) + 1
			rest.Batches = append(rest.Batches, b)
		case b.Canary:
			return batch.Plan{}, refused(saveAgain, "the canary of the plan has changed since it was saved")
		}
	}
	for _, name := range p.Plan.Pool {
		if !out[name] {
			rest.Pool = append(rest.Pool, name)
		}
	}
	rest.Facts = p.factsOf(rest)
	if len(d) > 0 {
		rest.Notes = append(slices.Clone(rest.Notes), nodes(len(d))+" of the saved plan changed since: left out (--accept-drift)")
	}
	return rest, nil
}

// factsOf are the facts of a window's plan, in the order of another plan over the same nodes. nil for none.
func (p *Plan) factsOf(plan batch.Plan) map[string][]string {
	if len(p.Plan.Facts) == 0 {
		return nil
	}
	at := make(map[string]int, len(p.Nodes))
	for i, n := range p.Nodes {
		at[n.Identity] = i
	}
	of := make(map[string][]string, len(p.Plan.Facts))
	for fact, values := range p.Plan.Facts {
		for _, name := range plan.AllNames() {
			of[fact] = append(of[fact], values[at[name]])
		}
	}
	return of
}

// leftOut groups the nodes by the reason for which they are left out, in the order of the plan.
func (d Drift) leftOut() []batch.LeftOut {
	var groups []batch.LeftOut
	at := map[string]int{}
	for _, n := range d {
		reason := n.reason()
		i, ok := at[reason]
		if !ok {
			i = len(groups)
			at[reason] = i
			groups = append(groups, batch.LeftOut{Reason: reason})
		}
		groups[i].Nodes = append(groups[i].Nodes, n.Identity)
	}
	return groups
}

// reason says why the node is left out. Start times are not part of it: each node has its own.
func (n Drifted) reason() string {
	switch n.Change {
	case OtherVersion:
		return "left out: it runs version " + n.Is + ", and ran " + n.Was + " when the plan was saved"
	case Unseen:
		return "left out: it did not answer when the plan was saved"
	}
	return "left out: " + n.Change.String() + " since the plan was saved"
}

func nodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return strconv.Itoa(n) + " nodes"
}
