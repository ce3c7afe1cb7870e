package lease

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"

	"fleetctl/batch"
)

// A mirror is a copy of a run's record in the bucket Shared. The key of its head (run.ID) shows who drives the run; the record
// is in segments (run.ID.j.N), each written once. A process that drives the run writes the segment behind the last one. So
// when two processes believe that they do, one of them meets a segment of the other, and is lost.

const (
	headStart = "run."
	// beatEvery is how often a driver renews its head, gatherFor how long what is not urgent waits for more.
	beatEvery = 10 * time.Second
	gatherFor = time.Second
	pushAgain = time.Second
	// silentAfter is how long a segment may be without an answer before nothing new is begun, awaitMax how long a batch
	// waits for its intent before it is planned anew.
	silentAfter = 2 * time.Second
	awaitMax    = 5 * time.Second
	// rawMax and packedMax bound a segment of several lines, in bytes; lineMax one of a single line, which brokers must take
	// in one message; unzippedMax is what is read of a segment.
	rawMax      = 4 << 20
	packedMax   = 512 << 10
	lineMax     = 900 << 10
	unzippedMax = 64 << 20
	signMark    = "fleetctl-run:v1:"
)

// MirrorOptions are what a Mirror needs besides its store.
type MirrorOptions struct {
	// Sign signs the text of a segment; what it returns stands in the segment as it is. nil: segments are not signed.
	Sign    func(text []byte) (json.RawMessage, error)
	Timeout time.Duration // how long it may be silent before the run has to stop
	// Asked is called with what operators elsewhere ask of the run. It must not block.
	Asked func(Ask)
}

// Mirror is the shared record of a run that this process drives. A nil Mirror is none: its methods do nothing. Its methods
// are safe for concurrent use, but for Open, Keep and Close, of which one runs at a time.
type Mirror struct {
	store Store
	o     MirrorOptions
	sum   hash.Hash // of what is acknowledged; of the goroutine that pushes
	asks  map[string]uint64

	mu       sync.Mutex // guards what follows
	head     Head
	kept     bool     // the head is ours in the bucket
	pending  []byte   // of the record, not acknowledged
	flight   *segment // on its way
	first    time.Time
	why      error // of the last failed try of the flight
	urgent   bool
	lost     error
	acked    chan struct{} // closed and replaced when something is acknowledged, or lost
	wake     chan struct{}
	changed  chan struct{} // the head has another status
	revision uint64
}

func newMirror(store Store, head Head, o MirrorOptions) *Mirror {
	head.Version, head.Nonce = 1, rand.Text()
	return &Mirror{
		store: store, o: o, head: head, sum: sha256.New(), asks: map[string]uint64{}, acked: make(chan struct{}), wake: make(chan struct{}, 1),
		changed: make(chan struct{}, 1),
	}
}

// Add hands over what the record has grown by: whole lines.
func (m *Mirror) Add(raw []byte) {
	if m == nil || len(raw) == 0 {
		return
	}
	m.mu.Lock()
	m.pending = append(m.pending, raw...)
	m.mu.Unlock()
	m.poke()
}

// Describe changes the head, for its next renewal. Another status is shown at once.
func (m *Mirror) Describe(change func(*Head)) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	status := m.head.Status
	if change(&m.head); m.head.Status == status {
		return
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *Mirror) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Await returns nil when all that was added is acknowledged. The error is a *SilentError, which passes, one that May
// returns, or what ended ctx.
func (m *Mirror) Await(ctx context.Context) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	target := m.head.Bytes + int64(len(m.pending))
	m.urgent = true
	m.mu.Unlock()
	m.poke()
	limit := time.NewTimer(awaitMax)
	defer limit.Stop()
	for {
		m.mu.Lock()
		done, lost, acked := m.head.Bytes >= target, m.lost, m.acked
		m.mu.Unlock()
		switch {
		case lost != nil:
			return lost
		case done:
			return nil
		}
		select {
		case <-acked:
		case <-limit.C:
			m.mu.Lock()
			defer m.mu.Unlock()
			return &SilentError{For: awaitMax, Err: m.why}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// May returns nil while new batches may be begun. The error is a *SilentError that passes, one that does not, or a
// *LostMirrorError.
func (m *Mirror) May() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost != nil || m.first.IsZero() {
		return m.lost
	}
	silent := &SilentError{For: batch.Longest(m.first, time.Now()), Err: m.why}
	switch {
	case silent.For > m.o.Timeout:
		m.lose(errNoMirror{silent})
		return m.lost
	case silent.For > silentAfter:
		return silent
	}
	return nil
}

// lose needs the lock.
func (m *Mirror) lose(err error) {
	if m.lost == nil {
		m.lost = err
		close(m.acked)
		m.acked = make(chan struct{})
	}
}

// Open writes what was added before, and makes the head ours: from then on no other process can add to the record. The
// error is a *LostMirrorError where one did.
func (m *Mirror) Open(ctx context.Context) error {
	if m == nil {
		return nil
	}
	for _, ask := range askKinds { // what is older was asked of an earlier process
		entry, err := m.store.Get(ctx, askKey(m.head.Run, ask))
		if err != nil && !errors.Is(err, ErrNoKey) {
			return err
		}
		m.asks[ask] = entry.Revision
	}
	if err := m.push(ctx); err != nil {
		return err
	}
	return m.beat(ctx)
}

// Keep pushes and renews until ctx ends, or the run is another process's.
func (m *Mirror) Keep(ctx context.Context) {
	if m == nil {
		return
	}
	beat, ask := time.NewTicker(beatEvery), time.NewTicker(askEvery)
	defer beat.Stop()
	defer ask.Stop()
	var due <-chan time.Time // a push that waits
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			m.mu.Lock()
			urgent := m.urgent
			m.mu.Unlock()
			if !urgent {
				if due == nil {
					due = time.After(gatherFor)
				}
				continue
			}
			err = m.push(ctx)
			due = nil
		case <-due:
			due, err = nil, m.push(ctx)
		case <-beat.C:
			err = m.beat(ctx)
		case <-m.changed:
			err = m.beat(ctx)
		case <-ask.C:
			m.listen(ctx)
		}
		if err != nil && due == nil {
			due = time.After(pushAgain)
		}
		m.mu.Lock()
		lost, _ := errors.AsType[*LostMirrorError](m.lost)
		m.mu.Unlock()
		if lost != nil {
			return
		}
	}
}

