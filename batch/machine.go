package batch

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// halt says how much of what is in flight is still waited for.
type halt uint8

const (
	haltNone halt = iota
	haltSoft      // replies and proof: a stop rule, or no at the prompt
	haltFirm      // replies only: an interrupt, the deadline
	haltHard      // nothing: nothing more can come, or it could not be recorded
)

// machine decides. It is a function of its events: no I/O, no clock, no
// goroutine. Not safe for concurrent use.
type machine struct {
	l        *ledger
	proved   bool                   // there is a Verifier
	canProbe bool                   // there is a Prober
	request  func(batch int) string // names the request of a batch; nil: no names
	out      []command              // of the step in progress

	phase       phase
	halt        halt
	interrupted bool  // a signal is recorded
	queue       []int // batches to send, in order
	approved    int   // the batch that the operator said yes to
	cur         current
	prep        preparation
	questions   int // asked with baselineCmd

	probing    bool
	untouched  []string           // unknown nodes that nothing reached, to be requeued
	noVerifier bool               // it ended before its time
	unseen     map[int32]struct{} // silent nodes that the Verifier has not looked at yet
	looking    bool               // the batch comes to nothing, unless the look at its silent nodes shows that one acted
	missing    missing
	link       link
	paused     bool
}

// current is the batch that was sent last.
type current struct {
	batch     int       // 0: none yet
	uncertain bool      // some nodes may not have been sent to
	wake      time.Time // when its sleep ends; zero: it is over, or there is none
}

func newMachine(l *ledger, proved, canProbe bool, request func(int) string) *machine {
	return &machine{l: l, proved: proved, canProbe: canProbe, request: request, unseen: map[int32]struct{}{},
		missing: missing{nodes: map[int32]bool{}}}
}

// step takes one event and returns what to do. The slice is valid until the
// next step.
func (m *machine) step(e event) []command {
	m.out = m.out[:0]
	if m.phase == phaseEnded {
		return nil
	}
	switch e := e.(type) {
	case outcomeEvent:
		m.outcome(e.At, &e.Outcome)
	case proofEvent:
		m.proof(e.At, e.Proof)
	case verifierEnd:
		m.verifierEnded(e.At)
	case probeEvent:
		m.probed(e.Proof)
	case probeEnd:
		m.probeEnded(e.At)
	case baselineEvent:
		m.baseline(e)
	case sentEvent:
		m.sent(e)
	case timerEvent:
		m.timer(e)
	case confirmEvent:
		m.confirmed(e)
	case linkEvent:
		m.linked(e)
	case controlEvent:
		m.controlled(e)
	case interruptEvent:
		m.stop(e.At, haltFirm, Stop{Kind: StopSignal, Reason: e.Err.Error()})
	case abandonEvent:
		m.stop(e.At, haltHard, Stop{Kind: StopSignal, Reason: e.Err.Error()})
	}
	m.advance(e.when())
	return m.out
}

// start begins or resumes the run.
func (m *machine) start(at time.Time, rules Rules, pace Pace, lagging bool) []command {
	m.out = m.out[:0]
	begin := Beginning{Rules: rules, Pace: pace, Proved: m.proved, Lagging: lagging && m.l.begun}
	kind := KindResumed
	if !m.l.begun {
		kind = KindPlan
		begin.Header, begin.Plan = m.l.begin.Header, m.l.begin.Plan
	}
	m.record(Record{Kind: kind, Time: at, Begin: &begin})
	if pace.Deadline > 0 {
		m.emit(timerCmd{timerDeadline, 0, at.Add(pace.Deadline)})
	}
	m.enter(phaseRecovering, at)
	m.advance(at)
	return m.out
}

func (m *machine) emit(c command) { m.out = append(m.out, c) }

// record applies a record to the account and has it kept. What the machine
// writes must fit the account; anything else is a bug here.
func (m *machine) record(r Record) {
	if err := m.l.apply(&r); err != nil {
		panic(fmt.Sprintf("batch: the machine contradicts its own account: %v", err))
	}
	m.emit(recordCmd{r})
}

