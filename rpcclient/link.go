package rpcclient

import (
	"errors"
	"time"
)

// ErrLost means that the connection to the broker was lost while a request or its replies were on their way. Their state is
// unknown.
var ErrLost = errors.New("the connection to the broker was lost")

// link is one stretch of a connection between two losses: what was published in another one is gone.
type link struct{ since time.Time }

func (c *Client) link() link {
	at, _ := c.conn.Reconnected()
	return link{at}
}

// intact is nil when the connection has stood since before.
func (c *Client) intact(before link) error {
	if at, down := c.conn.Reconnected(); down || !at.Equal(before.since) {
		return ErrLost
	}
	return nil
}

// Reconnected is when the connection came back after it was last lost, zero when it never was; down reports that it is away
// now.
func (c *Client) Reconnected() (at time.Time, down bool) { return c.conn.Reconnected() }
