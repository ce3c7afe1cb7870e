package report

import (
	"fmt"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/render"
)

// meter is the progress of a run, from the engine's counts.
type meter struct {
	progress batch.Progress
	batch    int // that was sent last by this process, or recorded last
	waiting  string
	began    time.Time // when the first batch of this process left
	before   int       // batches that were done by then; of a window, nodes
	proved   int       // of a window: nodes on which the action had succeeded by then
	left     time.Duration
}

func (m *meter) snapshot() render.Snapshot {
	c := m.progress.Counts()
	s := render.Snapshot{
		Batch: m.batch, Batches: m.progress.Batches(), Planned: c.Total(),
		Accepted: c.Of(batch.Accepted) + c.Of(batch.Verified) + c.Of(batch.Unverified),
		Verified: c.Of(batch.Verified), Failed: c.Failed(), NoReply: c.Of(batch.NoReply), Absent: c.Of(batch.Absent),
		Waiting: m.waiting, Left: m.left,
	}
	if s.Held = m.progress.Held(); !s.Held.IsZero() {
		s.Left = 0
	}
	if m.progress.Paused() {
		s.Paused, s.Left = true, 0
	}
	s.Done = s.Accepted + c.Of(batch.Refused) + s.NoReply + s.Absent
	if plan := m.progress.Plan(); plan.Rolls() {
		sizes := plan.Policy.Sizes
		s.Window = sizes.At(len(sizes)-1, c.Total())
		s.Done = m.progress.Final()
		s.Batch = s.Done / max(1, s.Window)
	}
	return s
}

// rolling follows a window: what is in flight, and how long is left at the pace so far.
func (m *meter) rolling(r batch.Record) {
	c := m.progress.Counts()
	final, total := m.progress.Final(), c.Total()
	proved := final - c.Failed() - c.Of(batch.NoReply) - c.Of(batch.Absent)
	switch r.Kind {
	case batch.KindIntent:
		if m.began.IsZero() {
			m.began, m.before, m.proved = r.Time, final, proved
		}
	case batch.KindProofs, batch.KindOutcomes, batch.KindReplies:
		m.left = 0 // while nothing succeeds: how long a refusal takes says nothing about a success
		if done := final - m.before; done > 0 && proved > m.proved && !m.began.IsZero() {
			m.left = r.Time.Sub(m.began) / time.Duration(done) * time.Duration(total-final)
		}
	case batch.KindStopped, batch.KindRunEnd:
		m.left = 0
	}
	if m.waiting = ""; r.Kind != batch.KindRunEnd {
		if n := total - final - c.Of(batch.Planned) - c.Of(batch.NotSent) - c.Of(batch.Unknown); n > 0 {
			m.waiting = fmt.Sprintf("%d in flight", n)
		}
	}
}

// observe follows the phases of a run: what it waits for, and how long a batch takes, sleep and proof included.
func (m *meter) observe(r batch.Record) {
	if m.progress.Plan().Rolls() {
		m.rolling(r)
		return
	}
	switch r.Kind {
	case batch.KindIntent:
		m.estimate(r)
		m.batch, m.waiting = r.Batch, "replies"
	case batch.KindOutcomes:
		if m.batch == 0 {
			return
		}
		if open := m.progress.Batch(m.batch).States.Of(batch.Sending); open > 0 {
			m.waiting = fmt.Sprintf("%d replies", open)
		}
	case batch.KindReplies:
		m.waiting = "proof"
	case batch.KindBatchEnd:
		m.waiting = "sleep"
		if r.Batch == m.progress.Batches() {
			m.waiting = ""
		}
	case batch.KindStopped, batch.KindRunEnd:
		m.waiting, m.left = "", 0
	}
}

func (m *meter) estimate(r batch.Record) {
	switch {
	case m.began.IsZero():
		m.began, m.before = r.Time, r.Batch-1
	case r.Batch > m.before+1:
		each := r.Time.Sub(m.began) / time.Duration(r.Batch-1-m.before)
		m.left = each * time.Duration(m.progress.Batches()-r.Batch+1)
	}
}

// Watch prints the progress of a run of another process.
func Watch(s batch.Summary, p batch.Progress) render.Snapshot {
	m := meter{progress: p}
	for _, b := range s.Batches {
		if !b.Sent.IsZero() {
			m.batch++
		}
	}
	return m.snapshot()
}
