package batch

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// The part of the machine that brings a batch from its sending to its end.

// flight is one batch on its way.
type flight struct {
	stage     stage
	batch     int     // 0: its nodes are in the pool until they are sent to
	rows      []int32 // of the pool: those that were chosen
	prep      preparation
	sent      time.Time // when Act returned
	holdups   int       // of the gates, when it was begun
	uncertain bool      // some nodes may not have been sent to
}

// flight is the one of a batch that was sent, or is to be sent; nil when there is
// none.
func (m *machine) flight(batch int) *flight {
	for _, f := range m.flights {
		if f.batch == batch && batch > 0 {
			return f
		}
	}
	return nil
}

// any reports whether a batch is in a stage.
func (m *machine) any(s stage) bool {
	return slices.ContainsFunc(m.flights, func(f *flight) bool { return f.stage == s })
}

// aboard lists the nodes that a flight may send to. The slice is the caller's.
func (m *machine) aboard(f *flight) []string {
	if f.batch > 0 {
		return m.l.plannedIn(f.batch)
	}
	names := make([]string, 0, len(f.rows))
	for _, at := range f.rows {
		if m.l.sendable(at) {
			names = append(names, m.l.rows[at].identity)
		}
	}
	return names
}

// fly brings one batch to its next stage; false: no batch can.
func (m *machine) fly(at time.Time) bool {
	return slices.ContainsFunc(m.flights, func(f *flight) bool { return m.advanceFlight(at, f) })
}

func (m *machine) advanceFlight(at time.Time, f *flight) bool {
	switch f.stage {
	case stageAsking:
		return m.afterBaseline(at, f)
	case stageCollecting:
		if m.halt == haltHard || m.l.batches[f.batch-1].counts.Of(Sending) > 0 {
			return false
		}
		m.repliesIn(at, f)
		return true
	case stageProving:
		if m.open(f.batch) > 0 || m.missingIn(f.batch) || m.looking && m.alone(f) {
			return false
		}
		m.record(Record{Kind: KindBatchEnd, Time: at, Batch: f.batch})
		m.leave(f)
		m.replaceMissed(at, f.batch)
		return true
	}
	return false
}

// leave ends a flight.
func (m *machine) leave(f *flight) {
	m.flights = slices.DeleteFunc(m.flights, func(o *flight) bool { return o == f })
}

// drop ends a flight that was not sent: its nodes may be chosen again.
func (m *machine) drop(at time.Time, f *flight) {
	m.dismiss(at, f)
	m.leave(f)
	if m.win == nil {
		return
	}
	rows := f.rows
	if f.batch > 0 {
		rows = m.l.batches[f.batch-1].rows
	}
	for _, at := range rows {
		m.win.unchoose(at)
		m.l.touched = append(m.l.touched, at)
	}
}

// repliesIn ends the wait for replies: the sleep begins.
func (m *machine) repliesIn(at time.Time, f *flight) {
	f.stage = stageProving
	b := &m.l.batches[f.batch-1]
	m.record(Record{Kind: KindReplies, Time: at, Batch: f.batch, Uncertain: f.uncertain})
	m.verifySilent(b.rows)
	if m.asWhole(f.batch) {
		m.judge(at, f.batch, -1)
	} else {
		m.judgeSilent(at, f.batch)
	}
	if sleep := m.l.begin.Pace.Sleep; m.alone(f) && sleep > 0 && m.halt == haltNone && m.more() {
		m.wake = at.Add(sleep)
		m.emit(timerCmd{timerSleep, f.batch, m.wake})
	}
}

// alone reports whether a flight is a planned batch: nothing else is sent beside
// it.
func (m *machine) alone(f *flight) bool { return f.batch > 0 && f.rows == nil }

// more reports whether there are nodes that may be sent to later.
func (m *machine) more() bool {
	return len(m.queue)+len(m.missing.nodes) > 0 || m.win != nil && m.win.left > 0
}

// sent notes that Act returned.
func (m *machine) sent(e sentEvent) {
	f := m.flight(e.Batch)
	if f == nil || f.stage != stageLeaving {
		return
	}
	if e.Err == nil {
		m.record(Record{Kind: KindSent, Time: e.At, Batch: e.Batch})
	} else if m.notSent(e, f) {
		return
	}
	f.stage, f.sent = stageCollecting, e.At
	m.emit(timerCmd{timerReplies, f.batch, e.At.Add(m.l.begin.Pace.ReplyTimeout)})
	if m.l.begin.Pace.Watch {
		m.watch(m.l.batches[f.batch-1].rows, Sending)
	}
}

// notSent notes that a batch did not leave, or not for certain. It reports true when the flight is over. A lost connection
// does not end the run: nodes without a copy of the request are planned anew, and the others, which may have one, are
// silent until a reply or a proof shows more, and unknown at the end. This process does not send to them again.
func (m *machine) notSent(e sentEvent, f *flight) bool {
	why := e.Err
	f.uncertain = true
	if not, ok := errors.AsType[*NotSentError](e.Err); ok {
		back := m.withdraw(e, not)
		if m.sendAgain(e.At, f, not) {
			return true
		}
		f.uncertain, why = not.Uncertain, not.Err
		if not.Again && not.Uncertain && m.halt == haltNone {
			f.uncertain = false
			m.record(Record{Kind: KindSent, Time: e.At, Batch: e.Batch, Uncertain: true, Reason: fmt.Sprintf("the connection was lost while batch %d was sent", e.Batch)})
			m.planAnew(e.At, back, "not sent, because the connection was lost")
			return false
		}
	}
	if m.halt == haltNone {
		m.stop(e.At, haltFirm, Stop{Kind: StopLost, Batch: e.Batch, Reason: m.cannotSend(e.Batch, why)})
	}
	return false
}

// cannotSend is the reason of a stop, in the operator's words.
func (m *machine) cannotSend(batch int, why error) string {
	if !m.link.down.IsZero() {
		return fmt.Sprintf("the connection was lost while batch %d was sent", batch)
	}
	return fmt.Sprintf("cannot send batch %d: %v", batch, why)
}

// withdraw plans again the nodes that certainly got nothing, and returns them. One that replied
// anyway did get it.
func (m *machine) withdraw(e sentEvent, not *NotSentError) []string {
	names := not.Nodes
	if names == nil {
		for _, at := range m.l.batches[e.Batch-1].rows {
			names = append(names, m.l.rows[at].identity)
		}
	}
	var back []string
	for _, name := range names {
		if at, ok := m.l.index[name]; ok && m.l.rows[at].state == Sending && int(m.l.rows[at].batch) == e.Batch {
			back = append(back, name)
		}
	}
	if len(back) > 0 {
		m.record(Record{Kind: KindWithdrawn, Time: e.At, Batch: e.Batch, Nodes: back, Reason: not.Error()})
	}
	return back
}
