package rpcclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"fleetctl/internal/choria"
)

// discoveryAgent is the one agent whose replies carry no RPC body (docs/protocol.md, discovery).
const discoveryAgent = "discovery"

// provisionAgent is the agent whose servers announce when they will act (docs/protocol.md, the choria_provision agent).
const provisionAgent = "choria_provision"

// ErrNoReply means that no server answered a service request before the context ended.
var ErrNoReply = errors.New("no reply")

// Call sends one direct request that changes nothing, and yields the replies until every node has answered or is absent,
// until req.Wait is over, or the context ends. What arrived by then is still yielded, however long its check takes. The
// end of the context is not an error here: the caller set it. A yielded error ends the sequence; stopping the
// loop stops the work.
//
// When the connection is lost meanwhile, the nodes that have not answered are asked again after its return, with a new
// wait. For 30 s after such a return an absent node is asked again every 2 s before it counts as absent.
func (c *Client) Call(ctx context.Context, req Request, nodes []string) iter.Seq2[Reply, error] {
	return func(yield func(Reply, error) bool) {
		s, err := c.Open(ctx, req.Collective)
		if err != nil {
			yield(Reply{}, err)
			return
		}
		defer s.Close()
		first := req.ID
		ask := func(ctx context.Context, nodes []string) error {
			again := req
			again.ID, first = first, ""
			_, err := s.Send(ctx, again, nodes)
			return err
		}
		s.each(ctx, choria.Window{Timeout: req.Wait}, nodes, ask, yield)
	}
}

// each asks nodes by ask and yields what they answer, and that they are absent.
func (s *Session) each(ctx context.Context, w choria.Window, nodes []string, ask func(context.Context, []string) error, yield func(Reply, error) bool) {
	m := pendingNodes{left: make(map[string]bool, len(nodes)), away: map[string]Reply{}, yield: yield}
	for _, n := range nodes {
		m.left[n] = true
	}
	g := &gathering{session: s, window: w, enough: m.enough}
	g.ask = func(ctx context.Context) error {
		if m.all == nil {
			m.all = nodes
			return ask(ctx, nodes)
		}
		clear(m.away)
		return ask(ctx, m.open())
	}
	g.again = func() (time.Duration, bool) { return askAbsentEvery, len(m.away) > 0 }
	g.take = func(r Reply) bool {
		// Whether an absence counts depends on the last loss of the connection, which may not be known yet.
		hold := r.Absent && (s.client.intact(g.link) != nil || r.Sent.Before(g.settled()))
		return m.take(r, hold)
	}
	if err := g.run(ctx); err != nil && !m.stopped {
		yield(Reply{}, err)
	}
}

// pendingNodes tracks which nodes of one request have not answered yet.
type pendingNodes struct {
	all     []string         // those that were asked at first; nil before
	left    map[string]bool  // those that are waited for
	away    map[string]Reply // among them, those that are absent and asked again
	yield   func(Reply, error) bool
	stopped bool
}

func (m *pendingNodes) enough() bool { return m.stopped || len(m.left) == 0 }

// open are the nodes that are waited for, in the order that was asked.
func (m *pendingNodes) open() []string {
	open := make([]string, 0, len(m.left))
	for _, n := range m.all {
		if m.left[n] {
			open = append(open, n)
		}
	}
	return open
}

// take yields a node's answer, the first one; hold keeps an absence for later.
func (m *pendingNodes) take(r Reply, hold bool) bool {
	if !m.left[r.Node] {
		return false
	}
	if hold {
		m.away[r.Node] = r
		return false
	}
	delete(m.left, r.Node)
	delete(m.away, r.Node)
	if !m.yield(r, nil) {
		m.stopped = true
	}
	return true
}

// Service asks one of the servers that offer a service agent, and returns the first reply. No node is discovered and
// no filter is sent (docs/protocol.md, service requests). ErrNoReply when the context ends first, ErrLost when the connection
// was lost meanwhile.
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
	before := c.link()
	if _, err := s.open(ctx, r, req.Action, choria.ServiceSubject(req.Collective, req.Agent)); err != nil {
		return Reply{}, err
	}
	select {
	case reply := <-s.out:
		return reply, nil
	case <-ctx.Done():
		if err := c.intact(before); err != nil {
			return Reply{}, fmt.Errorf("ask service %s#%s: %w", req.Agent, req.Action, err)
		}
		return Reply{}, fmt.Errorf("%w from service %s#%s", ErrNoReply, req.Agent, req.Action)
	}
}

