package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"fleetctl/batch"
)

const (
	renewEvery = 10 * time.Second
	renewAgain = time.Second // after a renewal without success
	// Skew is how far the clocks of this machine and of a node may differ, and be judged wrong, in the time that a request
	// stays valid.
	Skew = 10 * time.Second
	// reserve is how much longer than a request's time to live a lease must live, for renewals and the failover of a broker.
	reserve  = 25 * time.Second
	valueMax = 700 // bytes of a value; the brokers' bucket takes 1,024 with headers
	keyStart = "fleetctl_"
)

// Lock is a key that we hold, as far as we know. Its methods are safe for concurrent use.
type Lock struct {
	store Store
	name  string // for people
	key   string
	me    Holder
	value []byte
	fence time.Duration // how long after a renewal was sent requests may be sealed
	life  time.Duration // of a value
	blind bool          // our token may not read
	// marked: it was taken in place of one that was given back or evicted.
	marked bool

	mu       sync.Mutex // guards what follows
	revision uint64     // of our last write that was confirmed
	renewed  time.Time  // when that was sent
	expires  time.Time  // of an evicted holder's requests; zero: there was none
	lost     error
}

// LockKey is the key of a lock.
func LockKey(name string) string { return keyStart + name }

// MinFence is the shortest fence of a lock: renewals and the failover of a broker need as long.
const MinFence = reserve - Skew

// Fence is how long after a renewal requests with a time to live may be sealed under a lock that lives so long.
func Fence(life, ttl time.Duration) time.Duration { return life - ttl - Skew }

// Take takes a lock once. ttl is the longest time to live of requests that are sealed under it. The error is a *HeldError
// where another has it, a *ShortError, or one of a Store.
func Take(ctx context.Context, store Store, name string, me Holder, ttl time.Duration) (*Lock, error) {
	status, err := store.Status(ctx)
	if err != nil {
		return nil, err
	}
	if Fence(status.TTL, ttl) < MinFence {
		return nil, &ShortError{TTL: status.TTL, Need: ttl + reserve}
	}
	me.Version, me.Nonce = 1, rand.Text()
	l := &Lock{store: store, name: name, key: LockKey(name), me: me, fence: Fence(status.TTL, ttl), life: status.TTL}
	if l.value, err = encode(me); err != nil {
		return nil, err
	}
	if err := l.take(ctx, status); err != nil {
		return nil, err
	}
	return l, nil
}

// maxTakes bounds how often a key may change under our hands in one try.
const maxTakes = 3

func (l *Lock) take(ctx context.Context, status Status) error {
	var revision uint64
	for range maxTakes {
		sent := time.Now()
		at, err := l.store.Put(ctx, l.key, l.value, revision)
		if err == nil {
			l.confirm(at, sent)
			return l.look(ctx)
		}
		if !errors.Is(err, ErrConflict) && settled(err) {
			return err
		}
		entry, gerr := l.store.Get(ctx, l.key)
		switch {
		case errors.Is(gerr, ErrNoKey):
			revision, l.marked = 0, false
			continue
		case gerr != nil:
			if _, denied := errors.AsType[*DeniedError](gerr); denied {
				return &HeldError{Name: l.name, Hidden: true}
			}
			return gerr
		case !entry.Deleted:
			h := decode(entry.Value)
			if h.Nonce == l.me.Nonce { // the write that had no answer
				l.confirm(entry.Revision, sent)
				return nil
			}
			return &HeldError{Name: l.name, Holder: h, Renewed: max(status.Now.Sub(entry.Written), 0)}
		}
		l.marked = true
		if revision = entry.Revision; !entry.Released {
			// Requests of an evicted holder may act until its lease would have ended.
			left := min(max(l.life-status.Now.Sub(entry.Written), 0), l.life)
			l.expires = time.Now().Add(left)
		}
	}
	return &HeldError{Name: l.name}
}

// settled reports whether an error of a write means that it did not land.
func settled(err error) bool {
	if _, denied := errors.AsType[*DeniedError](err); denied {
		return true
	}
	return errors.Is(err, ErrNoBucket) || errors.Is(err, ErrNoStreams) || errors.Is(err, ErrConflict)
}

// look finds out whether we may read the key.
func (l *Lock) look(ctx context.Context) error {
	_, err := l.store.Get(ctx, l.key)
	if _, denied := errors.AsType[*DeniedError](err); denied {
		l.blind = true
	}
	return nil // the renewals read it again
}

func (l *Lock) confirm(revision uint64, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision, l.renewed = revision, sent
}

// Name is the lock's name.
func (l *Lock) Name() string { return l.name }