// advance enters the phases that have become due. Every wait of the run is a
// phase that next does not leave.
func (m *machine) advance(at time.Time) {
	for m.phase != phaseEnded {
		next := m.next(at)
		if next == m.phase {
			return
		}
		m.enter(next, at)
	}
}

// next is the phase that follows from what is known now.
func (m *machine) next(at time.Time) phase {
	switch m.phase {
	case phaseRecovering:
		switch {
		case m.halt != haltNone:
			return phaseEnding
		case !m.probing && m.open(0) == 0:
			return phasePreparing
		}
	case phasePreparing:
		return m.nextBatch(at)
	case phaseConsent:
		switch {
		case m.halt != haltNone:
			return phaseEnding
		case m.approved == m.queue[0]:
			return phasePreparing
		}
	case phaseBaseline:
		return m.afterBaseline(at)
	case phaseCollecting:
		switch {
		case m.halt == haltHard:
			return phaseEnding
		case m.l.batches[m.cur.batch-1].counts.Of(Sending) == 0:
			return phaseProving
		}
	case phaseProving:
		switch {
		case m.open(m.cur.batch) == 0 && len(m.missing.nodes) == 0 && !m.looking:
			return phaseSleeping
		case m.halt >= haltFirm:
			return phaseEnding
		}
	case phaseSleeping:
		switch {
		case m.halt != haltNone || len(m.queue) == 0:
			return phaseEnding
		case (m.cur.wake.IsZero() || m.l.begin.Pace.ConfirmEach) && m.open(0) == 0:
			return phasePreparing
		}
	case phaseEnding:
		if m.halt >= haltFirm || m.open(0) == 0 && len(m.unseen) == 0 {
			return phaseEnded
		}
	}
	return m.phase
}

// enter is the one place where the phase changes.
func (m *machine) enter(p phase, at time.Time) {
	if !slices.Contains(follows[m.phase], p) {
		panic(fmt.Sprintf("batch: %s after %s", p, m.phase))
	}
	if m.phase == phaseRecovering {
		m.requeue(at)
	}
	m.phase = p
	switch p {
	case phaseRecovering:
		m.recover(at)
	case phaseConsent:
		m.emit(confirmCmd{m.stepTo(m.queue[0])})
	case phaseBaseline:
		m.prep = preparation{said: map[string]Baseline{}}
		m.ask(at, m.l.plannedIn(m.queue[0]))
	case phaseSending:
		m.send(at)
	case phaseCollecting:
		m.emit(timerCmd{timerReplies, m.cur.batch, at.Add(m.l.begin.Pace.ReplyTimeout)})
		if m.l.begin.Pace.Watch {
			m.watch(m.l.batches[m.cur.batch-1].rows, Sending)
		}
	case phaseProving:
		m.repliesIn(at)
	case phaseSleeping:
		m.record(Record{Kind: KindBatchEnd, Time: at, Batch: m.cur.batch})
		m.replaceMissed(at)
	case phaseEnding:
		m.lookOnce(at, 0)
	case phaseEnded:
		m.end(at)
	}
}

// open is how many nodes, of a batch or (0) of all, wait for proof.
func (m *machine) open(batch int) int {
	c := &m.l.counts
	if batch > 0 {
		c = &m.l.batches[batch-1].counts
	}
	if !m.proved {
		return 0
	}
	return c.Of(Accepted) - c.waived
}

// stepTo is what the operator is asked about.
func (m *machine) stepTo(batch int) Step {
	p := Progress{m.l}
	s := Step{Done: m.cur.batch, Next: batch, Nodes: m.l.batches[batch-1].counts.Of(Planned),
		Left: m.l.counts.Of(Planned), Counts: m.l.counts.all, Last: p.Batch(m.cur.batch)}
	for _, at := range m.l.batches[m.cur.batch-1].rows {
		switch m.l.rows[at].state {
		case Refused, Absent, NoReply, Unverified, Unknown:
			s.Trouble = append(s.Trouble, m.l.result(at))
		}
	}
	return s
}

