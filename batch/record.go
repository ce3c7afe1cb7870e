package batch

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"
)

// RecordVersion is the newest version of records. This package reads it and
// earlier ones. A record carries the version that its content came with, so that an
// earlier program reads a run without such records, and refuses others with a hint.
const RecordVersion = 4

// version returns the version that the content of a record came with.
func (r *Record) version() int {
	if r.Kind == KindAdopted {
		return 4
	}
	gates := r.Kind == KindGate || r.Begin != nil && !r.Begin.Gates.IsZero() || r.Stop != nil && r.Stop.Kind == StopGate
	if gates || r.Kind == KindLeftOut || r.Begin != nil && r.Begin.Plan != nil && len(r.Begin.Plan.LeftOut) > 0 {
		return 3
	}
	return 2
}

// Kind reports what a record means. In JSON it is its word.
type Kind string

// The kinds of record, in the order of a run's life.
const (
	KindPlan      Kind = "plan"      // first of every run: header, plan, rules, pace
	KindResumed   Kind = "resumed"   // another process resumes: sending became unknown, not-sent planned
	KindAdopted   Kind = "adopted"   // another operator's process takes the run over; changes no state
	KindProbed    Kind = "probed"    // what the Prober found, by node
	KindRequeued  Kind = "requeued"  // nodes that nothing reached become a new batch, or go back to the pool
	KindAbsent    Kind = "absent"    // planned nodes that were not connected at their baseline: not sent to
	KindReplaced  Kind = "replaced"  // planned nodes of later batches take the place of absent canaries
	KindRestarted Kind = "restarted" // planned nodes whose process began after the run: not sent to, unknown
	KindLeftOut   Kind = "left-out"  // planned nodes that must not be sent to as things are: not-sent, planned again in a resume
	KindSkipped   Kind = "skipped"   // planned nodes that are left out on purpose: not-sent, also after a resume
	KindBaseline  Kind = "baseline"  // how nodes were just before their batch
	KindIntent    Kind = "intent"    // the batch may leave from now on; nodes of the pool become one with it
	KindSent      Kind = "sent"      // the batch left, flushed unless it is uncertain
	KindWithdrawn Kind = "withdrawn" // these nodes of the batch were not sent to after all
	KindOutcomes  Kind = "outcomes"  // replies
	KindReplies   Kind = "replies"   // the replies of the batch are in: a node that is still sending is silent
	KindProofs    Kind = "proofs"    // what the Verifier found, by node
	KindBatchEnd  Kind = "batch-end" // replies and proof are in
	KindStopped   Kind = "stopped"   // nothing more is sent
	KindLink      Kind = "link"      // the connection was lost, or is back; changes no state
	KindPaused    Kind = "paused"    // nothing new is sent until continued, by the same Pauser
	KindContinued Kind = "continued" // sending continues
	KindHours     Kind = "hours"     // no batch begins before Until; without it: they may begin again
	KindGate      Kind = "gate"      // one look at every gate; changes no state
	KindSlots     Kind = "slots"     // silent nodes hold slots of a window; changes no state
	KindNote      Kind = "note"      // for people; changes no state
	KindRunEnd    Kind = "run-end"   // planned became not-sent, sending unknown
)

// Record is one line of the journal. Which fields are set depends on Kind.
type Record struct {
	Version   int               `json:"v"`
	Kind      Kind              `json:"k"`
	Time      time.Time         `json:"t"`
	Batch     int               `json:"b,omitempty"`         // 0 where it is about nodes of the pool
	Begin     *Beginning        `json:"plan,omitempty"`      // plan; resumed without Plan and Header
	Request   string            `json:"request,omitempty"`   // intent
	Nodes     []string          `json:"nodes,omitempty"`     // intent (when not the whole batch), requeued, absent, replaced, restarted, left-out, withdrawn
	Baselines map[string]string `json:"baselines,omitempty"` // baseline
	Outcomes  []Outcome         `json:"outcomes,omitempty"`
	Proofs    []Proof           `json:"proofs,omitempty"` // probed, proofs
	Reason    string            `json:"reason,omitempty"`
	Stop      *Stop             `json:"stop,omitempty"`
	Uncertain bool              `json:"uncertain,omitempty"` // sent: the connection was lost meanwhile; replies: silent nodes may not have been sent to, so they stay sending
	Up        bool              `json:"up,omitempty"`        // link: it is back
	Away      time.Duration     `json:"away,omitempty"`      // link: how long it was away
	Until     time.Time         `json:"until,omitzero"`      // hours
	By        string            `json:"by,omitempty"`        // paused, continued: the operator who asked, gate, or what is waited for
	From      Pauser            `json:"from,omitempty"`      // paused, continued; Record.Pauser reads it
	Gate      *GateRound        `json:"gate,omitempty"`      // gate; Batch is the one that ended last, 0 before the first
	End       *Ending           `json:"end,omitempty"`
	Adopted   *Adoption         `json:"adopted,omitempty"` // adopted; By is the new driver
}

// Beginning is the body of a plan record, and of a resumed one.
type Beginning struct {
	Header Header `json:"header,omitzero"`
	Plan   *Plan  `json:"plan,omitempty"`
	Rules  Rules  `json:"rules"`
	Pace   Pace   `json:"pace"`
	Gates  Gates  `json:"gates,omitzero"`
	Proved bool   `json:"proved,omitempty"` // accepted is not final: a Verifier is at work
	// Lagging reports that the record may lack requests that were really sent: it is a copy.
	Lagging bool `json:"lagging,omitempty"`
}

// Ending is the body of a run-end record.
type Ending struct {
	Verdict Verdict `json:"verdict"`
	States  Counts  `json:"states"`
	Ignored int     `json:"ignored,omitempty"`
	Open    int     `json:"open"` // nodes that a resume would work on
}

// Header is the caller's description of a run.
type Header struct {
	Run     string          `json:"run,omitempty"`
	Parent  string          `json:"parent,omitempty"`
	Created time.Time       `json:"created,omitzero"`
	Meta    json.RawMessage `json:"meta,omitempty"` // the caller's own; no secrets
}

// RecordError reports which line of a journal cannot be understood.
type RecordError struct {
	Line int // from 1, counting the lines handed to Replay
	Err  error
}

// Error names the line.
func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Line, e.Err) }

// Unwrap returns the problem.
func (e *RecordError) Unwrap() error { return e.Err }

// ErrNoPlan is returned by Replay for a journal without any record: the run
// died before it began, and nothing was sent.
var ErrNoPlan = errors.New("the journal holds no plan: nothing was sent")

func encodeRecord(r Record) ([]byte, error) {
	r.Version = r.version()
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode %s record: %w", r.Kind, err)
	}
	return line, nil
}

func decodeRecord(line []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(line, &r); err != nil {
		return Record{}, fmt.Errorf("decode record: %w", err)
	}
	if r.Version < 1 || r.Version > RecordVersion {
		return Record{}, newer("record", r.Version, RecordVersion)
	}
	return r, nil
}

// newer refuses a record or a plan of a format that this program does not know.
func newer(what string, version, known int) error {
	if version < 1 {
		return fmt.Errorf("a %s without a version", what)
	}
	return fmt.Errorf("a newer fleetctl wrote this %s (version %d, this program reads up to %d): use that fleetctl, or a later one",
		what, version, known)
}

// Records decodes a journal's lines, for rendering. It stops at the first error.
func Records(lines iter.Seq2[[]byte, error]) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		n := 0
		for line, err := range lines {
			n++
			var r Record
			if err == nil {
				if r, err = decodeRecord(line); err != nil {
					err = &RecordError{Line: n, Err: err}
				}
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}
