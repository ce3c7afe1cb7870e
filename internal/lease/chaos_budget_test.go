package lease

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The world of the budgets: several operators, each with a run that dies and is resumed, or is settled while it is dead, over
// the same nodes, with the brokers and processes of the world of the locks. Judged is which nodes are down because of a
// request that they received.

const (
	budgetDown  = 5 // of all nodes
	budgetRacks = 6
	budgetNodes = 24
	// strange is how long after the brokers have lost writes the truth may exceed the budget: a run that begins in that time
	// cannot know of the loss, and its nodes are down for a while.
	strange = 5 * time.Minute
)

var budgetLimits = Limits{All: budgetDown, "rack": 1}

// budgetWorld is the truth.
type budgetWorld struct {
	*lockWorld

	truth    sync.Mutex      // guards what follows
	open     map[string]bool // "run node": a request may act or has acted, and the node is not up again
	down     map[string]bool // it has acted
	wrong    []string
	lost     time.Time // when the brokers lost writes
	admitted int
	full     int
	settled  int
}

func (w *budgetWorld) know(do func()) {
	w.truth.Lock()
	defer w.truth.Unlock()
	do()
}

func (w *budgetWorld) over(run, node string) (over bool) {
	w.know(func() { over = !w.open[run+" "+node] })
	return over
}

// receive brings a request to a node, which acts after a while, is down for a while, or never gets it.
func (w *budgetWorld) receive(run, node string) {
	key := run + " " + node
	w.know(func() { w.open[key] = true })
	late, gone := time.Duration(w.roll(int(longestAct))), time.Duration(5+w.roll(60))*time.Second
	if w.roll(10) == 0 {
		time.AfterFunc(late, func() { w.know(func() { delete(w.open, key) }) })
		return
	}
	time.AfterFunc(late, func() {
		w.know(func() { w.down[key] = true; w.judge() })
		time.AfterFunc(gone, func() { w.know(func() { delete(w.down, key); delete(w.open, key) }) })
	})
}

// judge needs the truth's lock.
func (w *budgetWorld) judge() {
	racks := map[string]int{}
	for key := range w.down {
		var run, node string
		_, _ = fmt.Sscan(key, &run, &node)
		racks[rackOf(node, "rack")]++
	}
	excused := !w.lost.IsZero() && time.Since(w.lost) < strange
	for rack, n := range racks {
		if n > budgetLimits["rack"] && !excused {
			w.wrong = append(w.wrong, fmt.Sprintf("%d of rack %s are down: %v", n, rack, slices.Sorted(maps.Keys(w.down))))
		}
	}
	if len(w.down) > budgetDown && !excused {
		w.wrong = append(w.wrong, fmt.Sprintf("%d are down", len(w.down)))
	}
}

// operator is a run with its record, which outlives its process.
type operator struct {
	*driver
	w      *budgetWorld
	record map[string]bool // nodes with an intent that are not proved
}

func (o *operator) store() Store { return &storm{o.w.store, o.w.lockWorld, o.driver} }

// live is one process after another.
func (o *operator) live(ctx context.Context) {
	for ctx.Err() == nil {
		o.drive(ctx)
		wait(ctx, time.Duration(o.w.roll(60))*time.Second)
		if o.w.roll(2) == 0 {
			o.settle(ctx)
		}
	}
}

// settle is another operator who looks at the nodes of the dead run.
func (o *operator) settle(ctx context.Context) {
	down := slices.Sorted(maps.Keys(o.record))
	up := slices.DeleteFunc(slices.Clone(down), func(n string) bool { return !o.w.over(o.name, n) })
	was, err := ReadLedger(ctx, o.store(), "c")
	if err != nil {
		return
	}
	if _, _, err := Settle(ctx, o.store(), "c", o.name, was.Runs[o.name], down, up, []string{"rack"}, rackOf); err == nil {
		o.w.know(func() { o.w.settled += len(up) })
	}
}

// prove takes nodes that are up out of the record, and off the budget.
func (o *operator) prove(ctx context.Context, a *Account) {
	for _, n := range slices.Sorted(maps.Keys(o.record)) {
		if o.w.over(o.name, n) {
			o.step(ctx)
			delete(o.record, n)
			a.Leave(n)
		}
	}
}

