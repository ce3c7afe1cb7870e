package run

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
)

// bucket is one of the brokers', in memory and in virtual time.
type bucket struct {
	mu   sync.Mutex // guards what follows
	life time.Duration
	seq  uint64
	keys map[string]lease.Entry
	away bool
	none bool // it does not exist
}

func newBucket() *bucket { return &bucket{life: time.Minute, keys: map[string]lease.Entry{}} }

// set changes the bucket.
func (b *bucket) set(change func(*bucket)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *bucket) Status(context.Context) (lease.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.none {
		return lease.Status{}, lease.ErrNoBucket
	}
	if b.away {
		return lease.Status{}, errAway
	}
	return lease.Status{TTL: b.life, Now: time.Now()}, nil
}

// expire needs the lock.
func (b *bucket) expire() {
	maps.DeleteFunc(b.keys, func(_ string, e lease.Entry) bool { return b.life > 0 && time.Since(e.Written) >= b.life })
}

func (b *bucket) Get(_ context.Context, key string) (lease.Entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	e, ok := b.keys[key]
	switch {
	case b.none:
		return e, lease.ErrNoBucket
	case b.away:
		return e, errAway
	case !ok:
		return e, lease.ErrNoKey
	}
	return e, nil
}

func (b *bucket) write(key string, e lease.Entry, revision uint64) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	switch {
	case b.none:
		return 0, lease.ErrNoBucket
	case b.away:
		return 0, errAway
	case b.keys[key].Revision != revision:
		return 0, lease.ErrConflict
	}
	b.seq++
	e.Revision, e.Written = b.seq, time.Now()
	b.keys[key] = e
	return b.seq, nil
}

func (b *bucket) Put(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return b.write(key, lease.Entry{Value: value}, revision)
}

func (b *bucket) Delete(_ context.Context, key string, revision uint64) error {
	_, err := b.write(key, lease.Entry{Deleted: true, Released: true}, revision)
	return err
}

func (b *bucket) Keys(context.Context, string) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.keys)), nil
}

// locked is a restart under a lock.
func locked(names ...string) Request {
	r := restart()
	r.Shared.Locks = names
	return r
}

// heldByBob makes a world in which the lock web is demanded and held.
func heldByBob(w *world) {
	b := newBucket()
	b.seq = 1
	b.keys[lease.LockKey("web")] = lease.Entry{Value: []byte(`{"caller":"choria=bob","nonce":"x"}`), Revision: 1, Written: time.Now()}
	w.bucket, w.settings.Locks = b, []string{"web"}
}

// taken is the lock web, held by bob.
func taken(t *testing.T, b *bucket) *lease.Lock {
	t.Helper()
	l, err := lease.Take(t.Context(), b, "web", lease.Holder{Run: "r9", Caller: "choria=bob"}, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestARunHoldsItsLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1", "n2"), newBucket()
		w.bucket = b
		w.settings.Locks = []string{"site"}
		var held []string
		w.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindSent {
				locks, err := lease.Locks(t.Context(), b)
				if err != nil {
					t.Error(err)
				}
				for _, l := range locks {
					held = append(held, l.Name+" "+l.Holder.Run)
				}
			}
		}
		res, err := w.start(t.Context(), locked("web", "web"))
		if err != nil || res.Summary.Verdict != batch.Done {
			t.Fatal(res.Summary.Verdict, err)
		}
		if want := []string{"site " + res.ID, "web " + res.ID}; !slices.Equal(held, want) {
			t.Errorf("held %q, want %q", held, want)
		}
		taken(t, b) // it is free at once
		if got := w.last().Meta.Locks; !slices.Equal(got, []string{"site", "web"}) {
			t.Errorf("the record has locks %q", got)
		}
	})
}

func TestAHeldLockRefusesARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1"), newBucket()
		w.bucket = b
		taken(t, b)
		for _, dry := range []bool{false, true} {
			r := locked("web", "db")
			r.DryRun = dry
			_, err := w.start(t.Context(), r)
			e, ok := errors.AsType[*GuardError](err)
			if !ok || e.Guard != lockGuard || !strings.Contains(err.Error(), "lock web is held by choria=bob, run r9") {
				t.Errorf("dry run %v: %v", dry, err)
			}
		}
		if got := w.sent(); len(got) != 0 {
			t.Errorf("nodes got %q", got)
		}
		if locks, err := lease.Locks(t.Context(), b); err != nil || len(locks) != 1 {
			t.Errorf("locks that are still held: %v, %v", locks, err)
		}
	})
}

// The lock of a run whose process was killed is still there for a while: a retry reports whose lock it is.
func TestTheLockOfARunThatDiedIsNotAnotherOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1"), newBucket()
		w.bucket, w.nodes["n1"].code, w.nodes["n1"].says = b, 1, "no"
		if _, err := w.start(t.Context(), locked("web")); err != nil {
			t.Fatal(err)
		}
		s := w.last()
		if _, err := lease.Take(t.Context(), b, "web", lease.Holder{Run: s.ID, Caller: "choria=bob"}, 30*time.Second); err != nil {
			t.Fatal(err)
		}
		c, r := w.again(t, Request{}, s)
		_, err := Retry(t.Context(), c, r, s, []batch.State{batch.Refused})
		e, ok := errors.AsType[*GuardError](err)
		if !ok || !strings.Contains(err.Error(), "lock web is still that of run "+s.ID+", whose process has ended") || !strings.Contains(e.Hint, "--lock-wait 2m") {
			t.Errorf("got %v", err)
		}
	})
}

func TestARunWaitsForALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1"), newBucket()
		w.bucket = b
		taken(t, b) // and never renewed
		r := locked("web")
		r.Shared.Wait = Wait{10 * time.Minute, true}
		began := time.Now()
		res, err := w.start(t.Context(), r)
		if err != nil || res.Summary.Verdict != batch.Done {
			t.Fatal(res.Summary.Verdict, err)
		}
		if waited := time.Since(began); waited < time.Minute || waited > 90*time.Second {
			t.Errorf("the run took %s", waited)
		}
	})
}

func TestARefusedPlanGivesItsLockBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1"), newBucket()
		w.bucket = b
		w.asker.away = nil
		w.asker.answers = []string{"n"}
		if _, err := w.start(t.Context(), locked("web")); err == nil {
			t.Fatal("a run that was declined began")
		}
		taken(t, b)
	})
}

func TestARunWithoutItsLockPausesOrStops(t *testing.T) {
	for _, tt := range []struct {
		evicted bool
		away    time.Duration
		says    string // why the run stops; "": it does not
	}{
		{false, 45 * time.Second, ""},
		{false, 8 * time.Minute, "has expired"},
		{true, 0, "eviction"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, b := newWorld(t, "n1", "n2"), newBucket()
			w.bucket = b
			r := slowly(locked("web")) // the second batch is due after five minutes
			const begin = 4*time.Minute + 35*time.Second
			time.AfterFunc(begin, func() {
				b.set(func(b *bucket) {
					if b.away = !tt.evicted; tt.evicted {
						b.seq++
						b.keys[lease.LockKey("web")] = lease.Entry{Deleted: true, Revision: b.seq, Written: time.Now()}
					}
				})
			})
			time.AfterFunc(begin+tt.away, func() { b.set(func(b *bucket) { b.away = false }) })
			res, err := w.start(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			var words []string
			for _, e := range w.events.seen {
				if e, ok := e.(Recorded); ok && (e.Record.Kind == batch.KindPaused || e.Record.Kind == batch.KindContinued) {
					words = append(words, string(e.Record.Kind))
				}
			}
			switch s := res.Summary; {
			case tt.says != "" && (s.Verdict != batch.Stopped || !strings.Contains(s.Reason, tt.says) || len(w.sent()) != 1):
				t.Errorf("%q: %v, %q, nodes got %q", tt.says, s.Verdict, s.Reason, w.sent())
			case tt.says == "" && (s.Verdict != batch.Done || !slices.Equal(words, []string{"paused", "continued"})):
				t.Errorf("without the broker for %s: %v, %q, %q", tt.away, s.Verdict, s.Reason, words)
			}
		})
	}
}

func TestALockIsKeptWhileARequestMayAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1", "n2"), newBucket()
		w.bucket = b
		w.nodes["n2"].silent = true
		began := time.Now()
		ended := time.Time{}
		w.events.hook = func(e Event) {
			if _, ok := e.(Finished); ok {
				ended = time.Now()
			}
		}
		res, err := w.start(t.Context(), locked("web"))
		if err != nil || res.Summary.Verdict != batch.Silent {
			t.Fatal(res.Summary.Verdict, err)
		}
		// 30 s of the request, 11 s of a restart's delay, 10 s for clocks.
		if kept := time.Since(began); kept < 51*time.Second || time.Since(ended) < time.Second {
			t.Errorf("the lock was given back after %s", kept)
		}
		taken(t, b)
	})
}

func TestLocksNeedAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		_, err := w.start(t.Context(), locked("web"))
		if e, ok := errors.AsType[*SharedError](err); !ok || !strings.Contains(e.Error(), "no streams") || e.Hint == "" {
			t.Error("without streams:", err)
		}
		b := newBucket()
		b.life = 40 * time.Second
		w.bucket = b
		if _, err := w.start(t.Context(), locked("web")); !strings.Contains(err.Error(), "keeps a lock for 40s") {
			t.Error("a bucket with a short life:", err)
		}
		w.about.Collective = fleet.ProvisioningCollective
		if _, err := w.start(t.Context(), locked("web")); !strings.Contains(err.Error(), "provisioning account") {
			t.Error("in the provisioning account:", err)
		}
		if len(w.sent()) != 0 {
			t.Error("something was sent")
		}
	})
	r := locked("a b")
	if r.Validate() == nil {
		t.Error("a wrong name is allowed")
	}
	r = locked("web")
	r.Pace.TTL = Wait{time.Minute, true}
	if r.Validate() == nil {
		t.Error("--ttl 60 is allowed with a lock")
	}
}

// The process that drives a detached run holds the lock: the first process has given it back.
func TestADetachedRunHoldsItsLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1"), newBucket()
		w.bucket = b
		r := locked("web")
		r.Detach = true
		var h Handover
		c := w.context()
		c.Detach = func(_ context.Context, given Handover) error { h = given; return nil }
		if _, err := Start(t.Context(), c, r); err != nil {
			t.Fatal(err)
		}
		var held string
		w.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindSent {
				locks, err := lease.Locks(t.Context(), b)
				if err != nil || len(locks) != 1 {
					t.Fatal(locks, err)
				}
				held = locks[0].Holder.Run
			}
		}
		d := w.context()
		d.Ready = func() error { return nil }
		res, err := Drive(t.Context(), d, h)
		if err != nil || res.Summary.Verdict != batch.Done || held != h.ID || held == "" {
			t.Errorf("%v, %v, the lock was held by %q, the run is %q", res.Summary.Verdict, err, held, h.ID)
		}
		taken(t, b)
	})
}
