package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Gatekeeper asks, before the first batch and between batches, whether the run may send more.
type Gatekeeper interface {
	// Keep asks the gates until they decide, and reports every round; of the last one Decided is set. It must return when
	// ctx ends. Reports may not come after it has returned. An error, or an end without a decision, stops the run.
	Keep(ctx context.Context, m Moment, report func(GateRound)) error
}

// Gates are the gates of a run. The zero value is none. Texts hold no secrets. Durations are nanoseconds in JSON.
type Gates struct {
	Commands []string `json:"commands,omitempty"`
	Queries  []string `json:"promql,omitempty"`
	Server   string   `json:"prometheus,omitempty"` // where queries are asked
	// Collateral is how many starts and ends of other nodes are allowed since the gates passed last; nil: they are not counted.
	Collateral *int          `json:"max_collateral,omitempty"`
	For        time.Duration `json:"for,omitempty"` // they must pass at every look for this long; 0: at one
	Every      time.Duration `json:"every"`         // between two looks
	Wait       time.Duration `json:"wait"`          // how long they may be inconclusive at one place, in all; 0: not at all
	Timeout    time.Duration `json:"timeout"`       // of one look at one gate
}

// IsZero reports whether there is no gate.
func (g Gates) IsZero() bool { return len(g.Commands)+len(g.Queries) == 0 && g.Collateral == nil }

// Moment is what gates learn of a run.
type Moment struct {
	Run     string
	Batch   int          // that ended last, counted from 1; 0 before the first
	Batches int          // known so far; those of a window are known when they are sent
	Nodes   []MomentNode // of that batch; of a window the nodes that have become final since the gates were asked last
	Counts  Counts       // of the whole run
}

// MomentNode is a node and its state.
type MomentNode struct {
	Identity string `json:"identity"`
	State    State  `json:"state"`
}

// GateVerdict is what a look at a gate came to. In JSON it is its word.
type GateVerdict uint8

// The verdicts of gates.
const (
	GatePassed       GateVerdict = iota + 1 // the next batch may be sent
	GateFailed                              // the run stops
	GateInconclusive                        // nothing is known: the run pauses, and the gate is asked again
	gateVerdictEnd
)

var gateWords = [gateVerdictEnd]string{"unset", "passed", "failed", "inconclusive"}

// String returns the verdict's word; it works for every value.
func (v GateVerdict) String() string {
	if v < gateVerdictEnd {
		return gateWords[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// MarshalText returns the verdict's word.
func (v GateVerdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a verdict's word.
func (v *GateVerdict) UnmarshalText(text []byte) error {
	i := slices.Index(gateWords[:], string(text))
	if i < 1 {
		return fmt.Errorf("unknown verdict %q of a gate", text)
	}
	*v = GateVerdict(i)
	return nil
}

// GateLook is the result of one look at one gate. Its texts hold no secrets, and are of one line.
type GateLook struct {
	Gate    string        `json:"gate"` // the command or the expression
	Verdict GateVerdict   `json:"verdict"`
	Reason  string        `json:"reason,omitempty"` // for people; a command's last line, where it wrote one
	Value   string        `json:"value,omitempty"`  // the exit code, or the number that the query gave; "" for none
	Took    time.Duration `json:"took"`             // nanoseconds
}

// String is the look as one line for people.
func (l GateLook) String() string {
	text := fmt.Sprintf("gate %q %s", l.Gate, l.Verdict)
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	return text
}

// GateRound is one look at every gate, at the same time, and what follows from it.
type GateRound struct {
	Looks   []GateLook  `json:"looks"`
	Verdict GateVerdict `json:"verdict"`          // a failed gate fails the round; all must pass
	Reason  string      `json:"reason,omitempty"` // for people
	// Decided: the run continues (passed) or stops (failed, or inconclusive for too long). Else Next is when the gates are asked again.
	Decided bool      `json:"decided,omitempty"`
	Next    time.Time `json:"next,omitzero"`
	// Until is when they decide without a change: inconclusive ones have had their time, passing ones have passed for long enough.
	Until time.Time `json:"until,omitzero"`
}

// errUndecided is why a run stops whose gatekeeper left without a decision.
var errUndecided = errors.New("it ended without a decision")

// GateResult is what the gates came to at one place of a run: before a batch, or in the middle of a window.
type GateResult struct {
	Batch  int       `json:"batch"` // the batch that had ended last; 0 before the first
	Began  time.Time `json:"began"` // when the first round was recorded
	Time   time.Time `json:"time"`  // when the last round was recorded
	Rounds int       `json:"rounds"`
	GateRound
}

// maxGateResults is how many places are remembered; the oldest at which the gates passed are forgotten first.
const maxGateResults = 1000

// applyGate adds a round to the place that it is about.
func (l *ledger) applyGate(r *Record) error {
	if r.Gate == nil || r.Gate.Verdict == 0 {
		return errors.New("a gate record without its verdict")
	}
	last := len(l.gates) - 1
	if last < 0 || l.gates[last].Decided || l.gates[last].Batch != r.Batch || !l.asking {
		l.gates, last = append(l.gates, GateResult{Batch: r.Batch, Began: r.Time}), last+1
	}
	l.asking = !r.Gate.Decided
	g := &l.gates[last]
	g.Time, g.GateRound, g.Rounds = r.Time, *r.Gate, g.Rounds+1
	if len(l.gates) > maxGateResults {
		i := slices.IndexFunc(l.gates[:last], func(g GateResult) bool { return g.Verdict == GatePassed })
		l.gates = slices.Delete(l.gates, max(i, 0), max(i, 0)+1)
	}
	return nil
}