// repliesIn ends the wait for replies: the sleep begins.
func (m *machine) repliesIn(at time.Time) {
	c := &m.cur
	m.record(Record{Kind: KindReplies, Time: at, Batch: c.batch, Uncertain: c.uncertain})
	m.verifySilent(m.l.batches[c.batch-1].rows)
	m.judge(at, c.batch)
	if sleep := m.l.begin.Pace.Sleep; sleep > 0 && m.halt == haltNone && len(m.queue)+len(m.missing.nodes) > 0 {
		c.wake = at.Add(sleep)
		m.emit(timerCmd{timerSleep, c.batch, c.wake})
	}
}

// sent notes that Act returned.
func (m *machine) sent(e sentEvent) {
	if m.phase != phaseSending || e.Batch != m.cur.batch {
		return
	}
	if e.Err == nil {
		m.record(Record{Kind: KindSent, Time: e.At, Batch: e.Batch})
	} else {
		why := e.Err
		if not, ok := errors.AsType[*NotSentError](e.Err); ok {
			m.withdraw(e, not)
			m.cur.uncertain = not.Uncertain
			why = not.Err
		} else {
			m.cur.uncertain = true
		}
		if m.halt == haltNone {
			m.stop(e.At, haltFirm, Stop{Kind: StopLost, Batch: e.Batch, Reason: m.cannotSend(e.Batch, why)})
		}
	}
	m.enter(phaseCollecting, e.At)
}

// cannotSend is the reason of a stop, in the operator's words.
func (m *machine) cannotSend(batch int, why error) string {
	if !m.link.down.IsZero() {
		return fmt.Sprintf("the connection was lost while batch %d was sent", batch)
	}
	return fmt.Sprintf("cannot send batch %d: %v", batch, why)
}

// withdraw plans again the nodes that certainly got nothing. One that replied
// all the same did get it.
func (m *machine) withdraw(e sentEvent, not *NotSentError) {
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
}

// timer handles the timers that are not stale.
func (m *machine) timer(e timerEvent) {
	switch e.Timer {
	case timerDeadline:
		m.stop(e.At, haltFirm, Stop{Kind: StopDeadline, Reason: fmt.Sprintf("the deadline of %v passed", m.l.begin.Pace.Deadline)})
	case timerReplies:
		if m.phase == phaseCollecting && e.Batch == m.cur.batch {
			m.enter(phaseProving, e.At)
		}
	case timerSleep:
		if e.Batch == m.cur.batch {
			m.cur.wake = time.Time{}
		}
	case timerLook:
		m.looked(e)
	case timerAbsent:
		m.askAbsent(e.At)
	case timerMissing:
		m.askMissing(e.At)
	}
}

func (m *machine) confirmed(e confirmEvent) {
	switch {
	case m.phase != phaseConsent:
	case e.Err != nil:
		m.stop(e.At, haltSoft, Stop{Kind: StopDeclined, Reason: fmt.Sprintf("no answer at the prompt: %v", e.Err)})
	case e.Yes:
		m.approved = m.queue[0]
	default:
		m.stop(e.At, haltSoft, Stop{Kind: StopDeclined, Reason: "declined at the prompt"})
	}
}

// end writes the last record.
func (m *machine) end(at time.Time) {
	m.l.settle()
	m.record(Record{Kind: KindRunEnd, Time: at, End: &Ending{Verdict: m.l.verdict(), States: m.l.counts.all,
		Ignored: m.l.ignored, Open: m.l.open()}})
	m.emit(endCmd{})
}

// fail ends the run at once, with the account as it was last recorded. It is the
// one event that a finished machine takes too: its last record was not kept.
func (m *machine) fail(e journalEvent) []command {
	m.out = m.out[:0]
	m.phase = phaseEnded
	m.l.rollback()
	m.l.stops = append(m.l.stops, Stop{Kind: StopFault, Reason: e.Err.Error()})
	m.l.settle()
	m.l.ended = e.At
	m.emit(haltCmd{})
	m.emit(endCmd{})
	return m.out
}
