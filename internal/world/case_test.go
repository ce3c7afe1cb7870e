package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
)

// spec is a whole case: the fleet, what is done with it, and what happens meanwhile.
type spec struct {
	seed    uint64
	version choria.Version
	action  string
	brokers int
	mute503 bool
	noise   noise
	nodes   []traits
	policy  batch.Policy
	gated   bool // gates are asked
	racks   int  // fact rack: the values, dealt out in turn; 0: no node has it
	rules   batch.Rules
	pace    batch.Pace
	hours   [][2]int // minutes of a day in UTC in which batches may begin; nil: always. pace.Within says the same

	verifyTimeout time.Duration
	settle        time.Duration
	ttl           time.Duration
	slowCheck     time.Duration // what the check of one reply takes
	slowDisk      time.Duration // what one append to the journal takes
	plain         bool          // the engine cannot ask its actor what has arrived
	real          bool          // signatures and files

	lives []life
	// unjudged leaves the judge out, whose work grows with the square of the nodes.
	unjudged bool
	// open leaves out the end in a healed world, for cases about one moment.
	open bool
	// check looks at the end of a case written by hand. It holds the lock.
	check func(c *caseRun)
}

// life is one process of the operator.
type life struct {
	kind     string // begin, resume or retry; a resume of a finished run and a retry of nothing are left out
	states   []batch.State
	gap      time.Duration // before it begins
	events   []*event
	dieAt    int // the append at which it dies; 0: none
	keep     death
	lag      int // a resume of a copy that lacks so many records, or toLastBatch
	rules    *batch.Rules
	deadline time.Duration
}

// process is the operator's process in one life.
type process struct {
	w         *world
	s         *spec
	c         *conn
	tape      *tape
	ctx       context.Context
	cancel    context.CancelCauseFunc
	interrupt chan error
	control   chan pausing
	dead      bool
	abandoned bool
	pausedAt  time.Time
	typed     []bool // pauses and their ends that were typed while the machine slept
	rules     batch.Rules
	pace      batch.Pace
	lagging   bool // the record may lack what was sent
	gates     gates
}

// pausing asks for a pause, or for its end.
type pausing struct {
	at    time.Time
	pause bool
}

func (p *process) kill() {
	p.dead = true
	p.tape.dead = true
	p.c.kill()
	p.cancel(errDead)
}

// signal is the first Ctrl-C.
func (p *process) signal() {
	select {
	case p.interrupt <- errors.New("interrupt signal received"):
	default:
	}
}

// leave is the second Ctrl-C: out at once, but not dead.
func (p *process) leave() {
	p.abandoned = true
	p.cancel(errors.New("interrupt signal received twice"))
}

// hold pauses or continues the run.
func (p *process) hold(pause bool) {
	if p.dead {
		return
	}
	if p.w.asleep != nil || len(p.typed) > 0 { // the machine that it is typed on is the one that sleeps
		if p.typed = append(p.typed, pause); len(p.typed) == 1 {
			p.w.after(time.Second, p.retype)
		}
		return
	}
	p.press(pause)
}

// retype hands on what was typed while the machine slept, in that order.
func (p *process) retype() {
	if p.w.asleep != nil {
		p.w.after(time.Second, p.retype)
		return
	}
	typed := p.typed
	p.typed = nil
	for _, pause := range typed {
		p.press(pause)
	}
}

// press hands a pause, or its end, to the engine.
func (p *process) press(pause bool) {
	if p.dead {
		return
	}
	select {
	case p.control <- pausing{time.Now(), pause}:
		p.pausedAt = time.Time{}
		if pause {
			p.pausedAt, p.gates.closed = time.Now(), time.Now()
		}
	default:
	}
}

// caseRun is a case in progress.
type caseRun struct {
	t    *testing.T
	s    *spec
	w    *world
	id   identity
	runs []*run
	file func(id string) disk // nil: journals in memory
	last batch.Summary
	made int // runs, those that died before their plan included
}

// maxLife is how long one process may take at most; the judge takes more for a run that does not end.
const maxLife = 8 * time.Hour

