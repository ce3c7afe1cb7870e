package rpcclient

import (
	"context"
	"errors"
	"sync"
	"time"

	"fleetctl/internal/choria"
)

const (
	// What may wait to be decoded: the replies of 100,000 nodes at once, with as many notices of absence and duplicates.
	// Signed v2 replies of a lab have 1.5 KB (ping), 2.6 KB (daemon_stats) and 3.4 KB (inventory with few facts); there is
	// room for 4 KB each. What is beyond is dropped and counted.
	maxQueued      = 262_144
	maxQueuedBytes = 384 << 20
	// maxUnnamed bounds the messages that are kept only to name their senders.
	maxUnnamed = 1000
)

// errClosed ends waits for a session that was closed.
var errClosed = errors.New("the session is closed")

// inbox is what has arrived and was not handled yet. Its order is that of arrival.
type inbox struct {
	maxMessages, maxBytes int
	wake                  chan struct{} // one token when there may be something to do

	mu      sync.Mutex // guards what follows
	items   []queued
	head    int
	bytes   int
	busy    bool      // a message is being handled
	since   time.Time // when that one arrived
	dropped int
	waiters []waiter
	unnamed []choria.Message // strays without a request, of which only the sender is read, when there is nothing else to do
}

// queued is a message that belongs to a request of ours. It keeps that request: what arrived before it was forgotten is
// still an answer to it.
type queued struct {
	choria.Message
	request *pending // nil for a message of which only the sender is wanted
	id      string   // of the request
	notice  string   // what follows the id in the subject of a notice of absence; "" for a reply
}

// waiter waits until everything that arrived by its moment was handled.
type waiter struct {
	at   time.Time
	done chan struct{}
}

func newInbox() *inbox {
	return &inbox{maxMessages: maxQueued, maxBytes: maxQueuedBytes, wake: make(chan struct{}, 1)}
}

func (b *inbox) add(m queued) {
	b.mu.Lock()
	if len(b.items)-b.head >= b.maxMessages || b.bytes+len(m.Data) > b.maxBytes {
		b.dropped++
		b.mu.Unlock()
		return
	}
	b.items = append(b.items, m)
	b.bytes += len(m.Data)
	b.mu.Unlock()
	b.signal()
}

// addUnnamed keeps a message for its sender's name, and reports whether there was room.
func (b *inbox) addUnnamed(m choria.Message) bool {
	b.mu.Lock()
	room := len(b.unnamed) < maxUnnamed
	if room {
		b.unnamed = append(b.unnamed, m)
	}
	b.mu.Unlock()
	if room {
		b.signal()
	}
	return room
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// next takes the message that has waited longest; finished must be called when it has been handled. It reports false when
// done is closed.
func (b *inbox) next(done <-chan struct{}) (m queued, ok bool) {
	for {
		select {
		case <-done:
			return queued{}, false
		default:
		}
		if m, ok = b.take(); ok {
			return m, true
		}
		select {
		case <-b.wake:
		case <-done:
			return queued{}, false
		}
	}
}

func (b *inbox) take() (m queued, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.head < len(b.items) {
		m = b.items[b.head]
		b.items[b.head] = queued{}
		b.head++
		b.bytes -= len(m.Data)
		b.compact()
		b.busy, b.since = true, m.Arrived
		return m, true
	}
	if n := len(b.unnamed); n > 0 {
		m.Message = b.unnamed[n-1]
		b.unnamed[n-1] = choria.Message{}
		b.unnamed = b.unnamed[:n-1]
		return m, true
	}
	return queued{}, false
}

// compact gives the room of handled messages back.
func (b *inbox) compact() {
	switch {
	case b.head == len(b.items):
		b.items, b.head = b.items[:0], 0
		if cap(b.items) > 4096 {
			b.items = nil
		}
	case b.head > 1024 && b.head > len(b.items)/2:
		n := copy(b.items, b.items[b.head:])
		clear(b.items[n:])
		b.items, b.head = b.items[:n], 0
	}
}

func (b *inbox) finished() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = false
	left := b.waiters[:0]
	for _, w := range b.waiters {
		if b.behind(w.at) {
			left = append(left, w)
		} else {
			close(w.done)
		}
	}
	clear(b.waiters[len(left):])
	b.waiters = left
}

// behind tells whether something that arrived by at is not handled.
func (b *inbox) behind(at time.Time) bool {
	oldest, any := b.oldest()
	return any && !oldest.After(at)
}

func (b *inbox) oldest() (arrived time.Time, any bool) {
	switch {
	case b.busy:
		return b.since, true
	case b.head < len(b.items):
		return b.items[b.head].Arrived, true
	}
	return time.Time{}, false
}

// settled is closed when everything that arrived by at has been handled.
func (b *inbox) settled(at time.Time) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := waiter{at: at, done: make(chan struct{})}
	if b.behind(at) {
		b.waiters = append(b.waiters, w)
	} else {
		close(w.done)
	}
	return w.done
}

// Settle returns when every message that arrived by at has been decoded, checked and put on Replies. at must not lie in
// the future. The reader must keep reading meanwhile, and find the rest in the channel's buffer afterwards. An error: ctx
// ended first, or the session was closed.
func (s *Session) Settle(ctx context.Context, at time.Time) error {
	select {
	case <-s.inbox.settled(at):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.done:
		return errClosed
	}
}

// Behind is how far the session is behind the network: how many messages wait to be decoded and checked, and how long the
// oldest of them has waited.
func (s *Session) Behind() (messages int, oldest time.Duration) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	messages = len(s.inbox.items) - s.inbox.head
	if s.inbox.busy {
		messages++
	}
	if arrived, any := s.inbox.oldest(); any {
		oldest = time.Since(arrived)
	}
	return messages, oldest
}

// Dropped counts the messages that arrived and were never looked at, because more waited than fits: replies may be among
// them. Where the connection counts its own (a method Dropped), those since the session was opened are included, of all
// its subscriptions.
func (s *Session) Dropped() int {
	s.inbox.mu.Lock()
	n := s.inbox.dropped
	s.inbox.mu.Unlock()
	return n + s.client.connDropped() - s.droppedBefore
}

func (c *Client) connDropped() int {
	if conn, ok := c.conn.(interface{ Dropped() int }); ok {
		return conn.Dropped()
	}
	return 0
}
