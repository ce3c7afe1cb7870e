package batch

import (
	"fmt"
	"slices"
	"time"
)

// halt reports how much of what is in flight is still waited for.
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
	interrupted bool           // a signal is recorded
	queue       []int          // planned batches to be sent one after another
	approved    int            // the batch that the operator said yes to
	flights     []*flight      // batches on their way, in the order in which they were begun
	last        int            // the batch that was sent last; 0: none yet
	wake        time.Time      // when the sleep after it ends; zero: it is over, or there is none
	tail        map[int32]bool // nodes that go last
	win         *window        // of a plan with a pool, else nil
	questions   int            // asked with baselineCmd

	probing    bool
	untouched  []string           // unknown nodes that nothing reached, to be requeued
	noVerifier bool               // it ended before its time
	unseen     map[int32]struct{} // silent nodes that the Verifier has not looked at yet
	looking    bool               // no node of the batch succeeded, unless the look at its silent nodes shows that one acted
	missing    missing
	link       link
	paused     bool
	hours      hours
	gates      gating
	admits     admitting
}

func newMachine(l *ledger, proved, canProbe bool, request func(int) string) *machine {
	m := &machine{l: l, tail: map[int32]bool{}, proved: proved, canProbe: canProbe, request: request, unseen: map[int32]struct{}{},
		missing: missing{nodes: map[int32]bool{}}}
	for _, name := range l.begin.Plan.Last {
		if at, ok := l.index[name]; ok {
			m.tail[at] = true
		}
	}
	if l.begin.Plan.Policy.Rolling {
		m.win = newWindow(l)
		m.win.tail = m.tail
		l.touched = []int32{}
	}
	return m
}

// step takes one event and returns what to do. The slice is valid until the
// next step.
func (m *machine) step(e event) []command {
	m.out = m.out[:0]
	if m.phase == phaseEnded {
		return nil
	}
	switch e := e.(type) {
	case *outcomeEvent:
		m.outcome(e.At, &e.Outcome)
	case proofEvent:
		m.proof(e.At, e.Proof)
	case verifierEnd:
		m.verifierEnded(e.At)
	case probeEvent:
		m.probed(e.At, e.Proof)
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
	case gateEvent:
		m.gated(e)
	case gateEnd:
		m.gatesEnded(e)
	case admitEvent:
		m.admission(e)
	case interruptEvent:
		m.stop(e.At, haltFirm, Stop{Kind: StopSignal, Reason: e.Err.Error()})
	case abandonEvent:
		m.stop(e.At, haltHard, Stop{Kind: StopSignal, Reason: e.Err.Error()})
	}
	m.advance(e.when())
	return m.out
}

// start begins or resumes the run. elapsed is how much time has passed for certain
// since a recorded moment.
func (m *machine) start(at time.Time, rules Rules, pace Pace, gates Gates, lagging bool, elapsed func(since, now time.Time) time.Duration) []command {
	m.out = m.out[:0]
	m.hours.calendar, _ = pace.Within.parse() // validated
	begin := Beginning{Rules: rules, Pace: pace, Gates: gates, Proved: m.proved, Lagging: lagging && m.l.begun}
	kind := KindResumed
	if !m.l.begun {
		kind = KindPlan
		begin.Header, begin.Plan = m.l.begin.Header, m.l.begin.Plan
	}
	m.record(Record{Kind: kind, Time: at, Begin: &begin})
	if pace.Deadline > 0 {
		m.emit(timerCmd{timerDeadline, 0, at.Add(pace.Deadline)})
	}
	m.openGates()
	if m.win != nil {
		m.openWindow(at, elapsed)
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

// advance does what has become due: batches reach their next stage, new ones begin, phases change.
// Every wait of the run is a phase, or a stage of a batch, that is not left here.
func (m *machine) advance(at time.Time) {
	for m.phase != phaseEnded {
		m.followSlots(at)
		if m.fly(at) || m.refill(at) {
			continue
		}
		next := m.next()
		if next == m.phase {
			return
		}
		m.enter(next, at)
	}
}

// next is the phase that follows from what is known now.
func (m *machine) next() phase {
	switch m.phase {
	case phaseRecovering:
		switch {
		case m.halt != haltNone:
			return phaseEnding
		case !m.probing && m.open(0) == 0, m.win != nil && m.canariesSettled():
			return phaseRunning
		}
	case phaseRunning:
		return m.afterRunning()
	case phaseConsent:
		switch {
		case m.halt != haltNone:
			return phaseEnding
		case m.approved == m.queue[0]:
			return phaseRunning
		}
	case phaseEnding:
		if m.halt >= haltFirm || m.open(0) == 0 && len(m.unseen) == 0 {
			return phaseEnded
		}
	}
	return m.phase
}

// afterRunning leaves the phase in which batches begin: to ask the operator, or
// when nothing more will be sent and what is on its way needs no more waiting.
func (m *machine) afterRunning() phase {
	switch {
	case m.any(stageLeaving):
		return phaseRunning // what left must be known
	case m.halt == haltHard:
		return phaseEnding
	case m.halt == haltFirm && !m.any(stageCollecting):
		return phaseEnding
	case len(m.flights)+len(m.missing.nodes) > 0:
		return phaseRunning
	case m.halt != haltNone:
		return phaseEnding
	case len(m.queue) > 0:
		if m.clear() && !m.hours.held && m.mustAsk() {
			return phaseConsent
		}
		return phaseRunning
	case m.win != nil && (m.win.left > 0 || m.probing):
		return phaseRunning
	}
	return phaseEnding
}

// mustAsk reports whether the next batch needs the operator's consent.
func (m *machine) mustAsk() bool {
	return m.l.begin.Pace.ConfirmEach && m.last != 0 && m.approved != m.queue[0]
}

// enter is the one place where the phase changes.
func (m *machine) enter(p phase, at time.Time) {
	if !slices.Contains(follows[m.phase], p) {
		panic(fmt.Sprintf("batch: %s after %s", p, m.phase))
	}
	if m.phase == phaseRecovering {
		m.requeue(at)
		m.queuePlanned()
	}
	m.phase = p
	switch p {
	case phaseRecovering:
		m.recover(at)
	case phaseConsent:
		m.emit(confirmCmd{m.stepTo(m.queue[0])})
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
	s := Step{Done: m.last, Next: batch, Nodes: m.l.batches[batch-1].counts.Of(Planned),
		Left: m.l.counts.Of(Planned), Counts: m.l.counts.all, Last: p.Batch(m.last)}
	for _, at := range m.l.batches[m.last-1].rows {
		switch m.l.rows[at].state {
		case Refused, Absent, NoReply, Unverified, Unknown:
			s.Trouble = append(s.Trouble, m.l.result(at))
		}
	}
	return s
}

// timer handles the timers that are not stale.
func (m *machine) timer(e timerEvent) {
	switch e.Timer {
	case timerDeadline:
		m.stop(e.At, haltFirm, Stop{Kind: StopDeadline, Reason: fmt.Sprintf("the deadline of %v passed", m.l.begin.Pace.Deadline)})
	case timerReplies:
		if f := m.flight(e.Batch); f != nil && f.stage == stageCollecting {
			m.repliesIn(e.At, f)
		}
	case timerSleep:
		if e.Batch == m.last {
			m.wake = time.Time{}
		}
	case timerLook:
		m.looked(e)
	case timerAbsent:
		m.askAbsent(e.At)
	case timerMissing:
		m.askMissing(e.At)
	case timerSlot:
		m.freeSlots(e.At)
	case timerHours:
		m.hours.timed = false
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
