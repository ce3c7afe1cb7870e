package bus

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// longestRest is how long a message may wait unread on an unhurried connection. A process that wakes up for each of a thousand
// messages, while nodes restart one by one, spends more on waking up than on reading.
const longestRest = 50 * time.Millisecond

// hurry knows whether a connection, and those that replace it, may rest before it reads.
type hurry struct {
	unhurried atomic.Int32  // callers of Unhurried
	awaited   atomic.Int32  // callers that wait for the broker
	wake      chan struct{} // holds a token when a rest may have to end
	rest      time.Duration // longestRest, longer in tests
}

func newHurry() *hurry { return &hurry{wake: make(chan struct{}, 1), rest: longestRest} }

// await ends a rest, and allows none before the function is called.
func (h *hurry) await() (over func()) {
	h.awaited.Add(1)
	h.look()
	return func() { h.awaited.Add(-1) }
}

func (h *hurry) look() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hurry) mayRest() bool { return h.unhurried.Load() > 0 && h.awaited.Load() == 0 }

// Unhurried lets messages wait unread for up to 50 ms, so that those that come one by one are read together, until end is
// called. They count as arrived when they are read. Where much arrives at once, or a caller waits for the broker (Flush,
// Subscribe, Request, CatchUp), they are read at once. End may be called twice.
func (c *Conn) Unhurried() (end func()) {
	c.hurry.unhurried.Add(1)
	return sync.OnceFunc(func() {
		c.hurry.unhurried.Add(-1)
		c.hurry.look()
	})
}

// restingConn is a connection below TLS that rests between reads where it may.
type restingConn struct {
	net.Conn
	hurry  *hurry
	closed atomic.Bool

	// Of the one reader:
	buffer []byte // nil before the first rest
	unread []byte // the part of it that has not been handed over
	last   time.Time
	more   bool // the last read filled the buffer
}

// Read implements net.Conn.
func (c *restingConn) Read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		if !c.hurry.mayRest() {
			return c.Conn.Read(p)
		}
		if c.buffer == nil {
			c.buffer = make([]byte, 32<<10)
		}
		if !c.more {
			c.rest()
		}
		n, err := c.Conn.Read(c.buffer)
		c.last, c.more, c.unread = time.Now(), n == len(c.buffer), c.buffer[:n]
		if n == 0 { // an error that comes with bytes comes again
			return 0, err
		}
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// rest waits until the last read is long enough ago, or something is awaited.
func (c *restingConn) rest() {
	timer := time.NewTimer(c.hurry.rest - time.Since(c.last))
	defer timer.Stop()
	for c.hurry.mayRest() && !c.closed.Load() {
		select {
		case <-timer.C:
			return
		case <-c.hurry.wake:
		}
	}
}

// Close implements net.Conn.
func (c *restingConn) Close() error {
	c.closed.Store(true)
	c.hurry.look()
	return c.Conn.Close()
}
