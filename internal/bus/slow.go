package bus

import (
	"context"
	"errors"
	"time"
)

// A broker that has stopped answering is as good as a lost connection: nothing new may be sent until it answers again, or
// another one does. nats.go notices a silent broker after three pings, about a minute.

const (
	// slowAfter is how long a flush waits before the broker counts as away. It is shorter than any time limit of a flush.
	slowAfter = 4 * time.Second
	// slowWait bounds the wait for a late answer. nats.go gives the connection up long before.
	slowWait = time.Hour
)

var errSlow = errors.New("the broker does not answer")

// confirm flushes, and reports a broker that takes long.
func (c *Conn) confirm(ctx context.Context) error {
	slow := time.AfterFunc(c.slowAfter, func() { c.slow(ctx) })
	defer slow.Stop()
	return c.nc.FlushWithContext(ctx)
}

// slow reports the broker as away, and awaits its answer.
func (c *Conn) slow(ctx context.Context) {
	c.telling.Lock()
	defer c.telling.Unlock()
	if c.isSlow || c.down.Load() || c.closing.Load() {
		return
	}
	c.isSlow = true
	c.log.Warn("the broker does not answer")
	c.tell(false, false, errSlow)
	c.late.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), slowWait)
		defer cancel()
		if c.nc.FlushWithContext(ctx) == nil { // else the connection is lost, and its return is reported
			c.answers()
		}
	})
}

// answers reports that a slow broker has answered on the connection that stands.
func (c *Conn) answers() {
	c.telling.Lock()
	defer c.telling.Unlock()
	if !c.isSlow || c.down.Load() {
		return
	}
	c.isSlow = false
	c.log.Warn("the broker answers again")
	c.tell(true, false, nil)
}
