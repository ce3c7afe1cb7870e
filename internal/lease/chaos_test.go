package lease

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The world of the locks: several drivers that want one lock, brokers that are slow, cut off, rolled back, or evict, and
// processes that are frozen at any moment. Nodes take what was dated and signed within its time to live. Judged is what
// nodes received.

const (
	chaosDrivers = 4
	chaosTime    = 20 * time.Minute
	longestAct   = 11 * time.Second // a request may arrive so late within its time to live
)

// storm is a store with faults, seen by one driver.
type storm struct {
	*fakeStore
	world *lockWorld
	me    *driver
}

// act is one call to the brokers: the way there, the deed, the way back. Each way may take long or lose the message.
func (s *storm) act(ctx context.Context, do func() error) error {
	s.me.step(ctx)
	if !s.world.way(ctx, s.me.name) {
		return errNoAnswer
	}
	err := do()
	if !s.world.way(ctx, s.me.name) {
		return errNoAnswer
	}
	s.me.step(ctx)
	return err
}

func (s *storm) Status(ctx context.Context) (status Status, err error) {
	err = s.act(ctx, func() error { status, err = s.fakeStore.Status(ctx); return err })
	return status, err
}

func (s *storm) Get(ctx context.Context, key string) (e Entry, err error) {
	err = s.act(ctx, func() error { e, err = s.fakeStore.Get(ctx, key); return err })
	return e, err
}

func (s *storm) Put(ctx context.Context, key string, value []byte, revision uint64) (at uint64, err error) {
	err = s.act(ctx, func() error { at, err = s.fakeStore.Put(ctx, key, value, revision); return err })
	return at, err
}

func (s *storm) Delete(ctx context.Context, key string, revision uint64) error {
	return s.act(ctx, func() error { return s.fakeStore.Delete(ctx, key, revision) })
}

// receipt is a request that a node took.
type receipt struct {
	hold string // the nonce of the hold that it was sent under
	at   time.Time
}

// lockWorld is the truth.
type lockWorld struct {
	store *fakeStore

	mu       sync.Mutex // guards what follows
	rng      *rand.Rand
	received []receipt
	holds    int
	faults   bool
	cut      string // the driver that does not reach the brokers; nodes it does reach
}

func (w *lockWorld) roll(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

// wait lets a time of the world pass.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// way is the way of one message. It reports whether the message arrived.
func (w *lockWorld) way(ctx context.Context, name string) bool {
	wait(ctx, time.Duration(1+w.roll(20))*time.Millisecond)
	if w.faults {
		w.mu.Lock()
		cut := w.cut == name
		w.mu.Unlock()
		if cut {
			wait(ctx, askTimeout)
			return false
		}
		switch w.roll(25) {
		case 0:
			wait(ctx, askTimeout)
			return false
		case 1:
			wait(ctx, time.Duration(w.roll(5000))*time.Millisecond)
		}
	}
	return true
}

// driver is a process. It may be frozen at every step.
type driver struct {
	world *lockWorld
	name  string
}

func (d *driver) step(ctx context.Context) {
	if d.world.faults && d.world.roll(120) == 0 {
		wait(ctx, time.Duration(d.world.roll(120))*time.Second)
	}
}

// live takes the lock, sends under it, gives it back or dies, and begins again.
func (d *driver) live(ctx context.Context) {
	for ctx.Err() == nil {
		l, err := Take(ctx, &storm{d.world.store, d.world, d}, "web", Holder{Run: d.name, Caller: d.name}, requestTTL)
		if err != nil {
			wait(ctx, 5*time.Second)
			continue
		}
		d.world.mu.Lock()
		d.world.holds++
		d.world.mu.Unlock()
		d.hold(ctx, l)
	}
}

func (d *driver) hold(ctx context.Context, l *Lock) {
	keep, stop := context.WithCancel(ctx)
	var renewals sync.WaitGroup
	renewals.Go(func() { l.Keep(keep) })
	defer renewals.Wait()
	defer stop()
	var last time.Time // of a request
	for range 1 + d.world.roll(20) {
		wait(ctx, time.Duration(d.world.roll(8000))*time.Millisecond)
		err := l.May()
		if _, lost := errors.AsType[*lostError](err); lost || ctx.Err() != nil {
			return
		}
		if err != nil {
			continue
		}
		d.step(ctx)
		dated := time.Now()
		d.step(ctx) // the signer is slow
		if l.May() != nil {
			continue
		}
		d.step(ctx)
		last = dated
		d.world.deliver(ctx, l.me.Nonce, dated)
	}
	if d.world.roll(3) == 0 {
		return // it dies, and the lock expires
	}
	wait(ctx, time.Until(last.Add(requestTTL+longestAct+Skew)))
	stop()
	renewals.Wait()
	_ = l.Release(ctx) // it may not arrive
}

// deliver brings a request to a node, at once or late. A node drops what is too old, by a clock that is wrong.
func (w *lockWorld) deliver(ctx context.Context, hold string, dated time.Time) {
	late := time.Duration(w.roll(int(longestAct)))
	wrong := time.Duration(w.roll(int(Skew)))
	time.AfterFunc(late, func() {
		if at := time.Now(); at.Sub(dated) <= requestTTL+wrong && ctx.Err() == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.received = append(w.received, receipt{hold, at})
		}
	})
}

