package batch

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// groupSize is how many nodes one record or one group of targets names at most.
const groupSize = 1000

// lookTime is how long the end of a run waits for the look at silent nodes.
const lookTime = 15 * time.Second

// The part of the machine that handles events of nodes: replies, proof, probes, and what
// they mean for the stop rules.

func (m *machine) outcome(now time.Time, o *Outcome) {
	switch err := m.l.applyOutcome(o); {
	case errors.Is(err, errDuplicate), errors.Is(err, errStray):
		m.l.ignored++
		return
	case err != nil:
		panic("batch: " + err.Error())
	}
	m.emit(outcomeCmd{o})
	at := m.l.index[o.Node]
	r := &m.l.rows[at]
	delete(m.unseen, at)
	delete(m.missing.nodes, at)
	if r.state == Absent && m.miss(now, at) {
		return
	}
	if r.state == Accepted && o.OK && m.proved {
		if m.noVerifier {
			m.proof(now, m.verifierGone(now, at))
			return
		}
		m.emit(verifyCmd{[]Target{m.l.target(at)}})
	}
	m.judge(now, int(r.batch), at)
}

// verifierGone is what is known of an accepted node after the verification has
// ended before its time.
func (m *machine) verifierGone(now time.Time, at int32) Proof {
	p := Proof{Node: m.l.rows[at].identity, Found: Unproved, Time: now.Round(0), Reason: "the verification ended without an answer"}
	if !m.link.down.IsZero() {
		p.Found, p.Reason = Unasked, "could not be asked: the connection was lost"
	}
	return p
}

func (m *machine) proof(now time.Time, p Proof) {
	at, planned := m.l.index[p.Node]
	_, unseen := m.unseen[at]
	changed, err := m.l.applyProof(&p)
	if err != nil || !changed { // of a node that is not planned, or nothing new
		if planned && unseen {
			m.seen(now, []int32{at})
		}
		return
	}
	delete(m.unseen, at)
	m.emit(recordCmd{Record{Kind: KindProofs, Time: p.Time, Proofs: []Proof{p}}})
	m.judge(now, int(m.l.rows[at].batch), at)
}

// verifierEnded gives up on the nodes that wait for proof.
func (m *machine) verifierEnded(at time.Time) {
	m.noVerifier = true
	m.seen(at, slices.Sorted(maps.Keys(m.unseen)))
	if m.open(0) == 0 {
		return
	}
	for i := range m.l.rows {
		if m.l.rows[i].state == Accepted {
			m.proof(at, m.verifierGone(at, int32(i)))
		}
	}
}

// verifySilent has silent nodes watched: proof may come without a reply.
func (m *machine) verifySilent(rows []int32) {
	for _, t := range m.watch(rows, NoReply) {
		m.unseen[m.l.index[t.Node]] = struct{}{}
	}
}

// watch hands the nodes that are in a state, and may act, to the Verifier.
func (m *machine) watch(rows []int32, state State) []Target {
	if !m.proved || m.noVerifier {
		return nil
	}
	var targets []Target
	for _, at := range rows {
		if m.l.rows[at].state == state && m.l.reached(at) {
			targets = append(targets, m.l.target(at))
		}
	}
	if len(targets) > 0 {
		m.emit(verifyCmd{targets})
	}
	return targets
}

// lookOnce bounds the wait for the Verifier's look at silent nodes, of a batch or (0) of all.
func (m *machine) lookOnce(at time.Time, batch int) {
	if len(m.unseen) > 0 && m.halt < haltFirm {
		m.emit(timerCmd{timerLook, batch, at.Add(m.l.begin.Pace.look())})
	}
}

// looked ends the wait for the Verifier's look. While the connection is lost it cannot look, and it needs a moment when the
// connection is back.
func (m *machine) looked(e timerEvent) {
	if e.Batch == 0 {
		if m.inGrace(e.At) {
			m.lookOnce(e.At, 0)
		} else {
			clear(m.unseen)
		}
		return
	}
	rows := m.toLookAt(e.Batch)
	switch {
	case len(rows) == 0: // what waited for the look may be absent, or planned again
		m.seen(e.At, nil)
	case m.inGrace(e.At):
		m.lookOnce(e.At, e.Batch)
	default:
		m.seen(e.At, rows)
	}
}

