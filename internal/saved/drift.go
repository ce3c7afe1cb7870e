package saved

import (
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

// Drift is how the fleet differs from a plan.
type Drift struct {
	Nodes []Drifted // in the order of the plan, each once
	New   []string  // that match now and are not in the plan, as they were found: they are named, never added
}

// Drift compares the plan with the nodes as they are: answered are those that said how they are, found all that match now
// (nil where that was not asked). A restart counts for actions that change something: the operator that saved the plan did not know
// of it.
func (p *Plan) Drift(answered []Node, found []string, changes bool) Drift {
	now := make(map[string]Node, len(answered))
	for _, n := range answered {
		now[n.Identity] = n
	}
	var d Drift
	planned := make(map[string]bool, len(p.Nodes))
	for _, was := range p.Nodes {
		planned[was.Identity] = true
		is, there := now[was.Identity]
		if c := was.change(is, there, changes); c.Change != 0 {
			d.Nodes = append(d.Nodes, c)
		}
	}
	for _, name := range found {
		if !planned[name] {
			d.New = append(d.New, name)
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
	for _, n := range d.Nodes {
		if n.Change == c {
			names = append(names, n.Identity)
		}
	}
	return names
}

// Accept refuses drift beyond an allowance, a share of which is of the plan's nodes; the zero allowance accepts none. What
// is accepted is left out; a plan of which nothing is left is refused.
func (p *Plan) Accept(d Drift, allowed batch.Amount) error {
	n, most := len(d.Nodes), allowed.Of(len(p.Nodes))
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

func nodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return strconv.Itoa(n) + " nodes"
}
