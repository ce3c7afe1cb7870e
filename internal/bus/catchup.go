package bus

import "context"

// CatchUp returns when everything that the broker had sent to this connection by now has been delivered, or an error: the
// connection was lost, or ctx, which must have a deadline, ended. A busy process may be seconds behind what it has received: its deadlines must not count
// that as the fault of the others.
func (c *Conn) CatchUp(ctx context.Context) error {
	if c.down.Load() {
		return lostWhile("")
	}
	defer c.hurry.await()()
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return c.asProblem(err, "")
	}
	delivered := make(chan struct{})
	if err := c.nc.Barrier(func() { close(delivered) }); err != nil {
		return c.asProblem(err, "")
	}
	select {
	case <-delivered:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
