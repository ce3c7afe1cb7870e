package cmd

import (
	"fmt"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/render"
)

// meter follows a run's records, for the progress bar.
type meter struct {
	s       render.Snapshot
	sizes   map[int]int
	replied int          // of the present batch
	closed  map[int]bool // batches whose replies are in: what comes now is late
	began   time.Time    // when the first batch of this process left
	before  int          // batches that were done by then
}

// newMeter starts from where the run is: a resumed one has done something already.
func newMeter(so batch.Summary) meter {
	m := meter{s: render.Snapshot{Planned: so.Nodes, Batches: len(so.Batches)}, sizes: map[int]int{}, closed: map[int]bool{}}
	for _, b := range so.Batches {
		m.sizes[b.Batch], m.closed[b.Batch] = b.Nodes, !b.Replies.IsZero()
	}
	c := so.States
	m.s.Accepted = c.Of(batch.Accepted) + c.Of(batch.Verified) + c.Of(batch.Unverified)
	m.s.Verified, m.s.Failed, m.s.NoReply, m.s.Absent = c.Of(batch.Verified), c.Failed(), c.Of(batch.NoReply), c.Of(batch.Absent)
	m.s.Done = m.s.Accepted + c.Of(batch.Refused) + m.s.NoReply + m.s.Absent
	return m
}

func (m *meter) snapshot() render.Snapshot { return m.s }

func (m *meter) observe(r batch.Record) {
	m.estimate(r)
	switch r.Kind {
	case batch.KindRequeued:
		m.s.Batches++
		m.sizes[r.Batch] = len(r.Nodes)
	case batch.KindReplaced:
		m.s.Batches = max(m.s.Batches, r.Batch)
		m.sizes[r.Batch] += len(r.Nodes)
	case batch.KindAbsent, batch.KindRestarted:
		m.sizes[r.Batch] -= len(r.Nodes)
		m.s.Done += len(r.Nodes)
		if r.Kind == batch.KindAbsent {
			m.s.Absent += len(r.Nodes)
		}
	case batch.KindIntent:
		m.s.Batch, m.replied = r.Batch, 0
		m.s.Waiting = "replies"
	case batch.KindOutcomes:
		m.outcomes(r)
	case batch.KindReplies:
		m.closed[r.Batch] = true
		silent := m.sizes[r.Batch] - m.replied
		m.s.NoReply += silent
		m.s.Done += silent
		m.s.Waiting = "proof"
	case batch.KindProofs:
		for _, p := range r.Proofs {
			switch p.Found {
			case batch.Acted:
				m.s.Verified++
			case batch.Unproved:
				m.s.Failed++
			}
		}
	case batch.KindBatchEnd:
		m.s.Waiting = "sleep"
		if r.Batch == m.s.Batches {
			m.s.Waiting = ""
		}
	case batch.KindStopped, batch.KindRunEnd:
		m.s.Waiting = ""
	}
}

// estimate follows how long a batch takes, sleep and proof included.
func (m *meter) estimate(r batch.Record) {
	switch {
	case r.Kind == batch.KindIntent && m.began.IsZero():
		m.began, m.before = r.Time, r.Batch-1
	case r.Kind == batch.KindIntent && r.Batch > m.before+1:
		each := r.Time.Sub(m.began) / time.Duration(r.Batch-1-m.before)
		m.s.Left = each * time.Duration(m.s.Batches-r.Batch+1)
	case r.Kind == batch.KindRunEnd:
		m.s.Left = 0
	}
}

func (m *meter) outcomes(r batch.Record) {
	for _, o := range r.Outcomes {
		if m.closed[o.Batch] {
			m.s.NoReply--
		} else {
			m.replied++
			m.s.Done++
		}
		switch {
		case o.Absent:
			m.s.Absent++
		case o.OK:
			m.s.Accepted++
		default:
			m.s.Failed++
		}
	}
	if left := m.sizes[m.s.Batch] - m.replied; left > 0 {
		m.s.Waiting = fmt.Sprintf("%d replies", left)
	}
}
