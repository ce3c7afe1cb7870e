package proof

import (
	"math"
	"time"

	"fleetctl/batch"
)

// Polling: a node that is due is asked soon, then after growing pauses.
const (
	firstPause = 500 * time.Millisecond
	maxPause   = 4 * time.Second
	window     = 200 * time.Millisecond // nodes that are due within it are asked with one request, one signature
	lastGrace  = 2 * time.Second        // for the answer to the last poll
)

// moment is a time on our clock, since Verify began. Small, and never mixed up with a node's clock.
type moment = time.Duration

const never moment = math.MinInt64

// watched is a target on its way to a proof. There may be 100,000 of them.
type watched struct {
	past
	node    string
	replied bool
	last    bool     // the last poll was sent
	looked  bool     // it is silent, and the run knows that it was looked at
	tardy   bool     // the sign of the act came too late to see whether it lasts
	sees    sighting // by its last answer
	slot    int      // in the queue

	deadline moment // no new sign of the act is looked for after this
	next     moment // when to look at it again
	pause    time.Duration
	asked    moment // when a poll last left for it
	heard    moment // when it last answered
	// since is when what is to be proved began to hold, or never: a later process was seen; a node that was shut down
	// fell silent.
	since moment
	// quiet is the first unanswered poll of a silence; never: it was not asked since it was heard.
	quiet moment

	start   int64 // the start time that it told last, unix seconds
	entered int64 // when it started in provisioning mode, by its event
	note    string
	trouble string // why the last poll could not be sent
}

// watch makes a target's record. What is long over, as after a resume, still gets its time.
func (v *Verifier) watch(t batch.Target, base time.Time) *watched {
	now := time.Since(base)
	due := max(v.due(t).Sub(base), now)
	w := &watched{
		past: pastOf(t), node: t.Node, replied: !t.Replied.IsZero(), pause: firstPause,
		deadline: due + v.o.Timeout, asked: never, heard: never, since: never, quiet: never,
	}
	if v.o.Action == Shutdown {
		w.since = due
	}
	w.next = grid(due + firstPause)
	return w
}

// provable tells whether anything could prove it. A silent node of which nothing is known from before cannot be told
// from one that was busy with something else; and that a silent node stays silent says nothing about a shutdown.
func (v *Verifier) provable(t batch.Target) bool {
	switch {
	case !t.Replied.IsZero() || v.o.Action == Expression:
		return true
	case v.o.Action == Shutdown:
		return false
	}
	return pastOf(t).known()
}

// grid puts moments together, so that few requests ask many nodes.
func grid(m moment) moment { return (m + window - 1) / window * window }

// silent tells whether the last poll has no answer yet.
func (w *watched) silent() bool { return w.heard == never || w.asked > w.heard }

// settled tells whether a node that was to shut down is proved down: it answered nothing for the settle time, and the
// broker took a poll so long after the first unanswered one that an answer to that one would have come.
func (w *watched) settled(now moment, settle, answer time.Duration) bool {
	return w.quiet != never && w.asked-w.quiet >= answer && now-w.since >= settle
}

// plan sets when to look again. settle and answer are the times that a proof must last and that an answer may take.
func (w *watched) plan(now moment, shutdown bool, settle, answer time.Duration) {
	next := now + w.pause
	w.pause = min(2*w.pause, maxPause)
	switch {
	case shutdown && w.quiet != never && w.asked-w.quiet < answer:
		next = min(next, w.quiet+answer)
	case shutdown && w.quiet != never:
		next = min(next, max(now+firstPause, w.since+settle))
	case shutdown, w.since == never:
		if w.deadline > now {
			next = min(next, w.deadline)
		}
	case w.since+settle > now:
		next = min(next, w.since+settle)
	}
	w.next = grid(next)
}
