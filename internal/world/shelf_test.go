package world

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetctl/internal/lease"
)

// askTime is how long a process waits for an answer of the brokers' streams (internal/lease).
const askTime = 5 * time.Second

var errNoAnswer = errors.New("no answer in time")

// shelf is a bucket of the brokers, with the faults of real ones. Its fields are guarded by the world's lock.
type shelf struct {
	w     *world
	life  time.Duration // of a value; 0: it stays
	seq   uint64
	keys  map[string]lease.Entry
	by    map[string]*driver // by value
	past  []snapshot
	away  bool          // nothing answers, and nothing is done
	deaf  bool          // writes are done and not answered
	stale bool          // the brokers have no majority: reads answer, and writes are refused as conflicts
	slow  time.Duration // a message takes so much longer at most
	cut   time.Time     // when a power cut lost writes; zero: none did
	wrote func(key string, e lease.Entry)
}

// snapshot is what a bucket held from a moment on.
type snapshot struct {
	at   time.Time
	seq  uint64
	keys map[string]lease.Entry
}

func newShelf(w *world, life time.Duration) *shelf {
	return &shelf{w: w, life: life, keys: map[string]lease.Entry{}, by: map[string]*driver{}}
}

func (s *shelf) expire() {
	maps.DeleteFunc(s.keys, func(_ string, e lease.Entry) bool { return s.life > 0 && time.Since(e.Written) >= s.life })
}

func (s *shelf) write(key string, e lease.Entry, revision uint64) (uint64, error) {
	s.expire()
	switch {
	case s.away:
		return 0, errNoAnswer
	case s.stale, s.keys[key].Revision != revision:
		return 0, lease.ErrConflict
	}
	s.past = append(s.past, snapshot{time.Now(), s.seq, maps.Clone(s.keys)})
	s.seq++
	e.Revision, e.Written = s.seq, time.Now()
	if s.keys[key] = e; s.wrote != nil {
		s.wrote(key, e)
	}
	if s.deaf {
		return 0, errNoAnswer
	}
	return s.seq, nil
}

// of are the keys that a process holds.
func (s *shelf) of(d *driver) (keys []string) {
	s.expire()
	for key, e := range s.keys {
		if !e.Deleted && s.by[string(e.Value)] == d {
			keys = append(keys, key)
		}
	}
	return slices.Sorted(slices.Values(keys))
}

// rollBack is a power cut of all brokers: writes of so long are lost, and their revisions are used again.
func (s *shelf) rollBack(d time.Duration) {
	since := time.Now().Add(-d)
	for i, p := range s.past {
		if p.at.After(since) {
			s.seq, s.keys, s.past, s.cut = p.seq, p.keys, s.past[:i], time.Now()
			s.w.saw("the brokers lost writes")
			return
		}
	}
}

// evict is `choria election evict`.
func (s *shelf) evict(key string) {
	if e, ok := s.keys[key]; ok && !e.Deleted {
		s.seq++
		s.keys[key] = lease.Entry{Deleted: true, Revision: s.seq, Written: time.Now()}
		s.w.saw("a lock is evicted")
	}
}

func (s *shelf) heal() { s.away, s.deaf, s.stale, s.slow = false, false, false, 0 }

// desk is a shelf as one process reaches it. It is a lease.Store.
type desk struct {
	s *shelf
	d *driver
}

// way is the way of one message. It reports whether the message arrived.
func (v desk) way(ctx context.Context) error {
	v.d.c.untilAwake()
	w := v.s.w
	w.mu.Lock()
	takes := time.Duration(1+v.d.rng.IntN(20)) * time.Millisecond
	if v.s.slow > 0 {
		takes += time.Duration(v.d.rng.Int64N(int64(v.s.slow)))
	}
	dead, lost := v.d.dead, v.d.c.broker == nil || v.d.o.cutOff || v.s.away
	if lost || takes > askTime {
		takes, lost = askTime, true
	}
	w.mu.Unlock()
	if dead {
		return errDead
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-v.d.killed:
		return errDead
	}
	v.d.c.untilAwake()
	if lost {
		return errNoAnswer
	}
	return nil
}

// act is one question: the way there, the deed, the way back.
func (v desk) act(ctx context.Context, do func() error) error {
	if err := v.way(ctx); err != nil {
		return err
	}
	v.s.w.mu.Lock()
	err := do()
	v.s.w.mu.Unlock()
	if lost := v.way(ctx); lost != nil {
		return lost
	}
	return err
}

// Status implements lease.Store.
func (v desk) Status(ctx context.Context) (status lease.Status, err error) {
	err = v.act(ctx, func() error {
		status = lease.Status{TTL: v.s.life, Replicas: 3, Now: time.Now()}
		return nil
	})
	return status, err
}

// Get implements lease.Store.
func (v desk) Get(ctx context.Context, key string) (e lease.Entry, err error) {
	err = v.act(ctx, func() error {
		v.s.expire()
		var ok bool
		if e, ok = v.s.keys[key]; !ok {
			return lease.ErrNoKey
		}
		return nil
	})
	return e, err
}

// Put implements lease.Store.
func (v desk) Put(ctx context.Context, key string, value []byte, revision uint64) (at uint64, err error) {
	value = slices.Clone(value)
	err = v.act(ctx, func() error {
		v.s.by[string(value)] = v.d
		at, err = v.s.write(key, lease.Entry{Value: value}, revision)
		return err
	})
	return at, err
}

// Delete implements lease.Store.
func (v desk) Delete(ctx context.Context, key string, revision uint64) error {
	return v.act(ctx, func() error {
		_, err := v.s.write(key, lease.Entry{Deleted: true, Released: true}, revision)
		return err
	})
}

// Keys implements lease.Store.
func (v desk) Keys(ctx context.Context, prefix string) (keys []string, err error) {
	err = v.act(ctx, func() error {
		v.s.expire()
		keys = slices.DeleteFunc(slices.Sorted(maps.Keys(v.s.keys)), func(k string) bool { return !strings.HasPrefix(k, prefix) })
		return nil
	})
	return keys, err
}