// weather changes the brokers: they are away for a time, go back to an earlier state, or an operator evicts.
func (w *lockWorld) weather(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, time.Duration(20+w.roll(100))*time.Second)
		cut := func(name string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.cut = name
		}
		switch w.roll(5) {
		case 3, 4:
			cut(fmt.Sprint("driver", w.roll(chaosDrivers)))
			wait(ctx, time.Duration(w.roll(150))*time.Second)
			cut("")
		case 0:
			w.store.set(func(s *fakeStore) { s.away = true })
			wait(ctx, time.Duration(w.roll(40))*time.Second)
			w.store.set(func(s *fakeStore) { s.away = false })
		case 1:
			w.store.set(func(s *fakeStore) { s.deaf = true })
			wait(ctx, time.Duration(w.roll(15))*time.Second)
			w.store.set(func(s *fakeStore) { s.deaf = false })
		case 2:
			w.store.mu.Lock()
			_, held := w.store.keys[LockKey("web")]
			w.store.mu.Unlock()
			if held {
				w.store.evict(LockKey("web"))
			}
		}
	}
}

// overlaps returns receipts of one hold between those of another: both sent at overlapping times.
func overlaps(received []receipt) (wrong []string) {
	slices.SortStableFunc(received, func(a, b receipt) int { return a.at.Compare(b.at) })
	ended := map[string]bool{}
	for i, r := range received {
		if ended[r.hold] {
			wrong = append(wrong, fmt.Sprintf("at %s a node took a request of hold %s after one of another", r.at.Format("15:04:05.000"), r.hold))
		}
		if i > 0 && received[i-1].hold != r.hold {
			ended[received[i-1].hold] = true
		}
	}
	return wrong
}

// storms runs the world once.
func storms(t *testing.T, seed uint64, faults bool) (holds, received int) {
	synctest.Test(t, func(t *testing.T) {
		w := &lockWorld{store: newFakeStore(), rng: rand.New(rand.NewPCG(seed, 1)), faults: faults}
		ctx, stop := context.WithTimeout(t.Context(), chaosTime)
		defer stop()
		var wg sync.WaitGroup
		for i := range chaosDrivers {
			wg.Go(func() { (&driver{w, fmt.Sprint("driver", i)}).live(ctx) })
		}
		if faults {
			wg.Go(func() { w.weather(ctx) })
		}
		wg.Wait()
		pass(t, time.Minute) // what is on its way
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, text := range overlaps(w.received) {
			t.Errorf("seed %d: %s", seed, text)
		}
		holds, received = w.holds, len(w.received)
	})
	return holds, received
}

// worldsFlag is how many worlds the locks live in: go test ./internal/lease -run AtOnce -worlds 5000.
var worldsFlag = flag.Uint64("worlds", 0, "how many worlds the locks live in; 0: 150, with the race detector 30")

func worlds() uint64 {
	switch {
	case *worldsFlag > 0:
		return *worldsFlag
	case raceEnabled:
		return 30
	}
	return 150
}

// TestTwoHoldersNeverSendAtOnce is the promise of a lock.
func TestTwoHoldersNeverSendAtOnce(t *testing.T) {
	holds, received := 0, 0
	for seed := range worlds() {
		h, r := storms(t, seed, seed%5 != 0)
		holds, received = holds+h, received+r
	}
	if holds < 5*int(worlds()) || received < 10*int(worlds()) {
		t.Errorf("%d holds and %d requests in %d worlds: too few to show anything", holds, received, worlds())
	}
	t.Logf("%d worlds, %d holds, %d requests", worlds(), holds, received)
}
