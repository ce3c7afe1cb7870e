package rpcclient

import "time"

// SetSettling shortens the 30 s after a reconnect, for tests in real time.
func (c *Client) SetSettling(d time.Duration) { c.settling = d }
