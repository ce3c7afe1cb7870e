package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The world of adoptions: several operators that want to drive one run, over the faults of the world of locks. Every driver
// does what internal/run does: it takes the lock of the run, reads the record, waits until nothing of the driver before can
// act, adds itself, and sends to nodes that the record has no intent for, each intent first in the record. It is frozen,
// cut off, or dies at any step. Judged is what nodes received.

const chaosNodes = 12

// delivery is a request that a node took.
type delivery struct {
	node, hold string
	at         time.Time
}

// runWorld is the truth.
type runWorld struct {
	lockWorld
	shared    *fakeStore
	took      []delivery // guarded by lockWorld.mu, as adoptions
	adoptions int
}

// rule is one operator's machine.
type rule struct {
	*driver
	world *runWorld
}

func (d *rule) live(ctx context.Context) {
	shared := &storm{d.world.shared, &d.world.lockWorld, d.driver}
	for ctx.Err() == nil {
		l, err := Take(ctx, &storm{d.world.store, &d.world.lockWorld, d.driver}, "web", Holder{Run: "r1", Caller: d.name}, requestTTL)
		if err != nil {
			wait(ctx, 5*time.Second)
			continue
		}
		keep, stop := context.WithCancel(ctx)
		var renewals sync.WaitGroup
		renewals.Go(func() { l.Keep(keep) })
		over := d.drive(ctx, l, shared)
		stop()
		renewals.Wait()
		if over {
			return
		}
	}
}

// drive continues the run under its lock, and reports whether it is finished.
func (d *rule) drive(ctx context.Context, l *Lock, shared Store) bool {
	end, text, err := d.read(ctx, shared)
	if err != nil {
		return false
	}
	done := strings.Count(text, "intent ")
	if done == chaosNodes {
		return true
	}
	var m *Mirror
	o := MirrorOptions{Timeout: time.Minute}
	head := Head{Run: "r1", Caller: d.name}
	if end == nil {
		if m, err = Claim(ctx, shared, head, o); err != nil {
			return false
		}
	} else {
		m = Continue(shared, head, end, o)
	}
	m.Add(fmt.Appendf(nil, "own %s\n", d.name))
	if m.Open(ctx) != nil {
		return false
	}
	d.world.mu.Lock()
	d.world.adoptions++
	d.world.mu.Unlock()
	keep, stop := context.WithCancel(ctx)
	var writes sync.WaitGroup
	writes.Go(func() { m.Keep(keep) })
	defer writes.Wait()
	defer stop()
	wait(ctx, outlasting(l))
	for node := done; node < chaosNodes; {
		if d.world.roll(chaosNodes) == 0 && d.world.faults {
			return false // it dies; its lock expires
		}
		err := errors.Join(l.May(), m.May())
		if err != nil && !Unconfirmed(l.May()) && l.May() != nil || m.May() != nil && !Unconfirmed(m.May()) || ctx.Err() != nil {
			return false
		}
		if err != nil {
			wait(ctx, time.Second)
			continue
		}
		m.Add(fmt.Appendf(nil, "intent %d\n", node))
		node++ // what is in the record is never sent again, whether it left or not
		if m.Await(ctx) != nil {
			continue
		}
		d.step(ctx)
		dated := time.Now()
		d.step(ctx) // the signer is slow
		if l.May() != nil || m.May() != nil {
			continue
		}
		d.step(ctx)
		d.world.take(ctx, fmt.Sprint(node-1), l.me.Nonce, dated)
		wait(ctx, time.Duration(d.world.roll(4000))*time.Millisecond)
	}
	return m.Await(ctx) == nil
}

// outlasting is how long an adopter waits, as internal/run does.
func outlasting(l *Lock) time.Duration {
	if l.Marked() {
		return 2*Skew + requestTTL + longestAct
	}
	return longestAct
}

// read reads the record; nil for none.
func (d *rule) read(ctx context.Context, shared Store) (*Reader, string, error) {
	if _, err := FindRun(ctx, shared, "r1"); errors.Is(err, ErrNoKey) {
		return nil, "", nil
	} else if err != nil {
		return nil, "", err
	}
	end, text := NewReader(shared, "r1"), ""
	for {
		part, err := end.Next(ctx)
		if errors.Is(err, ErrNoKey) {
			return end, text, nil
		}
		if err != nil {
			return nil, "", err
		}
		text += string(part.Data)
	}
}

// take brings a request to a node, at once or late. A node drops what is too old, by a clock that is wrong.
func (w *runWorld) take(ctx context.Context, node, hold string, dated time.Time) {
	late, wrong := time.Duration(w.roll(int(longestAct))), time.Duration(w.roll(int(Skew)))
	time.AfterFunc(late, func() {
		if at := time.Now(); at.Sub(dated) <= requestTTL+wrong && ctx.Err() == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.took = append(w.took, delivery{node, hold, at})
			w.received = append(w.received, receipt{hold, at})
		}
	})
}

// cloud gives the shared bucket its own faults.
func (w *runWorld) cloud(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, time.Duration(20+w.roll(100))*time.Second)
		away := w.roll(2) == 0
		w.shared.set(func(s *fakeStore) { s.away, s.deaf = away, !away })
		wait(ctx, time.Duration(w.roll(30))*time.Second)
		w.shared.set(func(s *fakeStore) { s.away, s.deaf = false, false })
	}
}

// adopted runs the world once.
func adopted(t *testing.T, seed uint64, faults bool) (adoptions, took int) {
	synctest.Test(t, func(t *testing.T) {
		w := &runWorld{lockWorld: lockWorld{store: newFakeStore(), rng: rand.New(rand.NewPCG(seed, 2)), faults: faults}, shared: newFakeStore()}
		w.shared.ttl = 0
		ctx, stop := context.WithTimeout(t.Context(), 2*chaosTime)
		defer stop()
		sky, clear := context.WithCancel(ctx)
		defer clear()
		var wg, weather sync.WaitGroup
		for i := range chaosDrivers {
			wg.Go(func() { (&rule{&driver{&w.lockWorld, fmt.Sprint("driver", i)}, w}).live(ctx) })
		}
		if faults {
			weather.Go(func() { w.weather(sky) })
			weather.Go(func() { w.cloud(sky) })
		}
		wg.Wait()
		clear()
		weather.Wait()
		pass(t, time.Minute) // what is on its way
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, text := range overlaps(w.received) {
			t.Errorf("seed %d: %s", seed, text)
		}
		count := map[string]int{}
		for _, d := range w.took {
			if count[d.node]++; count[d.node] > 1 {
				t.Errorf("seed %d: node %s took a second request, at %s", seed, d.node, d.at.Format("15:04:05.000"))
			}
		}
		if !faults && len(count) != chaosNodes {
			t.Errorf("seed %d: %d nodes of %d were sent to without any fault", seed, len(count), chaosNodes)
		}
		adoptions, took = w.adoptions, len(w.took)
	})
	return adoptions, took
}

// TestAnAdoptionNeverSendsTwice is the promise of a shared run: two drivers never send at overlapping times, and no node gets
// a second request.
func TestAnAdoptionNeverSendsTwice(t *testing.T) {
	adoptions, took := 0, 0
	for seed := range worlds() {
		a, n := adopted(t, seed, seed%5 != 0)
		adoptions, took = adoptions+a, took+n
	}
	if adoptions < 2*int(worlds()) || took < 4*int(worlds()) {
		t.Errorf("%d drivers and %d requests in %d worlds: too few to show anything", adoptions, took, worlds())
	}
	t.Logf("%d worlds, %d drivers, %d requests", worlds(), adoptions, took)
}
