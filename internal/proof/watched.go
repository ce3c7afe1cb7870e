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
	together   = 3 * window             // the same for nodes that are to have started again: they are due all the time
	lastGrace  = 2 * time.Second        // for the answer to the last poll
)

// moment is a time on our clock, since Verify began. Small, and never mixed up with a node's clock. It stands still
// while this machine sleeps: such a sleep is not counted as silence.
type moment = time.Duration

const never moment = math.MinInt64

// watched is a target on its way to a proof. There may be 100,000 of them.
type watched struct {
	past
	track    track
	node     string
	replied  bool
	reported bool     // of a silent node: the run no longer waits for it
	last     bool     // the last poll was sent
	anytime  bool     // it may act long before it is due
	tardy    bool     // the sign of the act came too late to see whether it lasts
	unsent   bool     // the last poll could not be sent
	sees     sighting // by its last answer
	slot     int      // in the queue

	due      moment // it has acted by then, if it does
	deadline moment // no new sign of the act is looked for after this
	next     moment // when to look at it again
	pause    time.Duration
	asked    moment // when a poll last left for it
	heard    moment // when it last answered
	decisive moment // when the first poll left that it had to act before; silent ones only
	// since is when what is to be proved began to hold, or never: a later process was seen; a node that was shut down
	// fell silent.
	since moment
	// quiet is the first unanswered poll of a silence; never: it was not asked since it was heard.
	quiet moment
	// gone is the first poll of an unbroken row that found the node absent, goneLast the last; never: it is not absent.
	gone, goneLast moment

	linked  time.Time // when the node was last known to be on our connection before its request: our clock
	lost    time.Time // when that connection was lost last, by the record; zero: it was not
	start   int64     // the start time that it reported last, unix seconds
	entered int64     // when it started in provisioning mode, by its event
	note    string
}

// watch makes a target's record. A target whose time is long over, as after a resume, still gets its full time. A silent target is looked
// at at once.
func (v *Verifier) watch(t batch.Target, base time.Time) *watched {
	now := time.Since(base)
	due := v.due(t).Sub(base)
	w := &watched{
		past: pastOf(t), node: t.Node, replied: !t.Replied.IsZero(), pause: firstPause, due: due, linked: t.Sent, lost: t.Lost,
		deadline: max(due, now) + v.o.Timeout, asked: never, heard: never, since: never, quiet: never,
		decisive: never, gone: never, goneLast: never,
	}
	if b, ok := parseBaseline(t.Baseline); ok && !b.asked.IsZero() {
		w.linked = b.asked
	} else if w.replied {
		w.linked = t.Replied
	}
	switch v.o.Action {
	case Shutdown:
		w.since = max(due, now)
	case Update:
		w.anytime = !w.replied
		w.deadline = max(t.LeftBy().Sub(base)+v.o.Timeout, max(due, now)+min(v.o.Timeout, defaultTimeout))
		if w.anytime && now < due { // the deadline is the last look
			w.deadline = due
		}
	}
	switch first := max(due, now) + firstPause; {
	case !w.replied:
		w.next = now
	case v.o.Action == Shutdown:
		w.next = grid(first)
	default:
		w.next = coarse(first)
	}
	return w
}

// grid rounds moments, so that few requests ask many nodes; coarse makes them fewer.
func grid(m moment) moment   { return roundUp(m, window) }
func coarse(m moment) moment { return roundUp(m, together) }

func roundUp(m, step moment) moment { return (m + step - 1) / step * step }

// silent reports whether the last poll has no answer yet.
func (w *watched) silent() bool { return w.heard == never || w.asked > w.heard }

// settled reports whether a node that was to shut down is proved down where the broker does not report absent nodes: it
// answered nothing for the settle time, and the broker took a poll so long after the first unanswered one that an answer
// to that one would have come.
func (w *watched) settled(now moment, settle, answer time.Duration) bool {
	return w.replied && w.quiet != never && w.asked-w.quiet >= answer && now-w.since >= settle
}

// plan sets when to look again. settle and answer are the times that a proof must last and that an answer may take.
func (w *watched) plan(now moment, shutdown bool, settle, answer time.Duration) {
	next := now + w.pause
	w.pause = min(2*w.pause, maxPause)
	switch {
	case shutdown && w.gone != never: // see loop.down
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
	switch {
	case w.replied || w.reported:
	case w.decisive != never:
		next = min(next, max(now+firstPause, w.decisive+answer))
	case now < w.due && !w.anytime: // looked at once already; nothing will have changed before
		next = w.due + firstPause
	}
	w.next = grid(next)
}
