package batch

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// prepareLead is how long before the end of a sleep the next batch's baseline
// is asked for.
const prepareLead = 3 * time.Second

// halt says how much of what is in flight is still waited for.
type halt uint8

const (
	haltNone halt = iota
	haltSoft      // replies and proof: a stop rule, or no at the prompt
	haltFirm      // replies only: an interrupt, the deadline
	haltHard      // nothing: nothing more can come, or nobody would learn of it
)

// machine decides. It is a function of its events: no I/O, no clock, no
// goroutine. Not safe for concurrent use.
type machine struct {
	l        *ledger
	proved   bool                   // there is a Verifier
	canProbe bool                   // there is a Prober
	request  func(batch int) string // names the request of a batch; nil: no names
	out      []command              // of the step in progress

	halt        halt
	done        bool
	recovering  bool // before the first batch: proof and probes of an earlier process
	probing     bool
	untouched   []string // unknown nodes proved untouched, to be requeued
	noVerifier  bool     // it ended before its time
	queue       []int    // batches to send, in order
	cur         current
	next        upcoming
	oldFailed   int // counted before this process; the limits of the run start anew
	oldNoReply  int
	interrupted bool
}

// current is the batch that was sent last.
type current struct {
	batch     int // 0: none yet
	acting    bool
	uncertain bool // some nodes may not have been sent to
	replies   bool // all in, or timed out
	prepare   bool // time for the next baseline
	slept     bool
	ended     bool // replies and proof are in
}

// upcoming is what is ready for the next batch.
type upcoming struct {
	asked, ready         bool // baseline
	confirming, approved bool
	baselines            map[string]string
}

func newMachine(l *ledger, proved, canProbe bool, request func(int) string) *machine {
	return &machine{l: l, proved: proved, canProbe: canProbe, request: request}
}

// step takes one event and returns what to do. The slice is valid until the
// next step.
func (m *machine) step(e event) []command {
	m.out = m.out[:0]
	if m.done {
		return nil
	}
	switch e := e.(type) {
	case outcomeEvent:
		m.outcome(&e.Outcome)
	case proofEvent:
		m.proof(e.Proof)
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
	case interruptEvent:
		m.stop(e.At, haltFirm, Stop{Kind: StopSignal, Reason: e.Err.Error()})
	case lostEvent:
		m.stop(e.At, haltHard, Stop{Kind: StopLost, Reason: fmt.Sprintf("connection lost: %v", e.Err)})
	case abandonEvent:
		m.stop(e.At, haltHard, Stop{Kind: StopSignal, Reason: e.Err.Error()})
	}
	m.advance(e.when())
	return m.out
}

