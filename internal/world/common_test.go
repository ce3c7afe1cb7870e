package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/lease"
	product "fleetctl/internal/run"
)

// commonSpec is a case of several operators over one fleet.
type commonSpec struct {
	seed      uint64
	action    string
	brokers   int
	nodes     []traits
	racks     int
	limits    lease.Limits
	bound     bool // the limits are in the ledger, else each run asks for them
	operators [][]errand
	weather   []occasion
	lockWait  product.Wait
	open      bool // without an end in a healed world
	check     func(c *common)
}

// errand is one process of an operator.
type errand struct {
	gap    time.Duration
	kind   string // begin, resume, retry, settle or adopt
	share  bool
	nodes  int // begin: every so manieth node; 1: all
	sizes  batch.Sizes
	rolls  bool
	sleep  time.Duration
	verify time.Duration
	wait   time.Duration // for room below the limits
	locks  []string
	dieAt  int // the record at which it is killed; 0: none
	stopAt int // the record at which it is interrupted
}

// occasion is something that happens at a time.
type occasion struct {
	at   time.Duration
	text string
	do   func(c *common)
}

// errandTime bounds one process.
const errandTime = 2 * time.Hour

// playCommon runs a case in the bubble of the caller.
func playCommon(t *testing.T, s *commonSpec) *world {
	w := newWorld(choria.V1, s.action, s.seed)
	w.within = func(time.Time) bool { return true }
	c := &common{w: w, limits: s.limits, runs: map[string]*sharedRun{}, drivers: map[string]*driver{}}
	w.common, c.elections, c.shared = c, newShelf(w, time.Minute), newShelf(w, 0)
	c.shared.wrote = c.wrote
	for i := range max(1, s.brokers) {
		w.brokers = append(w.brokers, &broker{w: w, index: i, up: true})
	}
	for _, tr := range s.nodes {
		n := w.addNode(tr, s.seed)
		w.rack[n.name] = fmt.Sprintf("r%d", len(w.nodes)%max(1, s.racks))
	}
	for i := range s.operators {
		c.operator(t, s, []string{"ann", "bob", "cleo", "dave"}[i])
	}
	if s.bound {
		c.operators[0].process(t.Context(), func(*driver) {}, func(ctx context.Context, d *driver) error {
			_, err := lease.SetLimits(ctx, desk{c.shared, d}, collective, s.limits)
			return err
		})
		<-time.After(time.Minute)
	}
	for _, o := range s.weather {
		w.after(o.at, func() {
			if !w.healed {
				w.logf("EVENT   %s", o.text)
				w.saw(o.text)
				o.do(c)
			}
		})
	}
	var all sync.WaitGroup
	for i, o := range c.operators {
		all.Go(func() {
			for _, e := range s.operators[i] {
				<-time.After(e.gap)
				o.run(t.Context(), e)
			}
		})
	}
	all.Wait()
	if !s.open {
		c.converge(t.Context())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c.judgeHolders()
	if s.check != nil {
		s.check(c)
	}
	w.healed = true
	for _, b := range w.brokers {
		b.up = true
	}
	return w
}

// run is one process of an operator.
func (o *operator) run(ctx context.Context, e errand) {
	ctx, over := context.WithTimeout(ctx, errandTime)
	defer over()
	late := time.AfterFunc(errandTime, func() {
		o.w.mu.Lock()
		defer o.w.mu.Unlock()
		o.w.violated("a process of %s does not end", o.name)
	})
	defer late.Stop()
	set := func(d *driver) {
		d.dieAt, d.stopAt, d.locks = e.dieAt, e.stopAt, e.locks
		o.w.logf("%-7s LIFE %s", o.name, e.kind)
		o.w.saw("errand: " + e.kind)
	}
	o.process(ctx, set, func(ctx context.Context, d *driver) error {
		records := o.records()
		if e.kind != "begin" && e.kind != "adopt" && len(records) == 0 {
			return nil
		}
		switch e.kind {
		case "begin":
			for i, n := range o.w.nodes {
				if i%max(1, e.nodes) == 0 {
					d.finds = append(d.finds, n.name)
				}
			}
			return d.begin(ctx, o.request(e))
		case "resume":
			return d.resume(ctx, records[len(records)-1])
		case "retry":
			return d.retry(ctx, records[len(records)-1])
		case "settle":
			return d.settle(ctx, records[len(records)-1])
		}
		found, err := lease.FindRuns(ctx, desk{o.w.common.shared, d})
		if err != nil {
			return err
		}
		for _, f := range found {
			if f.Head.Mirrored() && f.Head.Ended.IsZero() && !slices.Contains(records, f.Head.Run) {
				return d.adopt(ctx, f.Head.Run)
			}
		}
		return nil
	})
}

// request is what a new run asks for.
func (o *operator) request(e errand) product.Request {
	r := product.Request{
		Agent: "choria_provision", Action: o.s.action, Inputs: map[string]string{"token": "s3cret"},
		Policy: batch.Policy{Sizes: e.sizes, Rolling: e.rolls},
		Pace:   product.Pace{Sleep: product.Wait{D: e.sleep, Set: true}, ReplyTimeout: product.Wait{D: 12 * time.Second, Set: true}},
		Proof:  product.Proof{Timeout: product.Wait{D: e.verify, Set: true}},
		Guards: product.Guards{Yes: true, InsecureToken: true},
		Shared: product.Shared{Mirror: e.share, Locks: e.locks, BudgetWait: product.Wait{D: e.wait, Set: true}},
	}
	if len(e.locks) > 0 || e.share {
		r.Shared.Wait = o.s.lockWait
	}
	if !o.s.bound {
		r.Shared.MaxDown = o.s.limits
	}
	return r
}

// converge ends all trouble, resumes what is open, and settles every run: then nothing counts.
func (c *common) converge(ctx context.Context) {
	c.w.mu.Lock()
	c.w.heal()
	c.elections.heal()
	c.shared.heal()
	for _, o := range c.operators {
		o.cutOff = false
	}
	for _, n := range c.w.nodes {
		n.begin("by hand, when the world healed", "") // those that were shut down, too
	}
	c.w.mu.Unlock()
	<-time.After(6 * time.Minute)
	none := func(*driver) {}
	for _, o := range c.operators {
		for _, id := range o.records() {
			o.process(ctx, none, func(ctx context.Context, d *driver) error { return d.resume(ctx, id) })
		}
	}
	c.w.mu.Lock()
	for _, n := range c.w.nodes {
		n.begin("by hand, at the end", "")
	}
	c.w.mu.Unlock()
	<-time.After(3 * time.Minute)
	for _, o := range c.operators {
		for _, id := range o.records() {
			o.process(ctx, none, func(ctx context.Context, d *driver) error {
				err := d.settle(ctx, id)
				if errors.Is(err, lease.ErrDamaged) { // the operator has seen that all nodes are up
					return d.forget(ctx, id)
				}
				return err
			})
		}
	}
	<-time.After(time.Minute)
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.judgeFreed()
}

// forget takes each node of a run off the budget by name.
func (d *driver) forget(ctx context.Context, id string) error {
	s, err := d.o.store().Read(id)
	if err != nil {
		return err
	}
	for r := range s.Progress.Results() {
		gone, err := product.Forget(ctx, d.context(), s, []string{r.Identity}, "seen up")
		d.o.w.mu.Lock()
		if len(gone) > 0 {
			d.o.w.saw("forgotten: the shared record is damaged")
		}
		d.o.w.logf("%-7s forgets %s: %q, %v", d.o.name, r.Identity, gone, err)
		d.o.w.mu.Unlock()
	}
	return nil
}

// commonFromSeed makes a case of several operators.
func commonFromSeed(seed uint64) *commonSpec {
	r := rand.New(rand.NewPCG(seed, 60))
	s := &commonSpec{
		seed: seed, brokers: 1 + r.IntN(2), action: pick(r, "restart", "restart", "restart", "restart", "shutdown"), racks: 2 + r.IntN(3), bound: chance(r, 0.5),
		limits: lease.Limits{lease.All: 2 + r.IntN(4)}, lockWait: product.Wait{D: time.Duration(r.IntN(3)) * time.Minute, Set: true},
	}
	if chance(r, 0.6) {
		s.limits["rack"] = 1 + r.IntN(2)
	}
	if chance(r, 0.1) {
		delete(s.limits, lease.All)
		s.limits["rack"] = 1
	}
	for range 6 + r.IntN(9) {
		t := traits{broker: r.IntN(s.brokers), boot: upTo(r, 4*time.Second), refuses: chance(r, 0.05), noReturn: chance(r, 0.08)}
		if chance(r, 0.5) {
			t.supervisor = upTo(r, 4*time.Minute)
		}
		if t.offset = time.Duration(r.IntN(200)-100) * time.Millisecond; chance(r, 0.1) {
			t.offset = time.Duration(r.IntN(20_000)-10_000) * time.Millisecond
		}
		s.nodes = append(s.nodes, t)
	}
	locks := chance(r, 0.3)
	for range 2 + r.IntN(2) {
		var all []errand
		for i := range 1 + r.IntN(5) {
			e := errand{kind: pick(r, "begin", "resume", "resume", "retry", "settle", "adopt", "adopt"), gap: upTo(r, pick(r, 10*time.Second, 2*time.Minute, 8*time.Minute))}
			if i == 0 && !chance(r, 0.15) {
				e.kind = "begin"
			}
			if e.kind == "begin" {
				e.share, e.nodes, e.sleep = chance(r, 0.4), 1+r.IntN(2), pick[time.Duration](r, 0, 1, 3)*time.Second
				e.sizes, e.verify, e.wait = batch.Sizes{batch.Number(1 + r.IntN(4))}, pick[time.Duration](r, 20, 30, 60)*time.Second, pick[time.Duration](r, 30, 120, 600)*time.Second
				if e.rolls = chance(r, 0.4); locks && chance(r, 0.7) {
					e.locks = []string{"web"}
				}
			}
			if chance(r, 0.4) {
				e.dieAt = 1 + r.IntN(pick(r, 6, 30))
			} else if chance(r, 0.15) {
				e.stopAt = 1 + r.IntN(20)
			}
			all = append(all, e)
		}
		s.operators = append(s.operators, all)
	}
	for range r.IntN(10) {
		s.weather = append(s.weather, randomOccasion(r, s))
	}
	return s
}

func randomOccasion(r *rand.Rand, s *commonSpec) occasion {
	o := occasion{at: upTo(r, pick(r, 2*time.Minute, 15*time.Minute)) + time.Minute}
	d, short := upTo(r, pick(r, 20*time.Second, 5*time.Minute)), upTo(r, 40*time.Second)
	which, operator, share := r.IntN(len(s.nodes)), r.IntN(len(s.operators)), 0.1+0.4*r.Float64()
	some := func(do func(n *node)) func(c *common) {
		return func(c *common) {
			for i, n := range c.w.nodes {
				if i == which || n.rng.Float64() < share {
					do(n)
				}
			}
		}
	}
	process := func(do func(d *driver)) func(c *common) {
		return func(c *common) {
			if d := c.operators[operator].d; d != nil {
				do(d)
			}
		}
	}
	shelves := func(on, off func(s *shelf)) func(c *common) {
		return func(c *common) {
			for _, b := range []*shelf{c.elections, c.shared} {
				on(b)
				c.w.after(short, func() { off(b) })
			}
		}
	}
	choices := []occasion{
		{text: "freeze: some nodes", do: some(func(n *node) {
			n.freeze()
			gen := n.gen
			n.w.after(d, func() {
				if n.gen == gen {
					n.thaw()
				}
			})
		})},
		{text: "crash: some nodes", do: some((*node).crash)},
		{text: "restart by hand: some nodes", do: some(func(n *node) { n.byHand(time.Second + d/20) })},
		{text: "silent network: some nodes", do: some(func(n *node) { n.silence(d) })},
		{text: "broker down", do: func(c *common) { c.w.brokers[0].fall(); c.w.after(short, c.w.brokers[0].rise) }},
		{text: "streams: away", do: shelves(func(b *shelf) { b.away = true }, func(b *shelf) { b.away = false })},
		{text: "streams: writes are not answered", do: shelves(func(b *shelf) { b.deaf = true }, func(b *shelf) { b.deaf = false })},
		{text: "streams: no majority", do: shelves(func(b *shelf) { b.stale = true }, func(b *shelf) { b.stale = false })},
		{text: "streams: slow", do: shelves(func(b *shelf) { b.slow = d / 20 }, func(b *shelf) { b.slow = 0 })},
		{text: "streams: rolled back", do: func(c *common) {
			c.shared.rollBack(short)
			c.elections.rollBack(short)
		}},
		{text: "streams: rolled back", do: func(c *common) {
			c.shared.rollBack(short / 4)
			c.elections.rollBack(short / 4)
		}},
		{text: "streams: cut off from one operator", do: func(c *common) {
			o := c.operators[operator]
			o.cutOff = true
			c.w.after(d, func() { o.cutOff = false })
		}},
		{text: "suspended: one operator", do: process(func(d *driver) { d.c.suspend(short * 3) })},
		{text: "kill: one operator", do: process((*driver).kill)},
		{text: "kill: one operator", do: process((*driver).kill)},
		{text: "signal: one operator", do: process((*driver).interrupt)},
		{text: "evicted: the lock", do: func(c *common) { c.elections.evict(lease.LockKey("web")) }},
	}
	c := choices[r.IntN(len(choices))]
	o.text, o.do = c.text, c.do
	return o
}
