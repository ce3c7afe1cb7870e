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
	rest.Batches, rest.Pool, rest.Facts = nil, nil, nil
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
	for fact, values := range p.Plan.Facts { // one value a node, in the order of the plan
		var kept []string
		for i, n := range p.Nodes {
			if i < len(values) && !out[n.Identity] {
				kept = append(kept, values[i])
			}
		}
		if rest.Facts == nil {
			rest.Facts = map[string][]string{}
		}
		rest.Facts[fact] = kept
	}
	if len(d) > 0 {
		rest.Notes = append(slices.Clone(rest.Notes), nodes(len(d))+" of the saved plan changed since, and left out: --accept-drift")
	}
	return rest, nil
}

func nodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return strconv.Itoa(n) + " nodes"
}
