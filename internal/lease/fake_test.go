package lease

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

var errNoAnswer = errors.New("no answer in time")

// fakeStore is a bucket in memory, with the faults of real ones. Its clock is that of the test.
type fakeStore struct {
	mu     sync.Mutex // guards what follows
	ttl    time.Duration
	seq    uint64
	keys   map[string]Entry
	away   bool // nothing answers, and nothing is done
	deaf   bool // writes are done and not answered
	denied bool // reads are not allowed
	writes int
}

func newFakeStore() *fakeStore { return &fakeStore{ttl: time.Minute, keys: map[string]Entry{}} }

func (s *fakeStore) set(change func(*fakeStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// expire needs the lock.
func (s *fakeStore) expire() {
	maps.DeleteFunc(s.keys, func(_ string, e Entry) bool { return s.ttl > 0 && time.Since(e.Written) >= s.ttl })
}

func (s *fakeStore) Status(context.Context) (Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return Status{}, errNoAnswer
	}
	return Status{TTL: s.ttl, Replicas: 1, Now: time.Now()}, nil
}

func (s *fakeStore) Get(_ context.Context, key string) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	e, ok := s.keys[key]
	switch {
	case s.away:
		return Entry{}, errNoAnswer
	case s.denied:
		return Entry{}, &DeniedError{Permission: useStreams}
	case !ok:
		return Entry{}, ErrNoKey
	}
	return e, nil
}

func (s *fakeStore) write(key string, e Entry, revision uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if s.away {
		return 0, errNoAnswer
	}
	if s.keys[key].Revision != revision {
		return 0, ErrConflict
	}
	s.writes++
	s.seq++
	e.Revision, e.Written = s.seq, time.Now()
	s.keys[key] = e
	if s.deaf {
		return 0, errNoAnswer
	}
	return s.seq, nil
}

func (s *fakeStore) Put(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return s.write(key, Entry{Value: value}, revision)
}

func (s *fakeStore) Delete(_ context.Context, key string, revision uint64) error {
	_, err := s.write(key, Entry{Deleted: true, Released: true}, revision)
	return err
}

// evict is `choria election evict`.
func (s *fakeStore) evict(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	s.keys[key] = Entry{Deleted: true, Revision: s.seq, Written: time.Now()}
}

func (s *fakeStore) Keys(_ context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	keys := slices.Sorted(maps.Keys(s.keys))
	return slices.DeleteFunc(keys, func(k string) bool { return !strings.HasPrefix(k, prefix) }), nil
}
