package bus

import (
	"context"
	"errors"
	"strings"

	"fleetctl/internal/choria"

	"github.com/nats-io/nats.go"
)

// inboxProbe is the last token of the subject by which a broker is asked whether it allows a reply prefix.
const inboxProbe = ".is-this-allowed"

// chooseInbox finds out which reply prefix the broker allows: only a refused subscription shows that (docs/protocol.md,
// subjects). Where it allows none of them, or the connection is lost meanwhile, the first one stays, and
// Subscribe returns the error. Nothing else uses the connection yet.
func (c *Conn) chooseInbox(ctx context.Context, prefixes []string) {
	if len(prefixes) == 0 {
		return
	}
	c.inbox = prefixes[0]
	if len(prefixes) == 1 {
		return
	}
	for _, prefix := range prefixes {
		stop, err := c.Subscribe(ctx, prefix+inboxProbe, func(choria.Message) {})
		if err == nil {
			stop()
			c.inbox, c.nc.Opts.InboxPrefix = prefix, prefix
			return
		}
		if p, ok := errors.AsType[*Problem](err); !ok || p.Lost {
			return
		}
	}
}

// ReplyPrefix is the one of Options.ReplyPrefixes that the broker allows: inboxes of this connection are below it.
func (c *Conn) ReplyPrefix() string { return c.inbox }

// refusedInbox reports whether an error is the refusal of chooseInbox's subscription.
func refusedInbox(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(strings.ToLower(err.Error()), inboxProbe+`"`)
}