// seen ends the wait for the look at silent nodes, and judges what waited for it.
func (m *machine) seen(at time.Time, rows []int32) {
	for _, row := range rows {
		delete(m.unseen, row)
	}
	if m.looking {
		m.judge(at, m.last, -1)
	}
	for _, row := range rows {
		if m.win != nil {
			m.judge(at, int(m.l.rows[row].batch), row)
		}
	}
}

// toLookAt lists the silent nodes of a batch that the Verifier has not looked at. A planned batch waits for the look no
// longer than its flight lasts.
func (m *machine) toLookAt(batch int) []int32 {
	if f := m.flight(batch); m.asWhole(batch) && (f == nil || f.stage != stageProving) {
		return nil
	}
	var rows []int32
	for at := range m.unseen {
		if int(m.l.rows[at].batch) == batch {
			rows = append(rows, at)
		}
	}
	slices.Sort(rows)
	return rows
}

// asWhole reports whether the stop rules judge a batch as a whole: a planned one, or a canary before a window.
func (m *machine) asWhole(batch int) bool {
	return m.win == nil || batch > 0 && m.l.batches[batch-1].Canary
}

// judge asks the stop rules, as long as there is something left to stop. row is the
// node whose state changed; below 0: no single node.
func (m *machine) judge(at time.Time, batch int, row int32) {
	waited, whole := m.looking, m.asWhole(batch)
	if whole && batch == m.last {
		m.looking = false
	}
	if m.halt != haltNone || !m.stoppable() {
		return
	}
	run := m.l.stopInput(&m.l.counts, &m.l.counts.fresh, m.proved)
	run.Absent -= len(m.missing.nodes) // they may be back yet
	var t Tally
	silent := 0
	switch {
	case whole:
		if t = m.tallyBatch(batch); withoutSuccess(t) {
			silent = len(m.toLookAt(batch))
		}
	case row >= 0 && m.l.begin.Rules.StopWhenNothing:
		t, silent = m.inARow(row)
	}
	t.Open += silent // what was lost may be their replies only
	if stop, met := decide(m.l.begin.Rules, run, t); met {
		m.stop(at, haltSoft, stop)
		return
	}
	if silent == 0 {
		return
	}
	t.Open -= silent
	_, doubt := decide(m.l.begin.Rules, run, t)
	if !whole {
		if doubt { // no node starts until it is known
			m.win.doubtful, m.win.inDoubt = row, true
		}
		return
	}
	if m.looking = doubt; doubt && !waited {
		m.lookOnce(at, batch)
	}
}

// tallyBatch counts one planned batch.
func (m *machine) tallyBatch(batch int) Tally {
	b := &m.l.batches[batch-1]
	t := m.l.stopInput(&b.counts, &b.counts.all, m.proved)
	fresh := m.l.stopInput(&b.counts, &b.counts.fresh, m.proved)
	t.Batch, t.Canary, t.Fresh = batch, b.Canary, &fresh
	for i := range m.missing.nodes {
		if int(m.l.rows[i].batch) == batch {
			t.Absent, t.Open = t.Absent-1, t.Open+1
		}
	}
	t.Open += len(m.missed(batch)) // other nodes take their place
	return t
}

// stoppable reports whether anything more would be sent.
func (m *machine) stoppable() bool {
	return m.l.counts.Of(Planned) > 0 || m.any(stageLeaving) || len(m.missing.nodes) > 0 || m.probing || len(m.untouched) > 0
}

