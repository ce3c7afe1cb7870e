package rpcclient

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"fleetctl/internal/choria"
)

// discoveryAgent is the one agent whose replies carry no RPC body (docs/protocol.md, discovery).
const discoveryAgent = "discovery"

// ErrNoReply says that nobody answered a service request before the context ended.
var ErrNoReply = errors.New("no reply")

// Call sends one direct request and yields the replies until every node has answered or the context ends. The end
// of the context is not an error here: the caller set it and knows. A yielded error ends the sequence; stopping the
// loop stops the work.
func (c *Client) Call(ctx context.Context, req Request, nodes []string) iter.Seq2[Reply, error] {
	return func(yield func(Reply, error) bool) {
		s, err := c.Open(ctx, req.Collective)
		if err != nil {
			yield(Reply{}, err)
			return
		}
		defer s.Close()
		if _, err := s.Send(ctx, req, nodes); err != nil {
			yield(Reply{}, err)
			return
		}
		for left := len(nodes); left > 0; left-- {
			select {
			case r := <-s.out:
				if !yield(r, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// Service asks one of the servers that offer a service agent, and returns the first reply. Nobody is discovered and
// no filter is sent (docs/protocol.md, service requests). ErrNoReply when the context ends first.
func (c *Client) Service(ctx context.Context, req Request) (Reply, error) {
	s, err := c.Open(ctx, req.Collective)
	if err != nil {
		return Reply{}, err
	}
	defer s.Close()
	r, err := c.rpc(req)
	if err != nil {
		return Reply{}, err
	}
	if _, err := s.open(ctx, r, choria.ServiceSubject(req.Collective, req.Agent)); err != nil {
		return Reply{}, err
	}
	select {
	case reply := <-s.out:
		return reply, nil
	case <-ctx.Done():
		return Reply{}, fmt.Errorf("%w from service %s#%s", ErrNoReply, req.Agent, req.Action)
	}
}

// Forward sends one direct request to the nodes, or without nodes a service request, and returns when the broker has
// taken it. The replies go to a subject of the caller's choice, where somebody else may listen; nobody does here. Errors
// are those of Session.Send.
func (c *Client) Forward(ctx context.Context, req Request, nodes []string, replyTo string) (Sent, error) {
	s := &Session{client: c, collective: req.Collective, elsewhere: replyTo, pending: map[string]*pending{}}
	if nodes != nil {
		return s.Send(ctx, req, nodes)
	}
	r, err := c.rpc(req)
	if err != nil {
		return Sent{}, err
	}
	return s.open(ctx, r, choria.ServiceSubject(req.Collective, req.Agent))
}

// Broadcast asks every server that matches the filter for its name, and yields the names, each once, until the
// context ends. An empty filter asks them all. sent, when not nil, is called when the request has left: signing it
// may have taken a while.
func (c *Client) Broadcast(ctx context.Context, collective string, f choria.Filter, sent func()) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		tell := func(Sent) {
			if sent != nil {
				sent()
			}
		}
		for r, err := range c.Ping(ctx, collective, f, tell) {
			if !yield(r.Node, err) {
				return
			}
		}
	}
}

// Ping is Broadcast with whole replies, for their times. sent, when not nil, is told when the request had left.
func (c *Client) Ping(ctx context.Context, collective string, f choria.Filter, sent func(Sent)) iter.Seq2[Reply, error] {
	return func(yield func(Reply, error) bool) {
		s, err := c.Open(ctx, collective)
		if err != nil {
			yield(Reply{}, err)
			return
		}
		defer s.Close()
		out, err := s.Broadcast(ctx, f)
		if err != nil {
			yield(Reply{}, err)
			return
		}
		if sent != nil {
			sent(out)
		}
		for {
			select {
			case reply := <-s.out:
				if !yield(reply, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}
