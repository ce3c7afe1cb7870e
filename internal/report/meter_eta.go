package report

import (
	"time"

	"fleetctl/batch"
	"fleetctl/internal/render"
)

// eta estimates when a run ends: by what its batches or nodes have taken, and by its plan where these say too little. What
// holds the run up from outside, such as a pause, is no part of it.
type eta struct {
	since time.Time // when the batch at work, or the next one, began; of a window: when its first nodes were sent to
	like  cycles
	gates bool      // a gate has paused the run
	held  time.Time // since when something holds the run up; zero: nothing does
	acts  time.Time // when the last node of the batch at work acts at the earliest, as announced
	late  time.Time // when the proof of those that have answered is given up
	limit time.Time // when what was sent to is given up
}

// cycles are how long batches of like sizes took, each until the next one began.
type cycles struct {
	nodes, count int
	took         time.Duration
}

func (c *cycles) add(nodes int, took time.Duration) {
	switch {
	case nodes >= 2*c.nodes:
		*c = cycles{nodes: nodes}
	case 2*nodes < c.nodes:
		return
	}
	c.count++
	c.took += took
}

// next is how long a batch takes. One node acts early or late; the slowest of many acts late: small batches before larger
// ones are no measure, unless they took longer than the plan says.
func (c cycles) next(nodes int, p batch.Pace) time.Duration {
	if c.count == 0 {
		return p.Cycle(nodes)
	}
	mean := c.took / time.Duration(c.count)
	if nodes >= 2*c.nodes {
		return max(mean, p.Cycle(nodes))
	}
	return mean
}

// estimate follows a record: step and count have taken it over.
func (m *meter) estimate(r *batch.Record) {
	v, e := &m.view, &m.eta
	e.hold(v, r)
	switch r.Kind {
	case batch.KindPlan, batch.KindResumed:
		*e = eta{}
		v.End, v.Rest, v.Latest = time.Time{}, 0, time.Time{}
	case batch.KindIntent:
		if e.since.IsZero() {
			e.since = r.Time
		}
		e.acts, e.late, e.limit = time.Time{}, time.Time{}, r.Time.Add(m.pace.Longest())
	case batch.KindOutcomes:
		if v.Proves {
			e.announced(r.Outcomes, m.pace)
		}
		if end := e.acts.Add(v.Rest); m.rolling == nil && !v.End.IsZero() && end.After(v.End) {
			v.End = end
		}
	case batch.KindReplies:
		if e.limit = e.late; m.progress.Batch(r.Batch).States.Of(batch.NoReply) > 0 {
			e.limit = r.Time.Add(m.pace.Longest() - m.pace.ReplyTimeout)
		}
	case batch.KindBatchEnd:
		if m.rolling == nil {
			m.estimateBatches(r)
		}
	}
	v.Latest = time.Time{}
	if v.Rest == 0 && (m.rolling != nil || m.batch == m.progress.Batches()) {
		v.Latest = e.limit
	}
}

// hold takes the time out in which something else holds the run up.
func (e *eta) hold(v *render.View, r *batch.Record) {
	if (r.Kind == batch.KindPaused || r.Kind == batch.KindContinued) && r.Pauser() == batch.ByGate {
		e.gates = r.Kind == batch.KindPaused
	}
	switch held := e.gates || v.Shared != "" || !v.Paused.IsZero() || !v.Lost.IsZero() || !v.Held.IsZero(); {
	case held && e.held.IsZero():
		e.held = r.Time
	case !held && !e.held.IsZero():
		d := r.Time.Sub(e.held)
		if e.held = (time.Time{}); !e.since.IsZero() {
			e.since = e.since.Add(d)
		}
		if !v.End.IsZero() {
			v.End = v.End.Add(d)
		}
	}
}

// announced takes over when nodes act, and how long their proof is waited for.
func (e *eta) announced(outcomes []batch.Outcome, p batch.Pace) {
	for i := range outcomes {
		o := &outcomes[i]
		if !o.OK {
			continue
		}
		delay := o.Delay
		if at := o.Time.Add(delay); delay > 0 && at.After(e.acts) {
			e.acts = at
		}
		if delay == 0 {
			delay = p.LongestDelay
		}
		if at := o.Time.Add(delay + p.VerifyTimeout + p.Settle); at.After(e.late) {
			e.late = at
		}
	}
}

// estimateBatches is at the end of a batch: those that are left take as long as those before.
func (m *meter) estimateBatches(r *batch.Record) {
	v, e := &m.view, &m.eta
	next := r.Time
	if v.Wake.After(next) {
		next = v.Wake
	}
	b := m.progress.Batch(r.Batch)
	if sent := b.Nodes - b.States.Of(batch.Absent) - b.States.Of(batch.NotSent); sent > 0 && !e.since.IsZero() {
		e.like.add(sent, next.Sub(e.since))
	}
	e.since = next
	v.End, v.Rest = time.Time{}, 0
	left := m.progress.Batches() - r.Batch
	if m.succeeded() == 0 || e.like.count == 0 || left < 1 {
		return
	}
	each := e.like.next(m.progress.Batch(r.Batch+1).Nodes, m.pace)
	work := time.Duration(left)*each - next.Sub(r.Time) // no sleep follows the last
	v.End, v.Rest = next.Add(work), max(0, work-each)
	if left == 1 {
		v.Rest = 0
	}
}