// start begins or resumes the run.
func (m *machine) start(at time.Time, rules Rules, pace Pace) []command {
	m.out = m.out[:0]
	begin := Beginning{Rules: rules, Pace: pace, Proved: m.proved}
	kind := KindResumed
	if !m.l.begun {
		kind = KindPlan
		begin.Header, begin.Plan = m.l.begin.Header, m.l.begin.Plan
	}
	m.record(Record{Kind: kind, Time: at, Begin: &begin})
	m.oldFailed, m.oldNoReply = m.l.counts.Failed(), m.l.counts.Of(NoReply)
	if pace.Deadline > 0 {
		m.emit(timerCmd{timerDeadline, 0, at.Add(pace.Deadline)})
	}
	m.recovering = true
	m.recover(at)
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

// advance does what has become due. Every wait of the run is a return in here.
func (m *machine) advance(at time.Time) {
	if m.done || m.cur.acting {
		return
	}
	if m.recovering && m.halt == haltNone {
		if m.probing || m.open(0) > 0 {
			return
		}
		m.recovering = false
		m.requeue(at)
	}
	finished := m.cur.batch == 0 || m.finishBatch(at)
	switch {
	case m.halt == haltNone && len(m.queue) > 0:
		m.prepareNext(at)
	case finished && (m.open(0) == 0 || m.halt >= haltFirm):
		m.end(at)
	}
}

// finishBatch reports whether nothing of the current batch is waited for.
func (m *machine) finishBatch(at time.Time) bool {
	c := &m.cur
	if !c.replies && m.halt < haltHard {
		if m.l.batches[c.batch-1].counts.Of(Sending) > 0 {
			return false
		}
		m.repliesIn(at)
	}
	if !c.ended && m.open(c.batch) == 0 && c.replies {
		c.ended = true
		m.record(Record{Kind: KindBatchEnd, Time: at, Batch: c.batch})
	}
	return c.ended || m.halt >= haltFirm
}

// open is how many nodes, of a batch or (0) of all, wait for proof.
func (m *machine) open(batch int) int {
	switch {
	case !m.proved:
		return 0
	case batch == 0:
		return m.l.counts.Of(Accepted)
	}
	return m.l.batches[batch-1].counts.Of(Accepted)
}

// repliesIn ends the wait for replies: the sleep begins.
func (m *machine) repliesIn(at time.Time) {
	c := &m.cur
	c.replies = true
	m.record(Record{Kind: KindReplies, Time: at, Batch: c.batch, Uncertain: c.uncertain})
	m.verifySilent(c.batch)
	m.judge(at, c.batch)
	if m.halt != haltNone || len(m.queue) == 0 {
		return
	}
	sleep := m.l.begin.Pace.Sleep
	lead := min(sleep, prepareLead)
	if c.prepare = sleep == lead; !c.prepare {
		m.emit(timerCmd{timerPrepare, c.batch, at.Add(sleep - lead)})
	}
	if c.slept = sleep == 0; !c.slept {
		m.emit(timerCmd{timerSleep, c.batch, at.Add(sleep)})
	}
}

// prepareNext asks for consent and for the baseline when it is time, and sends
// when all is ready.
func (m *machine) prepareNext(at time.Time) {
	c, n, batch := &m.cur, &m.next, m.queue[0]
	first := c.batch == 0
	if m.l.begin.Pace.ConfirmEach && !first && !n.approved {
		if c.ended && !n.confirming {
			n.confirming = true
			m.emit(confirmCmd{Pause{Done: c.batch, Next: batch, Nodes: m.l.batches[batch-1].counts.Of(Planned),
				Left: m.l.counts.Of(Planned), Counts: m.l.counts}})
		}
		return
	}
	if m.proved && !n.ready {
		if !n.asked && (first || c.prepare || n.approved) {
			n.asked = true
			m.emit(baselineCmd{batch, m.l.plannedIn(batch)})
		}
		return
	}
	if first || (c.ended && c.slept && m.open(c.batch) == 0) {
		m.send(at, batch)
	}
}

// send writes the intent of the first batch in the queue, then has it sent.
func (m *machine) send(at time.Time, batch int) {
	m.queue = m.queue[1:]
	b := &m.l.batches[batch-1]
	nodes := m.l.plannedIn(batch)
	baselines := m.next.baselines
	m.next = upcoming{}
	if len(nodes) == 0 {
		m.advance(at)
		return
	}
	for group := range slices.Chunk(nodes, groupSize) {
		said := map[string]string{}
		for _, name := range group {
			if base, ok := baselines[name]; ok {
				said[name] = base
			}
		}
		if len(said) > 0 {
			m.record(Record{Kind: KindBaseline, Time: at, Batch: batch, Baselines: said})
		}
	}
	intent := Record{Kind: KindIntent, Time: at, Batch: batch}
	if len(nodes) < len(b.rows) {
		intent.Nodes = nodes
	}
	if m.request != nil {
		intent.Request = m.request(batch)
	}
	m.cur = current{batch: batch, acting: true}
	m.record(intent)
	m.emit(actCmd{batch, nodes})
}

// sent notes that Act returned.
func (m *machine) sent(e sentEvent) {
	if e.Batch != m.cur.batch || !m.cur.acting {
		return
	}
	m.cur.acting = false
	if e.Err == nil {
		m.record(Record{Kind: KindSent, Time: e.At, Batch: e.Batch})
	} else if not, ok := errors.AsType[*NotSentError](e.Err); ok {
		m.withdraw(e, not)
		m.cur.uncertain = not.Uncertain
	} else {
		m.cur.uncertain = true
	}
	if e.Err != nil && m.halt == haltNone {
		m.stop(e.At, haltFirm, Stop{Kind: StopLost, Batch: e.Batch, Reason: fmt.Sprintf("cannot send batch %d: %v", e.Batch, e.Err)})
	}
	m.emit(timerCmd{timerReplies, e.Batch, e.At.Add(m.l.begin.Pace.ReplyTimeout)})
}

// withdraw plans again the nodes that certainly got nothing. One that replied
// all the same did get it.
func (m *machine) withdraw(e sentEvent, not *NotSentError) {
	names := not.Nodes
	if names == nil {
		names = m.l.batches[e.Batch-1].Nodes
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
	c := &m.cur
	switch {
	case e.Timer == timerDeadline:
		m.stop(e.At, haltFirm, Stop{Kind: StopDeadline, Reason: fmt.Sprintf("the deadline of %v passed", m.l.begin.Pace.Deadline)})
	case e.Batch != c.batch:
	case e.Timer == timerReplies && !c.replies && !c.acting:
		m.repliesIn(e.At)
	case e.Timer == timerPrepare:
		c.prepare = true
	case e.Timer == timerSleep:
		c.prepare, c.slept = true, true
	}
}

func (m *machine) baseline(e baselineEvent) {
	if len(m.queue) == 0 || e.Batch != m.queue[0] || !m.next.asked || m.next.ready {
		return
	}
	m.next.ready = true
	m.next.baselines = map[string]string{}
	for name, base := range e.Baselines {
		if at, ok := m.l.index[name]; ok && int(m.l.rows[at].batch) == e.Batch && base != "" {
			m.next.baselines[name] = base
		}
	}
	if e.Err != nil && m.halt == haltNone {
		m.record(Record{Kind: KindNote, Time: e.At, Batch: e.Batch, Reason: fmt.Sprintf("baseline of batch %d: %v", e.Batch, e.Err)})
	}
}

func (m *machine) confirmed(e confirmEvent) {
	if !m.next.confirming {
		return
	}
	m.next.confirming = false
	switch {
	case e.Err != nil:
		m.stop(e.At, haltSoft, Stop{Kind: StopDeclined, Reason: fmt.Sprintf("no answer at the prompt: %v", e.Err)})
	case e.Yes:
		m.next.approved = true
	default:
		m.stop(e.At, haltSoft, Stop{Kind: StopDeclined, Reason: "declined at the prompt"})
	}
}

// end writes the last record.
func (m *machine) end(at time.Time) {
	m.done = true
	m.l.settle()
	m.record(Record{Kind: KindRunEnd, Time: at, End: &Ending{Verdict: m.l.verdict(), States: m.l.counts,
		Ignored: m.l.ignored, Open: m.l.open()}})
	m.emit(endCmd{})
}

// fail ends the run at once, with the account as it was last recorded. It is the
// one event that a finished machine takes too: its last record was not kept.
func (m *machine) fail(e journalEvent) []command {
	m.out = m.out[:0]
	m.done = true
	m.l.rollback()
	m.l.stops = append(m.l.stops, Stop{Kind: StopFault, Reason: e.Err.Error()})
	m.l.settle()
	m.l.ended = e.At
	m.emit(haltCmd{})
	m.emit(endCmd{})
	return m.out
}

// plannedIn lists the nodes of a batch that may be sent to.
func (l *ledger) plannedIn(batch int) []string {
	b := &l.batches[batch-1]
	if b.counts.Of(Planned) == len(b.rows) {
		return b.Nodes
	}
	var nodes []string
	for _, at := range b.rows {
		if r := &l.rows[at]; r.state == Planned && int(r.batch) == batch && r.doubt == 0 {
			nodes = append(nodes, r.identity)
		}
	}
	return nodes
}