// Forward sends one direct request to the nodes, or without nodes a service request, and returns when the broker has
// taken it. The replies go to a subject of the caller's choice, where another program may listen; this client does not. Errors
// are those of Session.Send.
func (c *Client) Forward(ctx context.Context, req Request, nodes []string, replyTo string) (Sent, error) {
	s := &Session{client: c, collective: req.Collective, elsewhere: replyTo, pending: map[string]*pending{}, logs: c.log.Enabled(ctx, slog.LevelDebug)}
	if nodes != nil {
		return s.Send(ctx, req, nodes)
	}
	r, err := c.rpc(req)
	if err != nil {
		return Sent{}, err
	}
	return s.open(ctx, r, req.Action, choria.ServiceSubject(req.Collective, req.Agent))
}

// Broadcast asks every server that matches the filter for its name, and yields the names, each once, until the window has
// closed or the context ends. An empty filter asks them all. See Ping for a connection that is lost meanwhile.
func (c *Client) Broadcast(ctx context.Context, collective string, f choria.Filter, w choria.Window) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for r, err := range c.Ping(ctx, PingRequest{Collective: collective, Filter: f, Window: w}) {
			if !yield(r.Node, err) {
				return
			}
		}
	}
}

// PingRequest is the request of a ping: it asks which nodes are connected.
type PingRequest struct {
	Collective string
	// Filter is what a node must match to answer; the empty one asks all of them.
	Filter choria.Filter
	// Nodes, when not nil, are asked one by one, on their own subjects: then it is known which of them are absent, and the
	// wait ends when all have answered or are. A node answers the request there as it does a broadcast, once.
	Nodes  []string
	Window choria.Window
	// Sent, when not nil, is called when the request has left, each time that it is asked.
	Sent func(Sent)
}

// Ping is Broadcast with whole replies, for their times. A reply's round trip is from Sent to Received.
//
// A connection that is lost meanwhile is waited for, and every node is asked again, until 30 s after its return: nodes that
// are on their way back would be missing. The same holds for a question that begins within that time. The window then
// begins anew. A connection that does not return is an error.
func (c *Client) Ping(ctx context.Context, ping PingRequest) iter.Seq2[Reply, error] {
	return func(yield func(Reply, error) bool) {
		s, err := c.Open(ctx, ping.Collective)
		if err != nil {
			yield(Reply{}, err)
			return
		}
		defer s.Close()
		for r, err := range s.Ping(ctx, ping) {
			if !yield(r, err) {
				return
			}
		}
	}
}

// Ping is Client.Ping over this session, which must have no other reader. The session's collective is asked.
func (s *Session) Ping(ctx context.Context, ping PingRequest) iter.Seq2[Reply, error] {
	return func(yield func(Reply, error) bool) {
		tell := func(sent Sent, err error) error {
			if err == nil && ping.Sent != nil {
				ping.Sent(sent)
			}
			return err
		}
		if ping.Nodes != nil {
			s.each(ctx, ping.Window, ping.Nodes, func(ctx context.Context, nodes []string) error {
				return tell(s.direct(ctx, s.nameRequest(ping.Filter), Request{}, nodes))
			}, yield)
			return
		}
		seen, stopped := map[string]bool{}, false
		g := &gathering{session: s, window: ping.Window, filter: ping.Filter, enough: func() bool { return stopped }}
		g.ask = func(ctx context.Context) error { return tell(s.Broadcast(ctx, ping.Filter)) }
		g.again = func() (time.Duration, bool) { return askAllEvery, true }
		g.take = func(r Reply) bool {
			if seen[r.Node] {
				return false
			}
			seen[r.Node] = true
			stopped = !yield(r, nil)
			return true
		}
		if known := ping.Window.Known; known != nil {
			g.roster = newRoster(known)
			defer func() { known.Missing = g.roster.rest() }()
		}
		err := g.run(ctx)
		s.client.crowded.Store(g.crowded())
		if err != nil && !stopped {
			yield(Reply{}, err)
		}
	}
}

// Crowded reports whether nodes were still answering when the last question to a whole collective closed: the answers need
// not be those of all nodes.
func (c *Client) Crowded() bool { return c.crowded.Load() }
