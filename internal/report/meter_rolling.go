package report

import (
	"time"

	"fleetctl/batch"
	"fleetctl/internal/render"
)

// rolling is what the view of a rolling run needs besides.
type rolling struct {
	front  int       // batches before this one have no node in flight
	before int       // nodes that had ended when this process began
	proved int       // and those on which the action had succeeded
	rounds float64   // that were still to begin when the first nodes were sent to
	judged int       // nodes that had ended at the last estimate
	start  time.Time // when nodes were sent to last
	held   []held

	shown int       // nodes that had ended at the last line that stays
	last  time.Time // of that line
	was   batch.Counts
}

// held are slots of silent nodes, and until when they are kept.
type held struct {
	until time.Time
	nodes int
}

func (w *rolling) observe(m *meter, r *batch.Record) {
	v, final := &m.view, m.progress.Final()
	total, c := v.States.Total(), v.States
	sizes := m.progress.Plan().Policy.Sizes
	v.Window.Size, v.Window.Now = sizes.At(len(sizes)-1, total), m.progress.Window()
	v.Window.InFlight = c.Of(batch.Sending)
	if v.Proves {
		v.Window.InFlight += c.Of(batch.Accepted)
	}
	switch r.Kind {
	case batch.KindPlan, batch.KindResumed:
		*w = rolling{front: 1, was: c, shown: final, last: r.Time}
	case batch.KindIntent:
		if w.start.IsZero() {
			w.before, w.judged, w.proved, w.rounds = final, final, m.succeeded(), m.progress.Rounds()
		}
		w.start = r.Time
	case batch.KindReplies:
		if n := m.progress.Batch(r.Batch).States.Of(batch.NoReply); n > 0 {
			w.held = append(w.held, held{m.progress.Batch(r.Batch).Sent.Add(m.pace.SilentHold), n})
		}
	case batch.KindProofs, batch.KindOutcomes:
		if done, took := final-w.before, r.Time.Sub(m.eta.since); done > 0 && took > 0 && !m.eta.since.IsZero() {
			v.Window.Rate = float64(done) / took.Minutes()
			if (final-w.judged)*judgedParts >= total {
				w.judged = final
				w.estimate(m, r.Time, took)
			}
		}
	}
}

// judgedParts is after which part of the nodes the end is estimated anew: the estimate looks at all nodes.
const judgedParts = 25

// estimate: the rounds that are still to begin take as long as those that have begun, a first one as long as the plan says
// at least.
func (w *rolling) estimate(m *meter, now time.Time, took time.Duration) {
	v := &m.view
	if v.End, v.Rest = (time.Time{}), 0; m.succeeded() == w.proved { // how long a refusal takes says nothing about a success
		return
	}
	slot, left := max(m.pace.Slot(), took), m.progress.Rounds()
	if begun := w.rounds - left; begun >= 1 { // the nodes in flight have half of their time behind them, but for the one that just ended
		slot = time.Duration(float64(took) / (begun + float64(v.Window.Size-1)/float64(2*v.Window.Size)))
	}
	last := w.start
	if left > 0 {
		v.Rest = time.Duration(left * float64(slot))
		last = now.Add(v.Rest)
	}
	v.End = last.Add(slot - m.pace.Sleep) // no rest follows the last
}

// holding is how many slots silent nodes hold now.
func (w *rolling) holding(now time.Time, silent int) int {
	n := 0
	for _, h := range w.held {
		if h.until.After(now) {
			n += h.nodes
		}
	}
	return min(n, silent)
}

// line is the line that stays for each window full of nodes that have ended; "" in between.
func (w *rolling) line(m *meter, at time.Time, last bool) string {
	final, size := m.progress.Final(), max(m.view.Window.Size, 1)
	if final <= w.shown || !last && final-w.shown < size || w.last.IsZero() {
		return ""
	}
	now := m.view.States
	line := render.WindowLine(final, now.Total(), at.Sub(w.last), since(now, w.was))
	w.shown, w.last, w.was = final, at, now
	return line
}

// since is how many nodes came to the states that have an end.
func since(now, before batch.Counts) batch.Counts {
	n := map[batch.State]int{}
	for _, s := range []batch.State{batch.Verified, batch.Refused, batch.Unverified, batch.NoReply, batch.Absent, batch.Unknown} {
		n[s] = max(0, now.Of(s)-before.Of(s))
	}
	return batch.CountsOf(n)
}

// maxLooked is how many batches are looked at for the nodes of the longest wait.
const maxLooked = 200

// oldest are nodes in flight that were sent to first.
func (w *rolling) oldest(m *meter, list []render.Wait) []render.Wait {
	open := func(number int) bool {
		c := m.progress.Batch(number).States
		return c.Of(batch.Sending) > 0 || m.view.Proves && c.Of(batch.Accepted) > 0
	}
	batches := m.progress.Batches()
	w.front = max(w.front, 1)
	for w.front < batches && !open(w.front) && !m.progress.Batch(w.front).Sent.IsZero() {
		w.front++
	}
	for number := w.front; number <= min(batches, w.front+maxLooked) && len(list) < shownWaits; number++ {
		if open(number) {
			list = m.inBatch(number, list, m.progress.Batch(number).States.Of(batch.Sending))
		}
	}
	return list
}