func (o *operator) batch() (nodes []string) {
	for range 1 + o.w.roll(3) {
		n := fmt.Sprintf("%c%d", 'a'+o.w.roll(budgetRacks), o.w.roll(budgetNodes/budgetRacks))
		if !o.record[n] && !slices.ContainsFunc(nodes, func(other string) bool { return other[0] == n[0] }) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// drive is one process of the run.
func (o *operator) drive(ctx context.Context) {
	a, err := OpenAccount(ctx, o.store(), Budget{Collective: "c", Run: o.name, Party: Party{Caller: o.name}, Limits: budgetLimits, Facts: []string{"rack"}, Values: rackOf,
		Down: slices.Sorted(maps.Keys(o.record))})
	if err != nil {
		return
	}
	alive, die := context.WithCancel(ctx)
	var keep sync.WaitGroup
	keep.Go(func() { a.Keep(alive) })
	defer keep.Wait()
	defer die()
	for range 1 + o.w.roll(25) {
		o.prove(ctx, a)
		nodes := o.batch()
		if len(nodes) == 0 {
			continue
		}
		if err := a.Admit(ctx, nodes); err != nil {
			if _, full := errors.AsType[*fullError](err); full {
				o.w.know(func() { o.w.full++ })
			}
			wait(ctx, time.Duration(o.w.roll(3000))*time.Millisecond)
			continue
		}
		o.w.know(func() { o.w.admitted++ })
		o.step(ctx)
		switch o.w.roll(12) {
		case 0: // the batch is not sent for now
			a.Leave(nodes...)
			continue
		case 1: // it dies before the intent
			return
		}
		for _, n := range nodes {
			o.record[n] = true
		}
		o.step(ctx)
		for _, n := range nodes {
			o.w.receive(o.name, n)
		}
		wait(ctx, time.Duration(o.w.roll(8000))*time.Millisecond)
	}
	if o.w.roll(2) == 0 {
		return // it dies
	}
	for range 90 {
		wait(ctx, time.Second)
		o.prove(ctx, a)
	}
	die()
	keep.Wait()
	_ = a.Close(ctx, slices.Sorted(maps.Keys(o.record))) // it may not arrive
}

// cuts are power cuts of all brokers, which lose the last writes.
func (w *budgetWorld) cuts(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, time.Duration(6*60+w.roll(120))*time.Second)
		w.store.mu.Lock()
		keys, seq := maps.Clone(w.store.keys), w.store.seq
		w.store.mu.Unlock()
		wait(ctx, time.Duration(1+w.roll(29))*time.Second)
		w.know(func() { w.lost = time.Now() })
		w.store.set(func(s *fakeStore) { s.keys, s.seq = keys, seq })
	}
}

func budgetStorms(t *testing.T, seed uint64, faults, rollbacks bool) *budgetWorld {
	var w *budgetWorld
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		store.ttl = 0
		w = &budgetWorld{lockWorld: &lockWorld{store: store, rng: rand.New(rand.NewPCG(seed, 2)), faults: faults}, open: map[string]bool{}, down: map[string]bool{}}
		ctx, stop := context.WithTimeout(t.Context(), chaosTime)
		defer stop()
		var wg sync.WaitGroup
		for i := range chaosDrivers {
			wg.Go(func() {
				(&operator{&driver{w.lockWorld, fmt.Sprint("driver", i)}, w, map[string]bool{}}).live(ctx)
			})
		}
		if faults {
			wg.Go(func() { w.weather(ctx) })
		}
		if rollbacks {
			wg.Go(func() { w.cuts(ctx) })
		}
		wg.Wait()
		pass(t, 2*time.Minute) // what is on its way
		for _, text := range w.wrong {
			t.Errorf("seed %d: %s", seed, text)
		}
	})
	return w
}

// TestNodesDownNeverExceedTheBudget is the promise of a budget.
func TestNodesDownNeverExceedTheBudget(t *testing.T) {
	admitted, full, settled := 0, 0, 0
	for seed := range worlds() {
		w := budgetStorms(t, seed, seed%5 != 0, seed%3 == 2)
		admitted, full, settled = admitted+w.admitted, full+w.full, settled+w.settled
	}
	if n := int(worlds()); admitted < 50*n || full < 10*n || settled < n/4 {
		t.Errorf("%d admissions, %d times no room, %d nodes settled in %d worlds: too few to show anything", admitted, full, settled, n)
	}
	t.Logf("%d worlds, %d admissions, %d times no room, %d nodes settled", worlds(), admitted, full, settled)
}
