package bus

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// Reconnected is when the connection came back after it was last lost, or was made after the broker was away at first; zero
// when neither happened. Down: it is away now.
// A reconnect shows here before anything can be published after it.
func (c *Conn) Reconnected() (at time.Time, down bool) {
	down = c.down.Load() // first: nats.go holds its lock while it dials
	if !down {
		down = !c.nc.IsConnected()
	}
	if !down {
		c.stamp(c.nc)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.back, down
}

// stamp notes the time of a reconnect that was not noted yet. The handlers of nats.go run a little later than what they
// are about; its count does not.
func (c *Conn) stamp(nc *nats.Conn) {
	n := nc.Stats().Reconnects
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == c.reconns {
		return
	}
	c.reconns = n
	now := time.Now()
	if !now.After(c.back) {
		now = c.back.Add(1) // two reconnects never look like one
	}
	c.back = now
}

// lost, returned and gone are nats.go's handlers. They run in order, on one goroutine.
func (c *Conn) lost(_ *nats.Conn, err error) {
	if c.closing.Load() {
		return
	}
	c.down.Store(true)
	if err == nil {
		err = errors.New("the broker has closed it")
	}
	err = errors.New(words(err))
	c.log.Warn("connection to the broker lost", "error", err)
	c.telling.Lock()
	defer c.telling.Unlock()
	c.isSlow = false
	c.tell(false, false, err)
}

func (c *Conn) returned(nc *nats.Conn) {
	c.stamp(nc)
	c.down.Store(false)
	c.log.Warn("connected to the broker again", "server", publicURL(nc.ConnectedUrl()), "tls", underTLS(nc))
	c.telling.Lock()
	defer c.telling.Unlock()
	c.isSlow = false // of the connection before
	c.tell(true, false, nil)
}

func (c *Conn) gone(nc *nats.Conn) {
	if c.closing.Load() {
		return
	}
	c.down.Store(true)
	problem := &Problem{What: "the connection to the broker has ended for good", Lost: true, Final: true}
	if err := nc.LastError(); err != nil {
		problem.Err = errors.New(words(err))
	}
	c.log.Warn("connection to the broker ended", "error", problem)
	c.telling.Lock()
	defer c.telling.Unlock()
	c.tell(false, true, problem)
}

// tell needs the lock telling.
func (c *Conn) tell(up, gone bool, err error) {
	if c.onLink != nil {
		c.onLink(up, gone, time.Now(), err)
	}
}

// reported holds what nats.go reports between two calls.
func (c *Conn) reported(_ *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) && sub != nil {
		c.log.Warn("messages were dropped: this client cannot keep up", "subject", sub.Subject)
		return
	}
	if refusedInbox(err) {
		return // the refusal answers a probe of ours
	}
	c.log.Warn("the broker reports", "error", words(err))
}
