package bus

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
)

// Answer is the reply to a Request.
type Answer struct {
	Header map[string][]string
	Data   []byte
}

// ErrNoResponders is the error of a Request to a subject without a subscriber: it reached nothing.
var ErrNoResponders = errors.New("nothing answers there")

// Request publishes a message with headers and returns the first reply to it; it is for what brokers themselves answer, such
// as JetStream. The error is ErrNoResponders, a *Problem, or what ended the context. After a Problem that is not Denied the
// message may have taken effect. It is safe for concurrent use.
func (c *Conn) Request(ctx context.Context, subject string, header map[string]string, data []byte) (Answer, error) {
	act := "ask " + subject
	if c.down.Load() {
		return Answer{}, lostWhile(act)
	}
	m := nats.NewMsg(subject)
	m.Reply, m.Data = c.nc.NewInbox(), data
	for key, value := range header {
		m.Header.Set(key, value)
	}
	defer c.hurry.await()()
	sub, err := c.nc.SubscribeSync(m.Reply)
	if err != nil {
		return Answer{}, c.asProblem(err, act)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a connection that is closed
	if err := c.nc.PublishMsg(m); err != nil {
		return Answer{}, c.asProblem(err, act)
	}
	// The refusal of a subject is no reply; the flush finds it.
	if err := c.flush(ctx, `publish to "`+strings.ToLower(subject)+`"`); err != nil {
		return Answer{}, err
	}
	reply, err := sub.NextMsgWithContext(ctx)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return Answer{}, ErrNoResponders
	case err != nil:
		return Answer{}, c.asProblem(err, act)
	}
	return Answer{Header: reply.Header, Data: reply.Data}, nil
}
