package batch

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// resultOf is what is known of one node.
func resultOf(p Progress, name string) (Result, bool) {
	at, ok := p.l.index[name]
	if !ok {
		return Result{}, false
	}
	return p.l.result(at), true
}

// audit checks the invariants of doc.go on every command and after every step.
type audit struct {
	t         testing.TB
	lines     [][]byte // the journal
	acts      map[string]int
	untouched map[string]bool // proved by a probe since the last act
	stopped   bool
	paused    bool
	passed    bool // the gates, for what is sent next
	failed    bool // a gate, in this life
	away      bool // the connection
	looked    bool // baselines were asked since it is back
	now       time.Time
	sentNow   map[string]bool // sent to by this process
}

// whole is the record of a reply as other records are.
func whole(c command) command {
	if o, ok := c.(outcomeCmd); ok {
		return recordCmd{Record{Kind: KindOutcomes, Time: o.Time, Outcomes: []Outcome{*o.Outcome}}}
	}
	return c
}

func newAudit(t testing.TB) *audit {
	return &audit{t: t, acts: map[string]int{}, untouched: map[string]bool{}, sentNow: map[string]bool{}}
}

func (a *audit) command(m *machine, c command) {
	a.t.Helper()
	c = whole(c)
	switch c := c.(type) {
	case recordCmd:
		line, err := encodeRecord(c.Record)
		if err != nil {
			a.t.Fatal(err)
		}
		a.lines = append(a.lines, line)
		a.stopped = a.stopped || c.Kind == KindStopped
		switch c.Kind {
		case KindPlan, KindResumed:
			a.passed, a.failed = c.Begin.Gates.IsZero(), false
		case KindGate:
			a.passed = c.Gate.Decided && c.Gate.Verdict == GatePassed
			a.failed = a.failed || c.Gate.Decided && !a.passed
		case KindPaused, KindContinued:
			if a.paused = c.Kind == KindPaused; a.paused && m.gates.on {
				a.passed = false
			}
		case KindLink:
			a.away, a.looked = !c.Up, false
			a.passed = a.passed && !m.gates.on
		case KindWithdrawn:
			for _, name := range c.Nodes {
				a.untouched[name] = true
			}
		}
		for _, o := range c.Outcomes {
			a.untouched[o.Node] = o.Absent
		}
	case baselineCmd:
		a.looked = !a.away
	case actCmd:
		a.act(m, c)
	}
}

// act checks what must hold when a batch leaves.
func (a *audit) act(m *machine, c actCmd) {
	a.t.Helper()
	if a.stopped || a.paused || a.away || m.proved && !a.looked {
		a.t.Errorf("batch %d is sent; stopped %v, paused %v, connection away %v, baselines asked since %v", c.Batch, a.stopped, a.paused, a.away, a.looked)
	}
	if !a.passed || a.failed {
		a.t.Errorf("batch %d is sent; gates passed %v, one failed %v", c.Batch, a.passed, a.failed)
	}
	a.passed = !m.gates.on || m.win != nil // one batch for each pass; a window has many
	p, err := Follow(fromLines(a.lines))
	if err != nil {
		a.t.Fatalf("batch %d is sent, and the journal does not replay: %v", c.Batch, err)
	}
	for _, name := range c.Nodes {
		if r, ok := resultOf(p, name); !ok || r.State != Sending || r.Batch != c.Batch {
			a.t.Errorf("node %s is sent in batch %d, and recorded as %s in batch %d", name, c.Batch, r.State, r.Batch)
		}
		if a.acts[name]++; a.acts[name] > 1 && !a.untouched[name] {
			a.t.Errorf("node %s is sent a request twice", name)
		}
		delete(a.untouched, name)
		a.sentNow[name] = true
	}
	if sending := p.Batch(c.Batch).States.Of(Sending); sending != len(c.Nodes) || m.win == nil && sending != p.Counts().Of(Sending) {
		a.t.Errorf("batch %d: %d nodes are sent to, %d recorded as sending", c.Batch, len(c.Nodes), sending)
	}
	if m.win != nil {
		a.window(m, c.Batch, p)
	}
	run := m.l.stopInput(&m.l.counts, &m.l.counts.fresh, m.proved)
	if stop, met := decide(m.l.begin.Rules, run, Tally{}); met {
		a.t.Errorf("batch %d is sent although: %s", c.Batch, stop.Reason)
	}
}

// window counts, from the journal alone, what is in flight when a batch of a
// window leaves.
func (a *audit) window(m *machine, batch int, p Progress) {
	a.t.Helper()
	plan, flying, use := p.Plan(), 0, map[string]int{}
	for i, name := range plan.Names() {
		r, _ := resultOf(p, name)
		late := r.Late // its slot may have been given away by then
		silent := r.State == NoReply && r.Batch > 0 && a.now.Sub(r.Sent) < p.Pace().SilentHold && a.sentNow[name]
		if (r.State == Sending || r.State == Accepted && m.proved && !p.l.rows[i].waived || silent) && !late {
			flying++
			for fact, values := range plan.Facts {
				use[fact+" "+values[i]]++
			}
		}
	}
	if size := m.size(); flying > size && !p.Batch(batch).Canary {
		a.t.Errorf("batch %d is sent: %d nodes are in flight in a window of %d", batch, flying, size)
	}
	for _, c := range plan.Policy.MaxPer {
		for value, n := range use {
			if strings.HasPrefix(value, c.Fact+" ") && n > c.N {
				a.t.Errorf("batch %d is sent: %d of %s are in flight, and %d may be", batch, n, value, c.N)
			}
		}
	}
}

// account checks that the counts add up and that the journal says the same.
func (a *audit) account(l *ledger) {
	a.t.Helper()
	var all, pool nodeCounts
	perBatch := make([]nodeCounts, len(l.batches))
	for i := range l.rows {
		r := &l.rows[i]
		all.count(r, 1)
		if r.batch == 0 {
			pool.count(r, 1)
		} else {
			perBatch[r.batch-1].count(r, 1)
		}
		open := 0
		for at := r.last; at > 0; at = l.attempts[at-1].prev {
			if l.attempts[at-1].reach == fateOpen {
				open++
			}
		}
		if open > 1 {
			a.t.Errorf("%d requests may still reach node %s", open, r.identity)
		}
	}
	if pool != l.pool || all != l.counts || all.all.Total() != len(l.rows) {
		a.t.Fatalf("counts say %v, nodes %v", l.counts, all)
	}
	for i := range l.batches {
		if perBatch[i] != l.batches[i].counts {
			a.t.Fatalf("batch %d: counts say %v, nodes %v", i+1, l.batches[i].counts, perBatch[i])
		}
	}
	if len(a.lines) == 0 || len(l.stops) > 0 && l.stop().Kind == StopFault {
		return
	}
	p, err := Follow(fromLines(a.lines))
	if err != nil {
		a.t.Fatalf("replay: %v", err)
	}
	if l.resumes != p.l.resumes || !l.begun {
		return // replayed and not resumed yet
	}
	for at := range l.rows {
		if got, want := p.l.rows[at], l.rows[at]; got != want {
			a.t.Fatalf("the journal says %+v, the run %+v", got, want)
		}
	}
	if !slices.Equal(p.l.attempts, l.attempts) {
		a.t.Fatalf("the journal says %+v, the run %+v", p.l.attempts, l.attempts)
	}
}
