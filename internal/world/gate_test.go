package world

import (
	"context"
	"math/rand/v2"
	"time"

	"fleetctl/batch"
)

// gates are the gates of a process, as the world knows them: what it answered, and what was sent since.
type gates struct {
	rng    *rand.Rand
	passed time.Time // the last time that they let something be sent; zero: they did not, in this life
	used   bool      // a planned batch was begun since
	sent   int       // nodes of a window that were sent to since
	failed time.Time
	asked  time.Time // the last question
	vague  time.Time // when a question ended inconclusive that nothing had held up; zero: none did
	closed time.Time // the last pause, and the last loss of the connection
}

// randomGates makes a share of the cases ask gates. It has a generator of its own, so that the others stay what they were.
func (s *spec) randomGates() { s.gated = chance(rand.New(rand.NewPCG(s.seed, 4)), 0.4) }

// gateAnswers are the rounds of one place: mostly a pass, sometimes late, and sometimes none.
func (p *process) gateAnswers() (rounds []batch.GateRound, every time.Duration) {
	r := p.gates.rng
	pass := batch.GateRound{Verdict: batch.GatePassed, Decided: true}
	unclear, passing := batch.GateRound{Verdict: batch.GateInconclusive, Reason: "no data"}, batch.GateRound{Verdict: batch.GatePassed, Reason: "passes"}
	every = upTo(r, 10*time.Second)
	p.w.mu.Lock()
	healed := p.w.healed
	p.w.mu.Unlock()
	switch roll := r.Float64(); {
	case healed || roll < 0.7:
		return []batch.GateRound{pass}, every
	case roll < 0.82:
		for range 1 + r.IntN(20) {
			rounds = append(rounds, pick(r, unclear, unclear, passing))
		}
		return append(rounds, pass), every
	case roll < 0.92:
		return []batch.GateRound{passing, {Verdict: batch.GateFailed, Reason: "3 of 4", Decided: true}}[r.IntN(2):], every
	}
	return []batch.GateRound{unclear, unclear, {Verdict: batch.GateInconclusive, Reason: "no data, for long", Decided: true}}, every
}

// Keep implements batch.Gatekeeper.
func (p *process) Keep(ctx context.Context, _ batch.Moment, report func(batch.GateRound)) error {
	rounds, every := p.gateAnswers()
	p.w.mu.Lock()
	if p.gates.closed.After(p.gates.asked) { // the question before was dropped, perhaps before its last answer was taken
		p.gates.vague = time.Time{}
	}
	p.gates.asked = time.Now()
	p.w.mu.Unlock()
	for _, r := range rounds {
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.w.mu.Lock()
		p.w.logf("gate    %s, decided %v", r.Verdict, r.Decided)
		switch {
		case !r.Decided:
		case r.Verdict == batch.GatePassed:
			p.gates.passed, p.gates.used, p.gates.sent = time.Now(), false, 0
		case r.Verdict == batch.GateInconclusive:
			p.gates.vague = time.Now()
		default:
			p.gates.failed = time.Now()
		}
		p.w.mu.Unlock()
		report(r)
	}
	return nil
}

// judgeGates: nothing is begun that the gates did not let pass, in this life and since the last pause and the last loss of the
// connection; one pass is good for one batch, or for as many nodes of a window as can be in flight and become final.
func (w *world) judgeGates(t *tape, plan batch.Plan, b int, nodes int) {
	p := t.p
	if p == nil || !p.s.gated {
		return
	}
	g := &p.gates
	g.sent += nodes
	switch alone := !plan.Rolls() || b <= len(plan.Batches); {
	case !g.failed.IsZero() && t.overdue(g.failed):
		w.violated("run %s: batch %d is begun %v after a gate failed", t.run.id, b, time.Since(g.failed))
	case !g.vague.IsZero() && t.overdue(g.vague):
		w.violated("run %s: batch %d is begun %v after the gates were inconclusive for too long", t.run.id, b, time.Since(g.vague))
	case g.passed.IsZero():
		w.violated("run %s: batch %d is begun, and no gate has passed", t.run.id, b)
	case g.closed.After(g.passed) && t.overdue(g.closed):
		w.violated("run %s: batch %d is begun by gates that passed before a pause or a lost connection", t.run.id, b)
	case alone && g.used:
		w.violated("run %s: batch %d is begun by gates that passed for another", t.run.id, b)
	case !alone && g.sent > 2*p.window():
		w.violated("run %s: %d nodes are sent to since the gates passed, in a window of %d", t.run.id, g.sent, p.window())
	case alone:
		g.used = true
	}
}

// window is the largest one of the case.
func (p *process) window() int {
	sizes := p.s.policy.Sizes
	return sizes.At(len(sizes)-1, len(p.s.nodes))
}
