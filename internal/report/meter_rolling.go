package report

import (
	"time"

	"fleetctl/batch"
	"fleetctl/internal/render"
)

// rolling is what the view of a rolling run needs besides.
type rolling struct {
	front  int // batches before this one have no node in flight
	began  time.Time
	before int // nodes that had ended when this process began
	proved int // and those on which the action had succeeded
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
	v.Window.Size = sizes.At(len(sizes)-1, total)
	v.Window.InFlight = c.Of(batch.Sending)
	if v.Proves {
		v.Window.InFlight += c.Of(batch.Accepted)
	}
	switch r.Kind {
	case batch.KindPlan, batch.KindResumed:
		w.front, w.began, w.held, w.was, w.shown, w.last = 1, time.Time{}, nil, c, final, r.Time
	case batch.KindIntent:
		if w.began.IsZero() {
			w.began, w.before, w.proved = r.Time, final, m.succeeded()
		}
	case batch.KindReplies:
		if n := m.progress.Batch(r.Batch).States.Of(batch.NoReply); n > 0 {
			w.held = append(w.held, held{m.progress.Batch(r.Batch).Sent.Add(m.pace.SilentHold), n})
		}
	case batch.KindProofs, batch.KindOutcomes:
		if done, took := final-w.before, r.Time.Sub(w.began); done > 0 && took > 0 && !w.began.IsZero() {
			v.Window.Rate = float64(done) / took.Minutes()
			v.End = time.Time{}
			if m.succeeded() > w.proved { // how long a refusal takes says nothing about a success
				v.End = r.Time.Add(took / time.Duration(done) * time.Duration(total-final))
			}
		}
	}
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
