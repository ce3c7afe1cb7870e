package batch

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

// Actor sends one batch.
type Actor interface {
	// Act sends the request of a batch to its nodes, and returns once it is
	// flushed, so that nothing can leave later. Outcomes, late ones too, arrive
	// on Runner.Outcomes; they may arrive before Act returns. When ctx ends, a
	// stop rule was reached: Act sends no more, flushes what it sent and returns
	// a NotSentError that names the rest.
	//
	// A NotSentError is a promise: the nodes it names got nothing and never
	// will, and all others of the batch were flushed, unless it is Uncertain.
	// Any other error means that nobody knows what left: the run stops, silent
	// nodes end as unknown.
	Act(ctx context.Context, batch int, nodes []string) error
}

// Requester may be implemented by an Actor: Request names the request that Act
// will send for a batch. The name goes into the intent record, so that replies
// to it can be told from others after a resume.
type Requester interface {
	Request(batch int) string
}

// NotSentError is returned by an Actor that can prove what did not leave.
type NotSentError struct {
	Nodes []string // nodes of the batch that were not sent to; nil means none was sent to
	Err   error    // why

	// Uncertain says that nobody knows whether the other nodes were sent to.
	Uncertain bool
}

// Error says why.
func (e *NotSentError) Error() string { return fmt.Sprintf("not sent: %v", e.Err) }

// Unwrap returns the reason.
func (e *NotSentError) Unwrap() error { return e.Err }

// Outcome is one node's reply to one batch.
type Outcome struct {
	Batch  int             `json:"b"`
	Node   string          `json:"n"`
	Time   time.Time       `json:"t,omitzero"` // when it came in, our clock; zero: set by the runner
	OK     bool            `json:"ok"`         // status 0: accepted; else refused
	Code   int             `json:"c,omitempty"`
	Reason string          `json:"r,omitempty"` // the node's message, for people
	Stamp  time.Time       `json:"s,omitzero"`  // the reply's own timestamp, the node's clock
	Delay  time.Duration   `json:"d,omitempty"` // announced wait before it acts; 0 when it said nothing
	Data   json.RawMessage `json:"data,omitempty"`
}

// Target is a node to be verified or probed, with what is known of it.
type Target struct {
	Node     string        `json:"n"`
	Batch    int           `json:"b,omitempty"`
	Baseline string        `json:"base,omitempty"` // what Verifier.Baseline said; "" when it had nothing
	Sent     time.Time     `json:"sent,omitzero"`  // when the intent was recorded, our clock
	Replied  time.Time     `json:"at,omitzero"`    // when its reply came in, our clock; zero: silent
	Stamp    time.Time     `json:"s,omitzero"`     // the reply's own timestamp, the node's clock
	Delay    time.Duration `json:"d,omitempty"`    // announced wait before it acts
}

// Proof is what the Verifier or the Prober found out about a node.
type Proof struct {
	Node   string    `json:"n"`
	Found  Finding   `json:"f"`
	Time   time.Time `json:"t,omitzero"`  // our clock; zero: set by the runner
	Reason string    `json:"r,omitempty"` // for people: "started 12:00:03, was 11:12:40"
}

// Finding is the kind of a proof.
type Finding uint8

// The findings. A Verifier answers Acted, Unproved or Unasked; a Prober Acted,
// Untouched or Unproved.
const (
	Acted     Finding = iota + 1 // there is proof that the action happened
	Unproved                     // no proof either way in the time given
	Untouched                    // there is proof that the request never did and never will act there
	Unasked                      // it could not be asked in the time given, because the connection was away
	findingEnd
)

var findingWords = [findingEnd]string{"unset", "acted", "unproved", "untouched", "unasked"}

// String returns the finding's word; it is total.
func (f Finding) String() string {
	if f < findingEnd {
		return findingWords[f]
	}
	return fmt.Sprintf("finding(%d)", uint8(f))
}

// MarshalText returns the finding's word.
func (f Finding) MarshalText() ([]byte, error) {
	if f == 0 || f >= findingEnd {
		return nil, fmt.Errorf("cannot encode %s", f)
	}
	return []byte(findingWords[f]), nil
}

// UnmarshalText reads a finding's word.
func (f *Finding) UnmarshalText(text []byte) error {
	for i := Acted; i < findingEnd; i++ {
		if string(text) == findingWords[i] {
			*f = i
			return nil
		}
	}
	return fmt.Errorf("unknown finding %q", text)
}

// Baseline is how one node was just before its batch.
type Baseline struct {
	Text   string        // the Verifier's own, opaque; "" when the node did not say
	Absent bool          // not connected: it is not sent to
	Age    time.Duration // of the node's process, by the node's own clock; 0 when not known
}

// Verifier proves that nodes did what they accepted. All methods are read-only
// for the nodes. Each method is called from a goroutine of its own; Baseline
// may run while Verify does.
type Verifier interface {
	// Baseline notes how nodes are just before they are sent to, as short text
	// by node. A node without an entry is sent to anyway. An error is told to
	// the observer and does not stop the run.
	Baseline(ctx context.Context, nodes []string) (map[string]Baseline, error)

	// Verify is called once a run. Targets come in groups as replies are in,
	// until the channel is closed. It yields one Proof for each target that
	// replied, Acted or Unproved, within its own time limits; the run waits for
	// it. Silent targets (Replied is zero) may be proved too; the run does not
	// wait for them, and Unproved says nothing about them. It ends when ctx
	// ends; what it did not answer stays accepted. When it ends before ctx does,
	// what it did not answer is unverified.
	Verify(ctx context.Context, targets <-chan []Target) iter.Seq[Proof]
}

// Prober finds out, read-only, whether nodes whose fate is open were touched.
type Prober interface {
	// Probe yields at most one Proof a target: Acted, Untouched or Unproved. It
	// waits as long as Untouched needs (time to live, clock skew, the longest
	// delay). A target without an answer counts as Unproved.
	Probe(ctx context.Context, targets []Target) iter.Seq[Proof]
}

// Journal keeps records. Lines hold no newline. When Append returns nil all its
// lines are durable, as a group; after an error the run ends, and Append is not
// called again. The lines are not kept.
type Journal interface {
	Append(lines ...[]byte) error
}

// Observer is told of every record after it is durable, in order, in the
// runner's goroutine: it must not block. It may keep the record, not change it.
type Observer interface {
	Observe(r Record)
}

// Pause is what Confirm is asked about: going on from one batch to the next.
type Pause struct {
	Done   int // the batch that ended
	Next   int // the batch to confirm
	Nodes  int // in that batch
	Left   int // nodes not sent yet, that batch included
	Counts Counts
}
