package rpcclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"fleetctl/internal/choria"
)

// Session is one reply subscription that any number of requests share, for as long as a run lives: a reply that
// comes after everybody stopped waiting for it is still delivered. Replies arrive on
// <collective>.reply.<caller hash>.<session>.<request id>, so that a second run of the same caller is not heard.
type Session struct {
	client     *Client
	collective string
	prefix     string
	elsewhere  string // where replies go in place of here; "" is the rule
	stop       func()
	out        chan Reply
	done       chan struct{}
	closeOnce  sync.Once

	mu      sync.Mutex // guards pending and strays
	pending map[string]*pending
	strays  Strays
	arrived int           // messages handed to receive
	decoded int           // those of them that are on Replies, or dropped
	moved   chan struct{} // closed and replaced when decoded grows
}

// pending is a request that was sent: the nodes asked, and whether each has answered.
type pending struct {
	agent    string
	open     bool // any sender may answer: broadcasts and service requests
	answered map[string]bool
	nodes    []string        // direct requests: in the order of their index
	inboxes  []string        // the NATS reply subject of each node's copy
	absent   map[string]bool // reported absent
}

// Open subscribes for the replies of a new session. The caller must Close it, and must read Replies until then.
func (c *Client) Open(ctx context.Context, collective string) (*Session, error) {
	s := &Session{
		client: c, collective: collective,
		prefix:  choria.ReplyPrefix(collective, c.id.Caller()) + "." + strings.ToLower(rand.Text()[:16]) + ".",
		out:     make(chan Reply, 256),
		done:    make(chan struct{}),
		pending: map[string]*pending{}, moved: make(chan struct{}),
	}
	stop, err := c.conn.Subscribe(ctx, s.prefix+"*", s.receive)
	if err != nil {
		return nil, fmt.Errorf("listen for replies: %w", err)
	}
	s.stop = stop
	return s, nil
}

// Replies is the stream of believed replies. It is never closed: select on the end of your own wait as well.
func (s *Session) Replies() <-chan Reply { return s.out }

// Close ends the subscription. Replies that were not read are dropped.
func (s *Session) Close() {
	s.closeOnce.Do(func() {
		close(s.done)
		s.stop()
	})
}

// Forget ends the wait for one request: a reply that comes later is a stray. A session that polls forgets what it asked,
// so that it does not grow.
func (s *Session) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

// Strays returns what came in and was not believed, so far.
func (s *Session) Strays() Strays {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.strays.clone()
}

// Send publishes one direct request to every node, the same bytes to each, and returns once the broker has taken
// them all. Federations get them in messages for up to 200 nodes, around the same signed bytes. On a *SendError some nodes may have been reached. Blank or unusable names are refused before anything
// is published.
func (s *Session) Send(ctx context.Context, req Request, nodes []string) (Sent, error) {
	for _, n := range nodes {
		if err := choria.CheckIdentity(n); err != nil {
			return Sent{}, fmt.Errorf("cannot address node %q: %w", n, err)
		}
	}
	r, err := s.client.rpc(req)
	if err != nil {
		return Sent{}, err
	}
	r.Filter = choria.Filter{Agent: []string{req.Agent}}
	p := &pending{agent: req.Agent, answered: make(map[string]bool, len(nodes))}
	subjects := make([]string, len(nodes))
	p.nodes, p.absent = nodes, map[string]bool{}
	if s.elsewhere == "" && len(s.client.federations) == 0 {
		p.inboxes = make([]string, len(nodes))
	}
	for i, n := range nodes {
		if p.inboxes != nil {
			var secret [8]byte
			rand.Read(secret[:]) // never returns an error
			p.inboxes[i] = fmt.Sprintf("%s%s-%d-%x", s.prefix, r.ID, i, secret)
		}
		p.answered[n] = false
		subjects[i] = choria.NodeSubject(req.Collective, n)
	}
	sent, published, err := s.publish(ctx, r, p, subjects)
	if err == nil {
		return sent, nil
	}
	if published < 0 {
		return sent, err
	}
	return sent, s.settle(ctx, nodes[published:], published, err)
}

