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
	// maxGroup is how many messages are decoded and checked together at most, where that costs less than one by one.
	maxGroup = 256
)

// errClosed ends waits for a session that was closed.
var errClosed = errors.New("the session is closed")

// inbox is what has arrived and was not handled yet. Its order is that of arrival. Workers take groups out of it; what
// they make of them is delivered in the same order.
type inbox struct {
	maxMessages, maxBytes int
	workers, largest      int           // how many take groups, and how large those are at most
	wake                  chan struct{} // one token when there may be something to do
	progress              chan struct{} // one token when something was handled
	turns                 *sync.Cond    // of mu: the next group may be delivered

	mu      sync.Mutex // guards what follows
	items   []queued
	head    int
	bytes   int
	taken   []group // being handled, the one that was taken first at first
	tickets int     // of all groups
	dropped int
	waiters []waiter
	unnamed []choria.Message // strays without a request, of which only the sender is read, when there is nothing else to do
}

// queued is a message that belongs to a request of ours. It keeps that request: what arrived before it was forgotten is
// still an answer to it.
type queued struct {
	choria.Message
	request *pending // nil for a message of which only the sender is wanted
	notice  string   // what follows the id in the subject of a notice of absence; "" for a reply
}

// group are messages that one worker handles.
type group struct {
	ticket, size int
	since        time.Time // when its first message arrived
}

// waiter waits until everything that arrived by its moment was handled.
type waiter struct {
	at   time.Time
	done chan struct{}
}

func newInbox(workers, largest int) *inbox {
	b := &inbox{maxMessages: maxQueued, maxBytes: maxQueuedBytes, workers: workers, largest: largest, wake: make(chan struct{}, 1), progress: make(chan struct{}, 1)}
	b.turns = sync.NewCond(&b.mu)
	return b
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

// next takes the messages that have waited longest, into a slice that may be used again: a group, or one of which only the
// sender is wanted, and then ticket is 0. finished must be called when a group has been handled. It reports false when done
// is closed.
func (b *inbox) next(into []queued, done <-chan struct{}) (messages []queued, ticket int, ok bool) {
	for {
		select {
		case <-done:
			return nil, 0, false
		default:
		}
		if messages, ticket = b.take(into[:0]); len(messages) > 0 {
			return messages, ticket, true
		}
		select {
		case <-b.wake:
		case <-done:
			return nil, 0, false
		}
	}
}

func (b *inbox) take(into []queued) (messages []queued, ticket int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if waiting := len(b.items) - b.head; waiting > 0 {
		n := min(b.largest, (waiting+b.workers-1)/b.workers)
		into = append(into, b.items[b.head:b.head+n]...)
		clear(b.items[b.head : b.head+n])
		b.head += n
		for _, m := range into {
			b.bytes -= len(m.Data)
		}
		b.compact()
		b.tickets++
		b.taken = append(b.taken, group{b.tickets, n, into[0].Arrived})
		if n < waiting {
			b.signal() // for another worker
		}
		return into, b.tickets
	}
	if n := len(b.unnamed); n > 0 {
		into = append(into, queued{Message: b.unnamed[n-1]})
		b.unnamed[n-1] = choria.Message{}
		b.unnamed = b.unnamed[:n-1]
		if n > 1 {
			b.signal()
		}
	}
	return into, 0
}

// await returns when all groups that were taken before are finished.
func (b *inbox) await(ticket int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.taken[0].ticket != ticket {
		b.turns.Wait()
	}
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

// finished records that the oldest group has been handled.
func (b *inbox) finished() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = b.taken[:copy(b.taken, b.taken[1:])]
	b.turns.Broadcast()
	select {
	case b.progress <- struct{}{}:
	default:
	}
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

// behind reports whether something that arrived by at is not handled.
func (b *inbox) behind(at time.Time) bool {
	oldest, any := b.oldest()
	return any && !oldest.After(at)
}

func (b *inbox) oldest() (arrived time.Time, any bool) {
	switch {
	case len(b.taken) > 0:
		return b.taken[0].since, true
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

// isSettled reports that everything that arrived by at has been handled.
func (b *inbox) isSettled(at time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.behind(at)
}

// Settle returns when every message that arrived by at has been decoded, checked and put on Replies, and, where the
// connection can catch up (a method CatchUp), all that the broker has sent to us by now. at must not lie in the future. The
// reader must keep reading meanwhile, and find the rest in the channel's buffer afterwards. An error: ctx ended first, or
// the session was closed.
func (s *Session) Settle(ctx context.Context, at time.Time) error {
	if now, ok := s.catchUp(ctx); ok {
		at = now
	}
	select {
	case <-s.inbox.settled(at):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.done:
		return errClosed
	}
}

// catchUp reads everything that the broker has sent to us, and returns until when. False: the connection cannot.
func (s *Session) catchUp(ctx context.Context) (until time.Time, ok bool) {
	conn, ok := s.client.conn.(interface {
		CatchUp(ctx context.Context) error
	})
	if !ok {
		return time.Time{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	ok = conn.CatchUp(ctx) == nil
	return time.Now(), ok
}

// Behind is how far the session is behind the network: how many messages wait to be decoded and checked, and how long the
// oldest of them has waited.
func (s *Session) Behind() (messages int, oldest time.Duration) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	messages = len(s.inbox.items) - s.inbox.head
	for _, g := range s.inbox.taken {
		messages += g.size
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