// push writes all that is pending. An error is a *LostMirrorError, or passes.
func (m *Mirror) push(ctx context.Context) error {
	for {
		s, err := m.next()
		if s == nil || err != nil {
			return err
		}
		if err := m.write(ctx, s); err != nil {
			return err
		}
		m.mu.Lock()
		_, _ = m.sum.Write(m.pending[:s.size]) // never an error
		m.pending = bytes.Clone(m.pending[s.size:])
		m.head.Segments, m.head.Bytes, m.head.Digest = s.n, s.meta.To, s.meta.Digest
		m.flight, m.first, m.why = nil, time.Time{}, nil
		m.urgent = m.urgent && len(m.pending) > 0
		close(m.acked)
		m.acked = make(chan struct{})
		m.mu.Unlock()
	}
}

// next is the segment that is on its way, or the next one; nil when there is nothing to write.
func (m *Mirror) next() (*segment, error) {
	m.mu.Lock()
	flight, pending, head := m.flight, m.pending, m.head
	_, adopted := errors.AsType[*LostMirrorError](m.lost)
	lost := m.lost
	m.mu.Unlock()
	switch {
	case adopted:
		return nil, lost
	case flight != nil || len(pending) == 0:
		return flight, nil
	}
	s, err := pack(head, pending, m.sum, m.o.Sign)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first.IsZero() {
		m.first = time.Now()
	}
	m.flight, m.why = s, err
	return s, err
}

// write writes a segment, once. A try without an answer may have landed.
func (m *Mirror) write(ctx context.Context, s *segment) error {
	key := segmentKey(m.head.Run, s.n)
	_, err := m.store.Put(ctx, key, s.value, 0)
	if err == nil {
		return nil
	}
	entry, gerr := m.store.Get(ctx, key)
	if gerr == nil && bytes.Equal(entry.Value, s.value) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.why = err
	if gerr != nil {
		return err // it did not land, or that is not known
	}
	m.lose(&LostMirrorError{Deleted: entry.Deleted})
	return m.lost
}

// beat renews the head, if it is ours or was taken over.
func (m *Mirror) beat(ctx context.Context) error {
	m.mu.Lock()
	head, kept := m.head, m.kept
	m.mu.Unlock()
	entry, err := m.store.Get(ctx, HeadKey(head.Run))
	switch {
	case errors.Is(err, ErrNoKey) && !kept:
	case errors.Is(err, ErrNoKey):
		err = &LostMirrorError{Deleted: true}
	case err != nil:
		return err
	case kept && entry.Deleted:
		err = &LostMirrorError{Deleted: true}
	case kept && decodeHead(entry.Value).Nonce != head.Nonce:
		err = &LostMirrorError{Head: decodeHead(entry.Value)}
	}
	if lost, ok := errors.AsType[*LostMirrorError](err); ok {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.lose(lost)
		return m.lost
	}
	value, err := json.Marshal(head)
	if err != nil {
		return err
	}
	at, err := m.store.Put(ctx, HeadKey(head.Run), value, entry.Revision)
	if err != nil {
		return err // the next one reads what came of it
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept, m.revision = true, at
	return nil
}

// Close writes the rest of the record and the last head, as far as ctx allows. Keep must have returned.
func (m *Mirror) Close(ctx context.Context) error {
	if m == nil {
		return nil
	}
	for {
		err := m.push(ctx)
		if err == nil {
			err = m.beat(ctx)
		}
		if _, lost := errors.AsType[*LostMirrorError](err); err == nil || lost {
			return err
		}
		select {
		case <-time.After(pushAgain):
		case <-ctx.Done():
			return fmt.Errorf("finish the shared record of run %s: %w", m.head.Run, err)
		}
	}
}
