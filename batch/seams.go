package batch

import (
	"context"
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
	// A NotSentError is a promise: the nodes it names received nothing and never
	// will, and all others of the batch were flushed, unless it is Uncertain.
	// After any other error it is not known what left: the run stops, silent
	// nodes end as unknown. It stops after a NotSentError, too, unless the reason
	// passes (Again). The text of an error is shown to the operator.
	Act(ctx context.Context, batch int, nodes []string) error
}

// Requester may be implemented by an Actor: Request names the request that Act
// will send for a batch. The name goes into the intent record, so that replies
// to it can be distinguished from others after a resume.
type Requester interface {
	Request(batch int) string
}

// Settler may be implemented by an Actor whose outcomes take time to decode and
// check. Settle returns when every reply that arrived by at has been put on
// Runner.Outcomes, or ctx has ended. The runner calls it before a reply timeout
// counts, and keeps reading Outcomes meanwhile.
type Settler interface {
	Settle(ctx context.Context, at time.Time) error
}

// NotSentError is returned by an Actor that can prove what did not leave.
type NotSentError struct {
	Nodes []string // nodes of the batch that were not sent to; nil means none was sent to
	Err   error    // why

	// Uncertain: it is not known whether the other nodes were sent to.
	Uncertain bool

	// Again: the reason passes, and the run continues. With no Nodes named, the batch is planned anew, and the Admitter is
	// asked again. With Uncertain, the connection was lost meanwhile: Nodes, which may be empty but not nil, are planned
	// anew, and the others count as sent to.
	Again bool
}

// Error reports why.
func (e *NotSentError) Error() string { return fmt.Sprintf("not sent: %v", e.Err) }

// Unwrap returns the reason.
func (e *NotSentError) Unwrap() error { return e.Err }

// Outcome is one node's reply to one batch, or the report that the batch's request
// reached nothing there.
type Outcome struct {
	Batch  int           `json:"b"`
	Node   string        `json:"n"`
	Time   time.Time     `json:"t,omitzero"` // when it came in, our clock; zero: set by the runner
	OK     bool          `json:"ok"`         // status 0: accepted; else refused
	Code   int           `json:"c,omitempty"`
	Reason string        `json:"r,omitempty"` // the node's message, for people
	Stamp  time.Time     `json:"s,omitzero"`  // the reply's own timestamp, the node's clock
	Delay  time.Duration `json:"d,omitempty"` // announced wait before it acts; 0 when it announced none
	Absent bool          `json:"x,omitempty"` // the request reached nothing: no subscriber. OK is false
	Reply  any           `json:"-"`           // the caller's own, for observers; never journaled, dropped after Observe
}

// Target is a node to be verified or probed, with what is known of the one
// attempt that it is judged by: its own, of this run or of an earlier one.
type Target struct {
	Node     string        `json:"n"`
	Batch    int           `json:"b,omitempty"`
	Baseline string        `json:"base,omitempty"` // Baseline.Text; "" when the node did not report it
	Sent     time.Time     `json:"sent,omitzero"`  // when the intent was recorded, our clock; zero: not known
	Left     time.Time     `json:"left,omitzero"`  // when its request had left for certain, where that was long after Sent
	Replied  time.Time     `json:"at,omitzero"`    // when its reply came in, our clock; zero: silent
	Stamp    time.Time     `json:"s,omitzero"`     // the reply's own timestamp, the node's clock
	Delay    time.Duration `json:"d,omitempty"`    // announced wait before it acts
	// Lost is when the connection was lost last, by this process or an earlier one, since just before the request was sent;
	// zero: it is not known that it was.
	Lost time.Time `json:"lost,omitzero"`
}

// LeftBy returns when the request had left at the latest: it left between Sent and then. Zero: not known.
func (t Target) LeftBy() time.Time {
	if t.Left.After(t.Sent) {
		return t.Left
	}
	return t.Sent
}

// Baseline is how one node was just before its batch.
type Baseline struct {
	Text   string        // the Verifier's own, opaque; "" when the node did not report it
	Absent bool          // not connected: it is not sent to
	Age    time.Duration // of the node's process, by the node's own clock; 0 when not known
	// TokenEnds is when the token ends without which the node cannot start again; zero: not known. Silent: the node did
	// not answer, and this is all that is known of it.
	TokenEnds time.Time
	Silent    bool
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
	Unasked                      // it could not be asked in the time given, because the connection was lost
	findingEnd
)

var findingWords = [findingEnd]string{"unset", "acted", "unproved", "untouched", "unasked"}

// String returns the finding's word; it works for every value.
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

// Verifier proves that nodes did what they accepted. All methods are read-only
// for the nodes. Each method is called from a goroutine of its own; Baseline
// may run while Verify does.
type Verifier interface {
	// Baseline notes how nodes are just before they are sent to. A node without
	// an entry is silent, and is sent to anyway, unless Rules.TokenMargin forbids it. Baseline is also asked whether
	// nodes are connected again after the connection was lost. An error is shown
	// to the observer and does not stop the run.
	Baseline(ctx context.Context, nodes []string) (map[string]Baseline, error)

	// Verify is called once a run. Targets come in groups as replies are in,
	// until the channel is closed; with Pace.Watch they come silent as soon as
	// they were sent to, and again with their reply.
	//
	// It yields one Proof for each target that replied, within its own time
	// limits: Acted, Unproved, or Unasked when the connection was lost. The run
	// waits for it; after Unasked it waits no longer, and a resume asks again.
	//
	// A silent target (Replied is zero) may be proved too. Unproved means there
	// that the node was looked at once since it was handed over: its state does
	// not change, it may still be proved later, and the end of the run waits for
	// it no longer.
	//
	// Verify ends when ctx ends; what it did not answer stays accepted. When it
	// ends before ctx does, what it did not answer is unverified.
	Verify(ctx context.Context, targets <-chan []Target) iter.Seq[Proof]
}

// Prober finds out, read-only, whether nodes in an unknown state were touched.
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

// Observer sees every record after it is durable, in order, in the runner's
// goroutine: it must not block. It may keep the record, not change it.
type Observer interface {
	Observe(r Record)
}

// Link is an event of the connection.
type Link struct {
	Time time.Time // zero: set by the runner
	Up   bool      // it is back; else it was lost
	Gone bool      // it is lost for good
	Err  error     // why it was lost, in words for people
}

// Control pauses a run or continues it.
type Control struct {
	Time   time.Time // zero: set by the runner
	Pause  bool      // else continue
	Toggle bool      // whichever of both changes something; Pause does not count
	By     string    // the operator who asked
}

// Step is what Confirm is asked about: the way from one batch to the next.
type Step struct {
	Done    int // the batch that ended
	Next    int // the batch to confirm
	Nodes   int // in that batch
	Left    int // nodes not sent yet, that batch included
	Counts  Counts
	Last    BatchResult // the result of batch Done
	Trouble []Result    // the nodes of batch Done on which the action did not succeed: refused, absent, silent, unverified, unknown
}
