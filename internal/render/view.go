package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/plain"
)

// View is a run at one moment, for people who watch it. It is a value: Lines makes the same lines of the same view.
type View struct {
	Now   time.Time
	Run   string    // its id, "" for a run without a record
	What  string    // the action
	Began time.Time // of this process, or of the run when another process drives it
	Keys  Keys
	// Domain is the end that the names of all nodes have in common, with its dot; names are shown without it.
	Domain string

	States batch.Counts
	Proves bool      // an accepted node is not done yet
	End    time.Time // the estimated end; zero: there is no estimate
	// Rest is the part of the estimate that begins when what is at work now has ended: End is too early by then, but the
	// run takes Rest at least. Latest is when what is at work ends by its time limits, where nothing follows; zero: not known.
	Rest   time.Duration
	Latest time.Time
	Doing  Doing
	Batch  BatchView
	Window WindowView // of a rolling run

	Waits []Wait // some of the nodes that are waited for, those of the longest wait first
	More  int    // nodes that are waited for besides Waits
	Wake  time.Time

	Paused     time.Time // nothing new is sent since then, by PausedBy; zero: not paused
	PausedBy   string
	Held       time.Time // no batch begins before, because of --within; zero: nothing is held back
	Lost       time.Time // the connection is away since then; zero: it is there
	Stopping   string    // why nothing more is sent; "" when that is not so
	Gate       string    // what a gate between batches waits for, in one line; "" for none
	Shared     string    // what the run waits for that other operators have, in one line; "" for nothing
	Failures   []Failure // the gravest first
	MoreCauses int       // causes besides Failures
}

// Keys are what the operator can press.
type Keys struct {
	Pause bool // space pauses and continues
	Watch bool // another process drives the run
}

// BatchView is the batch that is at work.
type BatchView struct{ Number, Of, Nodes, Answered, Proved int }

// WindowView is the window of a rolling run; Size is 0 for a run in batches.
type WindowView struct {
	Size, InFlight int
	Now            int     // the step of the ramp that leads to Size; 0 or Size after the last step
	Silent         int     // nodes without a reply whose slots are kept
	Rate           float64 // nodes that ended in a minute; 0: not known yet
}

// Wait is a node that is waited for, until a time; zero: not known.
type Wait struct {
	Node  string
	Until time.Time
}

// Failure is a cause with its nodes. Names are some of them, folded.
type Failure struct {
	Cause string
	Nodes int
	Names string
}

// Doing is what a run is doing. The zero value is unset.
type Doing uint8

// What a run can be doing. A pause, a lost connection, a stop and a gate come on top of them.
const (
	Asking     Doing = iota + 1 // the nodes of a batch are asked how they are, before it is sent
	Sending                     // the batch is leaving
	Answering                   // replies are waited for, and proof
	Proving                     // the replies are in, proof is waited for
	Resting                     // the batch has ended
	Recovering                  // nodes of an earlier process are looked at
	Looking                     // everything was sent: the last looks
	Ended
	doings
)

var doingWords = [doings]string{"unset", "asking", "sending", "answering", "proving", "resting", "recovering", "looking", "ended"}

// String returns the word; it works for every value.
func (d Doing) String() string {
	if d < doings {
		return doingWords[d]
	}
	return fmt.Sprintf("doing(%d)", uint8(d))
}

// nodes is the size of the plan.
func (v View) nodes() int { return v.States.Total() }

// done is how many nodes did what was asked, as far as it is known.
func (v View) done() int {
	if v.Proves {
		return v.States.Of(batch.Verified)
	}
	return v.States.Of(batch.Verified) + v.States.Of(batch.Accepted)
}

// clock is a time as a stopwatch shows it: 0:31, 1:02:03.
func clock(d time.Duration) string {
	s := int(max(d, 0).Round(time.Second) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// span is how long something took.
func span(d time.Duration) string {
	if d = d.Round(time.Second); d < time.Minute {
		return fmt.Sprintf("%d s", max(d, 0)/time.Second)
	}
	return clock(d)
}

// badStates are those that an operator has to know of, with their words.
var badStates = []struct {
	state batch.State
	word  string
}{{batch.Refused, "refused"}, {batch.Unverified, "unverified"}, {batch.NoReply, "no reply"}, {batch.Absent, "absent"}, {batch.Unknown, "unknown"}}

// countWords are the nodes of a batch or a run: what is done, then what went wrong.
func countWords(c batch.Counts) (good, bad []string, failed int) {
	for _, s := range []batch.State{batch.Verified, batch.Accepted} {
		if n := c.Of(s); n > 0 {
			good = append(good, fmt.Sprintf("%d %s", n, s))
		}
	}
	for _, s := range badStates {
		if n := c.Of(s.state); n > 0 {
			bad, failed = append(bad, fmt.Sprintf("%d %s", n, s.word)), failed+n
		}
	}
	return good, bad, failed
}

// BatchLine is what stays of a batch that has ended.
func BatchLine(b batch.BatchResult) string {
	good, bad, _ := countWords(b.States)
	words := append([]string{fmt.Sprintf("batch %d", b.Batch), plain.Count(b.Nodes, "node")}, took(b.Ended.Sub(b.Sent), b.Sent)...)
	return strings.Join(append(append(words, good...), bad...), "  ")
}

// SentLine is what a log has of a batch that was just sent.
func (v View) SentLine() string {
	long, _ := v.where()
	return joined(long, "sent to "+plain.Count(v.Batch.Nodes, "node"))
}

// WindowLine is what stays of the nodes of a window that have ended: how many of the plan by now, and how long the last
// ones took.
func WindowLine(final, nodes int, lasted time.Duration, c batch.Counts) string {
	good, bad, _ := countWords(c)
	words := []string{fmt.Sprintf("%d/%s", final, plain.Count(nodes, "node")), span(lasted)}
	return strings.Join(append(append(words, good...), bad...), "  ")
}

// took is the time since a start, nothing where nothing started.
func took(d time.Duration, start time.Time) []string {
	if start.IsZero() {
		return nil
	}
	return []string{span(d)}
}

// Plain is the view in one line, for logs.
func (v View) Plain() string {
	good, bad, _ := countWords(v.States)
	return strings.Join(append([]string{v.status(0)}, strings.Join(append(append([]string{v.share()}, good...), bad...), ", ")), "; ")
}

// FailureCause is why a node failed, in words: of one that refused its own, else its state and what is known.
func FailureCause(r batch.Result) string {
	reason := explain(r.Reason)
	switch {
	case reason == "":
		return r.State.String()
	case r.State == batch.Refused:
		return reason
	}
	return r.State.String() + ": " + reason
}

// Gravest sorts failures: the grave ones first, then those of the most nodes. The slice is changed.
func Gravest(list []Failure) []Failure {
	slices.SortStableFunc(list, func(a, b Failure) int {
		if isGrave(a.Cause) != isGrave(b.Cause) {
			if isGrave(a.Cause) {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Nodes, a.Nodes), strings.Compare(a.Cause, b.Cause))
	})
	return list
}

// FailureLine is a failure in one line, for logs.
func (f Failure) FailureLine() string {
	return fmt.Sprintf("%s: %s: %s", plain.Count(f.Nodes, "node"), oneLine(f.Cause), oneLine(f.Names))
}