// settle finds out what an interrupted publish came to: what was handed over is flushed, so that it cannot leave later.
// When only the context ended, after everything was handed over, that flush is all that was missing.
// When nothing was handed over, there is nothing to find out.
func (s *Session) settle(ctx context.Context, unsent []string, handed int, err error) error {
	if handed == 0 {
		return &SendError{Unsent: unsent, Certain: true, Err: err}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	flushed := s.client.conn.Flush(flush) == nil
	if len(unsent) == 0 && flushed && context.Cause(ctx) != nil {
		return nil
	}
	return &SendError{Unsent: unsent, Certain: flushed && len(unsent) > 0, Err: err}
}

// settleTimeout bounds the flush after an interrupted publish.
const settleTimeout = 5 * time.Second

// open publishes one request that anybody may answer.
func (s *Session) open(ctx context.Context, r choria.Request, subject string) (Sent, error) {
	p := &pending{agent: r.Agent, open: true, answered: map[string]bool{}}
	sent, _, err := s.publish(ctx, r, p, []string{subject})
	return sent, err
}

// Broadcast asks every server of the session's collective that matches the filter to answer. An empty filter asks them all.
func (s *Session) Broadcast(ctx context.Context, f choria.Filter) (Sent, error) {
	r := s.client.envelope(s.client.NewID(), s.collective, discoveryAgent)
	r.Filter, r.Payload = f, choria.DiscoveryPing()
	return s.open(ctx, r, choria.BroadcastSubject(s.collective, discoveryAgent))
}

// receive runs on the subscription's goroutine, one message after another.
func (s *Session) receive(m choria.Message) {
	s.mu.Lock()
	s.arrived++
	s.mu.Unlock()
	defer s.handled()
	if m.NoResponders {
		s.absent(m)
		return
	}
	reply, err := s.decode(m.Data)
	reply.Received = m.Arrived
	if err != nil {
		s.stray(kindOf(err), reply.Node)
		return
	}
	if kind, ok := s.believe(reply); !ok {
		s.stray(kind, reply.Node)
		return
	}
	select {
	case s.out <- reply:
	case <-s.done:
	}
}

func (s *Session) handled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decoded++
	close(s.moved)
	s.moved = make(chan struct{})
}

// Settle returns when every message that arrived by at has been decoded, checked and put on Replies; the reader must
// keep reading meanwhile.
func (s *Session) Settle(ctx context.Context, at time.Time) error {
	s.mu.Lock()
	until := s.arrived
	s.mu.Unlock()
	for {
		s.mu.Lock()
		decoded, moved := s.decoded, s.moved
		s.mu.Unlock()
		if decoded >= until {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// absent takes the broker's word that a node had no subscriber.
func (s *Session) absent(m choria.Message) {
	rest := strings.TrimPrefix(m.Subject, s.prefix)
	id, place, _ := strings.Cut(rest, "-")
	place, _, _ = strings.Cut(place, "-")
	i, err := strconv.Atoi(place)
	s.mu.Lock()
	var node string
	if p := s.pending[id]; p != nil {
		if err == nil && i >= 0 && i < len(p.inboxes) && p.inboxes[i] == m.Subject && !p.answered[p.nodes[i]] && !p.absent[p.nodes[i]] {
			node = p.nodes[i]
			p.absent[node] = true
		}
	}
	s.mu.Unlock()
	if node == "" {
		s.stray(Malformed, "")
		return
	}
	select {
	case s.out <- Reply{Node: node, RequestID: id, Received: m.Arrived, Code: choria.Absent, Absent: true}:
	case <-s.done:
	}
}

// believe marks the node as answered, or says what is wrong with the reply.
func (s *Session) believe(r Reply) (Kind, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pending[r.RequestID]
	if !ok {
		return WrongRequest, false
	}
	if r.Agent != p.agent {
		return WrongRequest, false
	}
	answered, asked := p.answered[r.Node]
	switch {
	case answered:
		return Duplicate, false
	case !asked && !p.open:
		return Stranger, false
	}
	p.answered[r.Node] = true
	return 0, true
}

func (s *Session) stray(k Kind, node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strays.add(k, node)
}

// decode opens every layer of a message. On an error the reply still names the sender where one was read.
func (s *Session) decode(data []byte) (Reply, error) {
	var r Reply
	t, err := choria.DecodeTransport(data)
	if err != nil {
		return r, err
	}
	r.Node = t.Sender
	if t.Version != s.client.id.Version() {
		return r, fmt.Errorf("protocol %s where %s was asked", t.Version, s.client.id.Version())
	}
	secure, err := choria.DecodeSecureReply(t.Data)
	if err != nil {
		return r, err
	}
	if secure.Version != t.Version {
		return r, fmt.Errorf("protocol %s inside a transport of %s", secure.Version, t.Version)
	}
	proven, err := s.client.id.OpenReply(secure, s.collective)
	if err != nil {
		return r, &signatureError{err}
	}
	inner, err := choria.DecodeReply(t.Version, secure.Reply)
	if err != nil {
		return r, err
	}
	if proven != "" && proven != inner.Sender {
		return r, &signatureError{fmt.Errorf("reply of %q is signed by %q", inner.Sender, proven)}
	}
	if err := choria.CheckIdentity(inner.Sender); err != nil {
		return r, err
	}
	r = Reply{
		Node: inner.Sender, RequestID: inner.RequestID, Agent: inner.Agent, Time: inner.Time,
		Protocol: secure.Reply,
	}
	if inner.Agent == discoveryAgent {
		return r, nil
	}
	body, err := choria.DecodeRPCReply(inner.Payload)
	if err != nil {
		return r, err
	}
	r.Action, r.Code, r.Message, r.Data = body.Action, body.StatusCode, body.StatusMsg, bytes.Clone(body.Data) // a slice would keep the whole message
	return r, nil
}
