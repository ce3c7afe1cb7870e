package batch

import (
	"errors"
	"time"
)

// groupSize is how many nodes one record or one group of targets names at most.
const groupSize = 1000

// The part of the machine that hears of nodes: replies, proof, probes, and what
// they mean for the stop rules.

func (m *machine) outcome(o *Outcome) {
	switch err := m.l.applyOutcome(o); {
	case errors.Is(err, errDuplicate), errors.Is(err, errStray):
		m.l.ignored++
		return
	case err != nil:
		panic("batch: " + err.Error())
	}
	m.emit(recordCmd{Record{Kind: KindOutcomes, Time: o.Time, Outcomes: []Outcome{*o}}})
	at := m.l.index[o.Node]
	if m.l.rows[at].state == Accepted && m.proved {
		if m.noVerifier {
			m.proof(Proof{Node: o.Node, Found: Unproved, Time: o.Time, Reason: verifierGone})
			return
		}
		m.emit(verifyCmd{[]Target{m.l.target(at)}})
	}
	m.judge(o.Time, int(m.l.rows[at].batch))
}

const verifierGone = "the verification ended without an answer"

func (m *machine) proof(p Proof) {
	changed, err := m.l.applyProof(&p)
	if err != nil || !changed {
		return // a proof about nobody, or news to nobody
	}
	m.emit(recordCmd{Record{Kind: KindProofs, Time: p.Time, Proofs: []Proof{p}}})
	m.judge(p.Time, int(m.l.rows[m.l.index[p.Node]].batch))
}

// verifierEnded gives up on who waits for proof.
func (m *machine) verifierEnded(at time.Time) {
	m.noVerifier = true
	if m.open(0) == 0 {
		return
	}
	for i := range m.l.rows {
		if m.l.rows[i].state == Accepted {
			m.proof(Proof{Node: m.l.rows[i].identity, Found: Unproved, Time: at, Reason: verifierGone})
		}
	}
}

// verifySilent has silent nodes watched: proof may come without a reply.
func (m *machine) verifySilent(batch int) {
	if !m.proved || m.noVerifier || m.l.batches[batch-1].counts.Of(NoReply) == 0 {
		return
	}
	var targets []Target
	for _, at := range m.l.batches[batch-1].rows {
		if m.l.rows[at].state == NoReply {
			targets = append(targets, m.l.target(at))
		}
	}
	m.emit(verifyCmd{targets})
}

// judge asks the stop rules, as long as there is something left to stop.
func (m *machine) judge(at time.Time, batch int) {
	if m.halt != haltNone || (m.l.counts.Of(Planned) == 0 && !m.cur.acting) {
		return
	}
	run := m.l.tally(m.l.counts, m.proved)
	over := min(run.Refused, m.oldFailed)
	run.Refused -= over
	run.Unverified -= min(run.Unverified, m.oldFailed-over)
	run.NoReply -= min(run.NoReply, m.oldNoReply)
	b := &m.l.batches[batch-1]
	t := m.l.tally(b.counts, m.proved)
	t.Batch, t.Canary = batch, b.Canary
	if stop, met := Decide(m.l.begin.Rules, run, t); met {
		m.stop(at, haltSoft, stop)
	}
}

func (l *ledger) tally(c Counts, proved bool) Tally {
	t := Tally{Nodes: c.Total(), Refused: c.Of(Refused), Unverified: c.Of(Unverified), NoReply: c.Of(NoReply), Open: c.Of(Sending)}
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
	m.record(Record{Kind: KindStopped, Time: at, Stop: &s})
	m.emit(haltCmd{})
}

// recover asks for proof of what was accepted, and probes what is open.
func (m *machine) recover(at time.Time) {
	var verify, probe []Target
	for i := range m.l.rows {
		r := &m.l.rows[i]
		switch {
		case r.state == Accepted && m.proved:
			verify = append(verify, m.l.target(int32(i)))
		case r.state == Unknown, r.state == Planned && r.doubt > 0:
			probe = append(probe, m.l.target(int32(i)))
		}
	}
	if len(verify) > 0 {
		m.emit(verifyCmd{verify})
	}
	if len(probe) > 0 && m.canProbe {
		m.probing = true
		m.emit(probeCmd{probe})
		return
	}
	m.giveUpDoubts(at, "it cannot be probed")
}

// giveUpDoubts: who may have been touched by another run is not sent to.
func (m *machine) giveUpDoubts(at time.Time, reason string) {
	var proofs []Proof
	for _, d := range m.l.begin.Plan.Doubts {
		if r := &m.l.rows[m.l.index[d.Node]]; r.doubt > 0 && r.state == Planned {
			proofs = append(proofs, Proof{Node: d.Node, Found: Unproved, Time: at, Reason: reason})
		}
	}
	if len(proofs) > 0 {
		m.record(Record{Kind: KindProbed, Time: at, Proofs: proofs})
	}
}

func (m *machine) probed(p Proof) {
	at, ok := m.l.index[p.Node]
	if !ok || !m.probing || p.Found == 0 || p.Found >= findingEnd {
		return
	}
	r := &m.l.rows[at]
	if r.state != Unknown && (r.state != Planned || r.doubt == 0) {
		return // a late reply said more
	}
	if r.state == Unknown && p.Found == Untouched {
		m.untouched = append(m.untouched, p.Node)
	}
	m.record(Record{Kind: KindProbed, Time: p.Time, Proofs: []Proof{p}})
}

func (m *machine) probeEnded(at time.Time) {
	if !m.probing {
		return
	}
	m.probing = false
	if m.halt == haltNone {
		m.giveUpDoubts(at, "no answer to the probe")
	}
}

// requeue makes a batch of the untouched nodes, and lists what is to be sent:
// requeued batches first, they were due before the others.
func (m *machine) requeue(at time.Time) {
	var again []string
	for _, name := range m.untouched {
		if m.l.rows[m.l.index[name]].state == Unknown { // else a late reply came
			again = append(again, name)
		}
	}
	if m.untouched = nil; len(again) > 0 {
		m.record(Record{Kind: KindRequeued, Time: at, Batch: len(m.l.batches) + 1, Nodes: again,
			Reason: "proved untouched after an interruption"})
	}
	planned := len(m.l.begin.Plan.Batches)
	for _, extra := range []bool{true, false} {
		for i := range m.l.batches {
			if b := &m.l.batches[i]; (b.Number > planned) == extra && b.counts.Of(Planned) > 0 {
				m.queue = append(m.queue, b.Number)
			}
		}
	}
}