// stopInput counts for the stop rules what is in counts, all or fresh ones. Nodes that
// are not-sent before the end were left out because they did not answer; skipped ones are no part of it.
func (l *ledger) stopInput(c *nodeCounts, of *Counts, proved bool) Tally {
	skipped := c.skipped
	if of == &c.fresh {
		skipped = c.freshSkipped
	}
	t := Tally{Nodes: c.all.Total() - c.skipped, Refused: of.Of(Refused), Unverified: of.Of(Unverified), Absent: of.Of(Absent),
		NoReply: of.Of(NoReply) + of.Of(NotSent) - skipped, Open: c.Of(Sending)}
	if proved {
		t.Open += c.Of(Accepted)
	}
	return t
}

// stop sends nothing more. A harder stop may follow a softer one; a signal is
// always recorded, once.
func (m *machine) stop(at time.Time, h halt, s Stop) {
	signal := s.Kind == StopSignal && !m.interrupted
	if h <= m.halt && !signal {
		return
	}
	m.interrupted = m.interrupted || signal
	m.halt = max(m.halt, h)
	clear(m.missing.nodes)
	m.record(Record{Kind: KindStopped, Time: at, Stop: &s})
	m.emit(haltCmd{})
}

// recover asks for proof of what was accepted, looks at what was silent, and
// probes what is open.
func (m *machine) recover(at time.Time) {
	var verify, probe []Target
	var silent []int32
	for i := range m.l.rows {
		at := int32(i)
		switch r := &m.l.rows[i]; {
		case r.state == Accepted && m.proved:
			verify = append(verify, m.l.target(at))
		case r.state == NoReply:
			silent = append(silent, at)
		case m.l.doubtful(at) && m.l.reached(at):
			probe = append(probe, m.l.target(at))
		case r.state == Unknown && !r.barred: // proved untouched before, and not requeued
			m.untouched = append(m.untouched, r.identity)
		}
	}
	if len(verify) > 0 {
		m.emit(verifyCmd{verify})
	}
	m.verifySilent(silent)
	m.giveUp(at, func(i int32) bool { return !m.l.reached(i) }, "restarted since an earlier run of the chain began")
	if len(probe) > 0 && m.canProbe {
		m.probing = true
		m.emit(probeCmd{probe})
		return
	}
	m.giveUp(at, m.l.doubtful, "it cannot be probed")
}

// giveUp: planned nodes that may have been reached are not sent to.
func (m *machine) giveUp(at time.Time, which func(int32) bool, reason string) {
	if len(m.l.begin.Plan.Doubts) == 0 {
		return
	}
	var proofs []Proof
	for _, d := range m.l.begin.Plan.Doubts {
		if i := m.l.index[d.Node]; m.l.rows[i].state == Planned && m.l.doubtful(i) && which(i) {
			proofs = append(proofs, Proof{Node: d.Node, Found: Unproved, Time: at.Round(0), Reason: reason})
		}
	}
	if len(proofs) > 0 {
		m.record(Record{Kind: KindProbed, Time: at, Proofs: proofs})
	}
}

func (m *machine) probed(now time.Time, p Proof) {
	at, ok := m.l.index[p.Node]
	if p.Found == Unasked {
		p.Found = Unproved
	}
	if !ok || !m.probing || p.Found == 0 || p.Found >= findingEnd || !m.l.doubtful(at) {
		return // a late reply had a better reason
	}
	m.record(Record{Kind: KindProbed, Time: p.Time, Proofs: []Proof{p}})
	if m.l.rows[at].state == Unknown && !m.l.reached(at) && !m.l.rows[at].barred {
		m.untouched = append(m.untouched, p.Node)
	}
	if m.phase != phaseRecovering { // a window need not wait for all probes
		m.requeue(now)
	}
}

func (m *machine) probeEnded(at time.Time) {
	if !m.probing {
		return
	}
	m.probing = false
	if m.halt == haltNone {
		m.giveUp(at, m.l.doubtful, "no answer to the probe")
	}
}

// requeue plans the untouched nodes anew.
func (m *machine) requeue(at time.Time) {
	var again []string
	for _, name := range m.untouched {
		if m.l.rows[m.l.index[name]].state == Unknown { // else a late reply came
			again = append(again, name)
		}
	}
	m.untouched = nil
	m.planAnew(at, again, "proved untouched after an interruption")
}
