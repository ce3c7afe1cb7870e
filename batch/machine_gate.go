package batch

import (
	"slices"
	"time"
)

// The part of the machine that knows gates: when they are asked, and what their answers mean. What they said is good for
// one batch, as long as nothing holds that batch up; for a window it is good until as many nodes as it has slots have
// become final.

// gating is where the gates of a run are. The zero value is a run without gates.
type gating struct {
	on      bool
	round   int    // the question in flight; 0: none
	dropped int    // the question that was dropped last; 0: none
	asked   int    // how many questions there were
	open    bool   // they passed, and more may be sent
	final   int    // nodes that were final when they passed
	told    []bool // by row: it was final in an earlier Moment
	waiting bool   // a pause of theirs is recorded
	holdups int    // how often a pause or a lost connection made them be asked again
}

// passGates reports whether the gates let more be sent, and asks them where nothing is known. Call it only when nothing
// else holds the run back.
func (m *machine) passGates() bool {
	g := &m.gates
	if !g.on || g.open {
		return true
	}
	if g.round == 0 {
		g.asked++
		g.round = g.asked
		m.emit(gateCmd{g.round, m.moment()})
	}
	return false
}

// closeGates makes the gates be asked again before more is sent, and drops a question that is in flight.
func (m *machine) closeGates() {
	g := &m.gates
	g.open = false
	g.holdups++
	if g.round != 0 {
		g.round, g.dropped = 0, g.round
		m.emit(gateCancelCmd{})
	}
}

// moment is what gates get.
func (m *machine) moment() Moment {
	l := m.l
	s := Moment{Run: l.begin.Header.Run, Batch: m.lastSent(), Batches: len(l.batches), Counts: l.counts.all}
	add := func(row int32) {
		s.Nodes = append(s.Nodes, MomentNode{l.rows[row].identity, l.rows[row].state})
	}
	if m.win == nil {
		if s.Batch > 0 {
			for _, row := range l.batches[s.Batch-1].rows {
				add(row)
			}
		}
		return s
	}
	told := m.gates.told
	for i := range l.rows {
		if !told[i] && l.isFinal(int32(i)) {
			told[i] = true
			add(int32(i))
		}
	}
	return s
}

// lastSent is the batch that was sent last, in this life or an earlier one; 0: none.
func (m *machine) lastSent() int {
	if m.last > 0 {
		return m.last
	}
	last := 0
	for i := range m.l.batches {
		if b := &m.l.batches[i]; !b.sent.IsZero() && (last == 0 || b.sent.After(m.l.batches[last-1].sent)) {
			last = i + 1
		}
	}
	return last
}

// isFinal reports whether a node needs no more waiting: of a silent one, the reply timeout is over.
func (l *ledger) isFinal(row int32) bool {
	switch r := &l.rows[row]; r.state {
	case Planned, NotSent, Sending, Unknown:
		return false
	case Accepted:
		return !l.begin.Proved
	}
	return true
}

// gateDue closes the gates of a window when as many nodes as it has slots have become final.
func (m *machine) gateDue() {
	if g := &m.gates; g.open && (Progress{m.l}).Final()-g.final >= m.size() {
		g.open = false
	}
}

// gated takes a round of the gates. A gate that failed stops the run even when its question was dropped since.
func (m *machine) gated(e gateEvent) {
	g, r := &m.gates, e.Round
	if late := e.Question != g.round || g.round == 0; m.halt != haltNone || late && !(g.dropped != 0 && e.Question == g.dropped && r.Decided && r.Verdict == GateFailed) {
		return
	}
	m.record(Record{Kind: KindGate, Time: e.At, Batch: m.lastSent(), Gate: &r})
	switch {
	case !r.Decided:
		m.gatesWait(e.At, r.Verdict == GateInconclusive)
	case r.Verdict == GatePassed:
		m.gatesWait(e.At, false)
		g.round, g.open, g.final = 0, true, Progress{m.l}.Final()
	default:
		if e.Question == g.round {
			g.round = 0
		}
		m.closeGates()
		m.stop(e.At, haltSoft, Stop{Kind: StopGate, Batch: m.lastSent(), Reason: r.Reason})
	}
}

// gatesWait records that the run pauses for its gates, or no longer does.
func (m *machine) gatesWait(at time.Time, wait bool) {
	g := &m.gates
	if g.waiting == wait {
		return
	}
	g.waiting = wait
	kind := KindContinued
	if wait {
		kind = KindPaused
	}
	m.record(Record{Kind: kind, Time: at, By: string(ByGate), From: ByGate})
}

// gatesEnded stops a run whose gates did not decide.
func (m *machine) gatesEnded(e gateEnd) {
	g := &m.gates
	if e.Question != g.round || g.round == 0 || m.halt != haltNone {
		return
	}
	g.round = 0
	err := e.Err
	if err == nil {
		err = errUndecided
	}
	m.stop(e.At, haltSoft, Stop{Kind: StopGate, Batch: m.lastSent(), Reason: "the gates could not be asked: " + err.Error()})
}

// openGates begins a life of a run with gates.
func (m *machine) openGates() {
	if m.gates = (gating{on: !m.l.begin.Gates.IsZero()}); m.gates.on && m.win != nil {
		m.gates.told = slices.Repeat([]bool{false}, len(m.l.rows))
		for i := range m.gates.told {
			m.gates.told[i] = m.l.isFinal(int32(i))
		}
	}
}