// Marked reports that the lock was taken in place of one that was given back or evicted, not of one that had expired.
func (l *Lock) Marked() bool { return l.marked }

// Blind reports that our token may not read who holds the lock: it is renewed without a look.
func (l *Lock) Blind() bool { return l.blind }

// May returns nil while a request may be sealed under the lock. The error is a *StaleError, which may pass, or a *lostError,
// which does not.
func (l *Lock) May() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.lost != nil {
		return l.lost
	}
	if !l.expires.IsZero() {
		if wait := l.expires.Sub(now); wait > 0 {
			return &StaleError{Name: l.name, Wait: wait}
		}
	}
	if old := batch.Longest(l.renewed, now); old > l.fence {
		return &StaleError{Name: l.name, For: old}
	}
	return nil
}

// Locks lists the locks that are held.
func Locks(ctx context.Context, store Store) ([]*HeldError, error) {
	keys, err := store.Keys(ctx, keyStart)
	if err != nil {
		return nil, err
	}
	var held []*HeldError
	for _, key := range keys {
		name, _ := strings.CutPrefix(key, keyStart)
		h, err := HolderOf(ctx, store, name)
		if err != nil {
			return nil, err
		}
		if h != nil {
			held = append(held, h)
		}
	}
	return held, nil
}

// HolderOf returns who holds a lock, nil when it is free. One whose value our token may not read counts as free.
func HolderOf(ctx context.Context, store Store, name string) (*HeldError, error) {
	status, err := store.Status(ctx)
	if err != nil {
		return nil, err
	}
	entry, err := store.Get(ctx, LockKey(name))
	if _, denied := errors.AsType[*DeniedError](err); denied || errors.Is(err, ErrNoKey) || err == nil && entry.Deleted {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &HeldError{Name: name, Holder: decode(entry.Value), Renewed: max(status.Now.Sub(entry.Written), 0)}, nil
}

// Keep renews the lock until ctx ends or it is lost.
func (l *Lock) Keep(ctx context.Context) {
	wait := renewEvery
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = renewAgain
		if l.renew(ctx) {
			wait = renewEvery
		}
		l.mu.Lock()
		lost := l.lost != nil
		l.mu.Unlock()
		if lost {
			return
		}
	}
}

// renew renews once, and reports whether that succeeded.
func (l *Lock) renew(ctx context.Context) bool {
	revision, ok := l.current(ctx)
	if !ok {
		return false
	}
	sent := time.Now()
	at, err := l.store.Put(ctx, l.key, l.value, revision)
	if err != nil { // the next try reads what came of it
		return false
	}
	l.confirm(at, sent)
	return true
}

// current is the revision that a renewal may replace; false: there is none, or it is not known.
func (l *Lock) current(ctx context.Context) (uint64, bool) {
	if l.blind {
		return l.guess()
	}
	entry, err := l.store.Get(ctx, l.key)
	switch {
	case errors.Is(err, ErrNoKey): // it expired, and others may have held it meanwhile
		l.lose(&lostError{Name: l.name, Expired: true})
		return 0, false
	case err != nil:
		return 0, false
	case entry.Deleted:
		l.lose(&lostError{Name: l.name, Evicted: !entry.Released})
		return 0, false
	}
	if h := decode(entry.Value); h.Nonce != l.me.Nonce {
		l.lose(&lostError{Name: l.name, Holder: h})
		return 0, false
	}
	return entry.Revision, true
}

// guess is the revision for a renewal without a look: that of our last write, until that has expired.
func (l *Lock) guess() (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if batch.Longest(l.renewed, time.Now()) > l.life && l.lost == nil {
		l.lost = &lostError{Name: l.name, Expired: true}
	}
	return l.revision, l.lost == nil
}

func (l *Lock) lose(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil {
		l.lost = err
	}
}

// Release gives the lock back. It must not be called while a request that was sealed under it can act. A lock that is lost
// already is left alone, and one whose evicted holder may still act is left to expire: the next holder would not know.
func (l *Lock) Release(ctx context.Context) error {
	l.mu.Lock()
	revision, lost, waits := l.revision, l.lost, time.Now().Before(l.expires)
	l.mu.Unlock()
	if lost != nil || waits {
		return nil
	}
	if !l.blind {
		entry, err := l.store.Get(ctx, l.key)
		if errors.Is(err, ErrNoKey) || err == nil && (entry.Deleted || decode(entry.Value).Nonce != l.me.Nonce) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("give lock %s back: %w", l.name, err)
		}
		revision = entry.Revision
	}
	if err := l.store.Delete(ctx, l.key, revision); err != nil {
		return fmt.Errorf("give lock %s back: %w", l.name, err)
	}
	l.lose(&lostError{Name: l.name})
	return nil
}