// play runs a case in the bubble of the caller, and returns its world: what the judge found is in it.
func play(t *testing.T, s *spec) *world {
	w := newWorld(s.version, s.action, s.seed)
	w.noise, w.mute503, w.unjudged, w.within = s.noise, s.mute503, s.unjudged, s.within
	w.patience.verify, w.patience.silent = s.verifyTimeout, s.ttl+s.pace.LongestDelay+s.verifyTimeout
	c := &caseRun{t: t, s: s, w: w, id: nullIdentity{version: s.version, slow: s.slowCheck}}
	if s.real {
		c.id, w.sign = realIdentity(t, s)
		c.file = realFile(t)
		w.saw("real signatures and files")
	}
	for i := range max(1, s.brokers) {
		w.brokers = append(w.brokers, &broker{w: w, index: i, up: true})
	}
	for _, tr := range s.nodes {
		n := w.addNode(tr, s.seed)
		if s.racks > 0 {
			w.rack[n.name] = fmt.Sprintf("r%d", len(w.nodes)%s.racks)
		}
	}
	began := time.Now()
	for _, l := range s.lives {
		c.live(l)
	}
	if !s.open {
		c.converge(began)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range c.runs {
		if !s.unjudged {
			w.judgeStates(r)
		}
	}
	if s.check != nil {
		s.check(c)
	}
	w.healed = true // what is still to come is over
	for i := range w.brokers {
		w.brokers[i].up = true
	}
	return w
}

// converge heals the world, then resumes and retries once.
func (c *caseRun) converge(began time.Time) {
	c.w.mu.Lock()
	c.w.heal()
	c.w.mu.Unlock()
	<-time.After(6 * time.Minute)
	first := max(0, len(c.runs)-1)
	none := batch.Rules{}
	c.live(life{kind: "resume", rules: &none})
	c.live(life{kind: "retry", states: retryStates("failed", "no-reply", "absent", "unknown"), rules: &none})
	<-time.After(time.Minute)
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if len(c.runs) > 0 {
		c.w.judgeConverged(c.runs, first, began)
	}
}

// live plays one life.
func (c *caseRun) live(l life) {
	<-time.After(l.gap)
	c.w.mu.Lock()
	r, from, err := c.from(&l)
	if err != nil {
		c.w.logf("LIFE    %s: left out, %v", l.kind, err)
		c.w.mu.Unlock()
		return
	}
	c.w.logf("LIFE    %s of run %s", l.kind, r.id)
	c.w.saw("life: " + l.kind)
	if l.kind == "begin" && c.s.policy.Rolling {
		c.w.saw("a rolling window")
	}
	c.w.mu.Unlock()

	p := &process{
		w: c.w, s: c.s, c: c.w.connectLocked(), tape: r.tape, interrupt: make(chan error, 2), control: make(chan pausing, 16),
		rules: c.s.rules, pace: c.s.pace, lagging: r.lagging,
	}
	if l.rules != nil {
		p.rules = *l.rules
	}
	p.pace.Deadline = l.deadline
	p.gates.rng = rand.New(rand.NewPCG(c.s.seed, 5+uint64(len(c.runs))))
	p.c.tape = r.tape
	p.ctx, p.cancel = context.WithCancelCause(c.t.Context())
	defer p.cancel(nil)
	c.w.mu.Lock()
	r.tape.live(p, l.dieAt, l.keep)
	if r.tape.disk != nil {
		r.tape.disk.take()
	}
	c.w.current = p
	c.w.expect(l.events)
	c.w.pass("life")
	c.w.mu.Unlock()
	watch := time.AfterFunc(maxLife, func() {
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		c.w.violated("run %s does not end: %v have passed", r.id, maxLife)
		p.kill()
	})
	s, err := p.drive(c.id, from)
	watch.Stop()
	p.c.closeLocked()
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.current, c.w.waiting = nil, nil
	if r.tape.disk != nil {
		r.tape.disk.drop(p.dead && len(r.tape.lines)%2 == 1)
	}
	c.w.logf("LIFE    is over: %v", err)
	if errors.Is(err, errNotStarted) {
		c.w.saw("no connection at the start")
		if len(r.tape.lines) == 0 {
			c.runs = c.runs[:len(c.runs)-1]
		}
		return
	}
	if !c.s.unjudged {
		c.w.judgeLife(p, s, err)
	}
	c.last = s
}

// from finds the progress that a life begins with.
func (c *caseRun) from(l *life) (*run, batch.Progress, error) {
	var last *run
	var p batch.Progress
	if len(c.runs) > 0 {
		last = c.runs[len(c.runs)-1]
		if l.lag != 0 {
			if n := last.tape.lag(l.lag); n > 0 {
				c.w.logf("copy    the record is one that lacks its last %d lines", n)
				c.w.saw("resumed on a lagging copy")
				c.w.forget(last)
				last.lagging = true
				c.w.mu.Unlock()
				<-time.After(copyWait(c.s))
				c.w.mu.Lock()
			}
		}
		var err error
		p, err = batch.Replay(last.tape.all())
		if errors.Is(err, batch.ErrNoPlan) {
			c.runs = c.runs[:len(c.runs)-1] // nothing was sent: the command is typed again, whichever it was
			return c.from(&life{kind: last.kind, states: last.states})
		}
		if err != nil {
			return nil, p, err
		}
	}
	switch {
	case last == nil || l.kind == "begin":
		var nodes []batch.Node
		for _, n := range c.w.nodes {
			nodes = append(nodes, batch.Node{Identity: n.name, Facts: map[string]string{"rack": c.w.rack[n.name]}, Last: n.traits.last})
		}
		plan, err := batch.NewPlan(nodes, c.s.policy)
		if err != nil {
			return nil, p, err
		}
		return c.newRun(nil, l, plan)
	case l.kind == "resume":
		if p.Open() == 0 && !p.Summary().Ended.IsZero() {
			return nil, p, errors.New("nothing to resume")
		}
		return last, p, nil
	case p.Counts().Of(batch.Accepted) > 0:
		return last, p, nil // what is still to be proved is resumed before anything is retried
	default:
		states := l.states
		for _, open := range []batch.State{batch.NotSent, batch.Unknown} {
			if p.Counts().Of(open) > 0 && !slices.Contains(states, open) {
				states = append(states, open) // left behind, nothing would ever settle them
			}
		}
		if last.lagging {
			p.MarkLagging()
		}
		plan, err := batch.Retry(p, states, c.s.policy, nil)
		if err != nil {
			return nil, p, err
		}
		return c.newRun(last, l, plan)
	}
}

func (c *caseRun) newRun(parent *run, l *life, plan batch.Plan) (*run, batch.Progress, error) {
	c.made++
	r := &run{id: fmt.Sprintf("R%d", c.made), parent: parent, kind: l.kind, states: l.states, proved: map[string]bool{}, based: map[string]bool{}, unasked: map[string]bool{}}
	r.tape = &tape{w: c.w, run: r, slow: c.s.slowDisk}
	header := batch.Header{Run: r.id, Created: time.Now(), Meta: []byte(`{"agent":"choria_provision"}`)}
	if parent != nil {
		header.Parent = parent.id
	}
	from, err := batch.Begin(header, plan)
	if err != nil {
		return nil, from, err
	}
	if c.file != nil {
		r.tape.disk = c.file(r.id)
	}
	c.runs = append(c.runs, r)
	return r, from, nil
}
