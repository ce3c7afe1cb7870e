package lease

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const requestTTL = 30 * time.Second

var alice, bob = Holder{Run: "r1", Caller: "choria=alice", Host: "op1", Action: "restart", Since: time.Unix(1e9, 0)}, Holder{Run: "r2", Caller: "choria=bob"}

// pass lets virtual time pass.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal("the test ended")
	}
	synctest.Wait()
}

func mustTake(t *testing.T, s Store, me Holder) *Lock {
	t.Helper()
	l, err := Take(t.Context(), s, "web", me, requestTTL)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// keep renews a lock until the end of the test, and returns a way to freeze the holder.
func keep(t *testing.T, l *Lock) (freeze func()) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Keep(ctx) }()
	end := func() { stop(); <-done }
	t.Cleanup(end)
	return end
}

func TestLockIsHeldByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		l := mustTake(t, s, alice)
		_, err := Take(t.Context(), s, "web", bob, requestTTL)
		held, ok := errors.AsType[*HeldError](err)
		if !ok || held.Holder.Run != "r1" || !strings.Contains(err.Error(), "choria=alice on op1, run r1 (restart)") {
			t.Fatalf("take a held lock: %v", err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l.May() == nil {
			t.Error("a lock that was given back lets requests be sealed")
		}
		if second := mustTake(t, s, bob); second.May() != nil {
			t.Error("a lock that was given back is not free at once:", second.May())
		}
	})
}

func TestFenceEndsBeforeTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		l := mustTake(t, s, alice)
		pass(t, 20*time.Second)
		if err := l.May(); err != nil {
			t.Error("20 s after a renewal:", err)
		}
		pass(t, time.Second)
		if e, ok := errors.AsType[*StaleError](l.May()); !ok || e.For != 21*time.Second {
			t.Error("21 s after a renewal:", l.May())
		}
		pass(t, 38*time.Second)
		if _, err := Take(t.Context(), s, "web", bob, requestTTL); err == nil {
			t.Error("taken 59 s after the last renewal")
		}
		pass(t, time.Second)
		mustTake(t, s, bob)
	})
}

func TestRenewalsKeepTheFenceOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		l := mustTake(t, s, alice)
		keep(t, l)
		for range 60 {
			pass(t, 5*time.Second)
			if err := l.May(); err != nil {
				t.Fatal(err)
			}
		}
		s.set(func(s *fakeStore) { s.away = true })
		pass(t, 25*time.Second)
		if _, ok := errors.AsType[*StaleError](l.May()); !ok {
			t.Fatal("without an answer for 25 s:", l.May())
		}
		s.set(func(s *fakeStore) { s.away = false })
		pass(t, 2*time.Second)
		if err := l.May(); err != nil {
			t.Fatal("the broker answers again:", err)
		}
	})
}

func TestFrozenHolderFindsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		l := mustTake(t, s, alice)
		freeze := keep(t, l)
		freeze()
		pass(t, time.Minute)
		mustTake(t, s, bob)
		keep(t, l)
		if l.May() == nil {
			t.Fatal("the fence is open beside another holder")
		}
		pass(t, 10*time.Second)
		if e, ok := errors.AsType[*lostError](l.May()); !ok || e.Holder.Run != "r2" {
			t.Fatal("after the renewal:", l.May())
		}
	})
}

// Others may have held an expired lock meanwhile, and the work of a holder rests on what it saw before.
func TestExpiredLockIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		l := mustTake(t, s, alice)
		pass(t, 61*time.Second)
		keep(t, l)
		pass(t, 11*time.Second)
		if e, ok := errors.AsType[*lostError](l.May()); !ok || !e.Expired {
			t.Error("after 72 s:", l.May())
		}
		if _, err := s.Get(t.Context(), LockKey("web")); !errors.Is(err, ErrNoKey) {
			t.Error("it was taken again:", err)
		}
	})
}

func TestNonceFindsReusedRevisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		l := mustTake(t, s, alice)
		// A power cut takes the brokers back, and another takes the lock: the revision is the same.
		s.set(func(s *fakeStore) { s.seq, s.keys = 0, map[string]Entry{} })
		second := mustTake(t, s, bob)
		if l.revision != second.revision {
			t.Fatal("the case does not occur")
		}
		keep(t, l)
		pass(t, 11*time.Second)
		if _, ok := errors.AsType[*lostError](l.May()); !ok {
			t.Error("the first holder still holds it:", l.May())
		}
		if h := decode(s.keys[LockKey("web")].Value); h.Run != "r2" {
			t.Error("the lock was overwritten by", h)
		}
	})
}

func TestEvictionEndsAHolderAndHoldsTheNextOneBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		l := mustTake(t, s, alice)
		keep(t, l)
		pass(t, time.Second)
		s.evict(LockKey("web"))
		pass(t, 5*time.Second)
		second := mustTake(t, s, bob)
		keep(t, second)
		pass(t, 5*time.Second)
		if e, ok := errors.AsType[*lostError](l.May()); !ok || e.Holder.Run != "r2" {
			t.Error("the evicted holder:", l.May())
		}
		if e, ok := errors.AsType[*StaleError](second.May()); !ok || e.Wait != 50*time.Second {
			t.Error("the next one may send at once:", second.May())
		}
		pass(t, 51*time.Second)
		if err := second.May(); err != nil {
			t.Error("a minute after the eviction:", err)
		}
	})
}

// A run that is declined while the requests of an evicted holder may act must not make the lock look free.
func TestALockThatStillWaitsIsNotGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		mustTake(t, s, alice)
		s.evict(LockKey("web"))
		pass(t, time.Second)
		if err := mustTake(t, s, bob).Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := Take(t.Context(), s, "web", alice, requestTTL); err == nil {
			t.Error("the lock is free 1 s after an eviction")
		}
		pass(t, time.Minute)
		if err := mustTake(t, s, alice).May(); err != nil {
			t.Error("a minute later:", err)
		}
	})
}

func TestWriteWithoutAnAnswerIsOursOnceItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.set(func(s *fakeStore) { s.deaf = true })
		l := mustTake(t, s, alice)
		keep(t, l)
		pass(t, 15*time.Second)
		s.set(func(s *fakeStore) { s.deaf = false })
		pass(t, 10*time.Second)
		if err := l.May(); err != nil {
			t.Error(err)
		}
	})
}

func TestTokenThatCannotReadStillHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.set(func(s *fakeStore) { s.denied = true })
		l := mustTake(t, s, alice)
		if !l.Blind() {
			t.Fatal("the lock was read")
		}
		keep(t, l)
		if _, err := Take(t.Context(), s, "web", bob, requestTTL); err == nil || !strings.Contains(err.Error(), "streams_user") {
			t.Error("take a held lock without reading:", err)
		}
		pass(t, 2*time.Minute)
		if err := l.May(); err != nil {
			t.Error(err)
		}
		s.evict(LockKey("web"))
		pass(t, 25*time.Second)
		if l.May() == nil {
			t.Error("after an eviction requests are sealed")
		}
	})
}

func TestBucketWithAShortLifeIsRefused(t *testing.T) {
	s := newFakeStore()
	s.ttl = 54 * time.Second
	if _, ok := errors.AsType[*ShortError](second(Take(t.Context(), s, "web", alice, requestTTL))); !ok || s.writes != 0 {
		t.Error("a lock was taken in a bucket whose values live for 54 s")
	}
}

func second[A, B any](_ A, b B) B { return b }

func TestHolderFits(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, h := range []Holder{alice, {Caller: "c", Host: long, Action: long}, {Caller: long, Nonce: long[:26]}} {
		value, err := encode(h)
		if err != nil || len(value) > valueMax {
			t.Errorf("%d bytes, %v", len(value), err)
		}
	}
	if got := decode([]byte("srv1.example.net")); got.Caller != "srv1.example.net" || got.Nonce != "" {
		t.Errorf("a leader of Choria's is %+v", got)
	}
	for name, ok := range map[string]bool{"web": true, "a_b-C9": true, "": false, "a.b": false, "a b": false, strings.Repeat("x", 65): false, "*": false} {
		if (CheckName(name) == nil) != ok {
			t.Errorf("CheckName(%q) = %v", name, CheckName(name))
		}
	}
}
