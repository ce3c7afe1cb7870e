package rpcclient

import (
	"bytes"
	"fmt"
	"slices"

	"fleetctl/internal/choria"
)

// receive runs on the subscription's goroutine, in the order of arrival. It looks at nothing but the subject: a message
// that belongs to none of our requests costs no more than that.
func (s *Session) receive(m choria.Message) {
	id, notice := s.address(m.Subject)
	s.mu.Lock()
	p, known := s.pending[id]
	kind := Kind(0)
	switch {
	case !known:
		kind = WrongRequest
	case notice != "":
		if _, ok := p.absentNode(notice); !ok {
			kind = Forged
		}
	case m.NoResponders:
		kind = Forged
	}
	switch {
	case kind == Forged || kind == WrongRequest && !s.inbox.addUnnamed(m):
		s.strays.Add(kind, "")
	case kind == WrongRequest:
		s.strays.count(kind) // and name reads its sender, when there is nothing else to do
	}
	s.mu.Unlock()
	if kind == 0 {
		s.inbox.add(queued{Message: m, request: p, notice: notice})
	}
}

// work handles what has arrived, group by group, until the session is closed. Several workers decode and check side by
// side; they believe and deliver in the order of arrival.
func (s *Session) work() {
	var messages []queued
	var letters []incoming
	var checks []choria.Opening
	var o choria.Opener
	for {
		var ticket int
		var ok bool
		if messages, ticket, ok = s.inbox.next(messages, s.done); !ok {
			return
		}
		if ticket == 0 {
			s.name(messages[0].Message)
			clear(messages)
			continue
		}
		letters, checks = s.examine(&o, letters[:0], checks[:0], messages)
		s.inbox.await(ticket)
		for i := range letters {
			s.conclude(&letters[i])
		}
		s.inbox.finished()
		o.Reset()
		clear(messages)
		clear(letters)
		clear(checks)
	}
}

// incoming is a message on its way to being believed.
type incoming struct {
	queued
	reply   Reply
	payload []byte
	check   int // its place among those whose signatures are checked; -1: none
	err     error
}

// name counts a message that answers no request of ours for the sender that it claims.
func (s *Session) name(m choria.Message) {
	t, err := choria.DecodeTransport(m.Data)
	if err != nil {
		t.Sender = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strays.name(WrongRequest, t.Sender)
}

// conclude accepts a message and delivers it, or counts it as a stray.
func (s *Session) conclude(m *incoming) {
	if m.notice != "" {
		if r, believed := s.absent(m.queued); believed {
			s.logReply(r)
			s.deliver(r, s.done)
		}
		return
	}
	if m.err == nil {
		m.err = s.believe(m.request, &m.reply)
	}
	if m.err != nil {
		s.logStray(m.request.id, m.reply.Node, m.err)
		s.stray(kindOf(m.err), m.reply.Node)
		return
	}
	s.logReply(m.reply)
	s.deliver(m.reply, s.done)
}

// absent reads the broker's notice that a node's copy of a request had no subscriber. Once a node and request; a reply of
// the node is stronger, whenever it comes.
func (s *Session) absent(m queued) (Reply, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := m.request
	node, ok := p.absentNode(m.notice)
	switch {
	case !ok:
		s.strays.Add(Forged, "")
		return Reply{}, false
	case !m.NoResponders: // a stream over the subject acknowledges the request
		s.strays.Add(Malformed, "")
		return Reply{}, false
	}
	if was, _ := p.of(node); was != silent {
		s.strays.Add(Duplicate, node)
		return Reply{}, false
	}
	p.heard[node] = reportedAbsent
	p.concluded++
	return Reply{Node: node, RequestID: p.id, Code: choria.Absent, Absent: true, Sent: p.sent, Received: m.Arrived}, true
}

// examine opens every layer of a group's messages, what is cheap first: the sender that the transport claims, the hash, the
// request and sender inside, and only then the signatures, all at once. On an error the reply still names the sender where
// one was read. It fills letters and checks, which may be used again.
func (s *Session) examine(opener *choria.Opener, letters []incoming, checks []choria.Opening, messages []queued) ([]incoming, []choria.Opening) {
	letters = slices.Grow(letters, len(messages))[:len(messages)]
	for i, m := range messages {
		in := &letters[i]
		in.queued, in.check = m, -1
		if m.notice != "" {
			continue
		}
		checks = append(checks, choria.Opening{})
		o := &checks[len(checks)-1]
		if o.Reply, in.err = s.unwrap(opener, in); in.err != nil {
			checks = checks[:len(checks)-1]
			continue
		}
		o.Claimed, in.check = in.reply.Node, len(checks)-1
	}
	s.client.openAll(checks, s.collective)
	for i := range letters {
		if in := &letters[i]; in.check >= 0 {
			s.read(opener, in, &checks[in.check])
		}
	}
	return letters, checks
}

// unwrap reads a message down to the reply, and refuses what needs no look at the signature.
func (s *Session) unwrap(o *choria.Opener, m *incoming) (choria.SecureReply, error) {
	t, err := o.Transport(m.Data)
	if err != nil {
		return choria.SecureReply{}, err
	}
	m.reply.Node = t.Sender
	if t.Version != s.client.id.Version() {
		return choria.SecureReply{}, fmt.Errorf("protocol %s where %s was asked", t.Version, s.client.id.Version())
	}
	if t.Sender != "" {
		if err := s.plausible(m.request, t.Sender); err != nil {
			return choria.SecureReply{}, err
		}
	}
	secure, err := choria.DecodeSecureReply(t.Data, o)
	if err != nil {
		return secure, err
	}
	if secure.Version != t.Version {
		return secure, fmt.Errorf("protocol %s inside a transport of %s", secure.Version, t.Version)
	}
	o.Known = append(o.Known[:0], m.request.id, t.Sender, m.request.agent)
	inner, err := choria.DecodeReply(t.Version, secure.Reply, o)
	if err != nil {
		return secure, err
	}
	if inner.RequestID != m.request.id {
		return secure, strayError(WrongRequest)
	}
	if err := choria.CheckIdentity(inner.Sender); err != nil {
		return secure, err
	}
	m.payload = inner.Payload
	m.reply = Reply{
		Node: inner.Sender, RequestID: inner.RequestID, Agent: inner.Agent, Time: inner.Time, Received: m.Arrived, Protocol: secure.Reply,
	}
	if inner.Sender == t.Sender { // as nearly always
		return secure, nil
	}
	return secure, s.plausible(m.request, inner.Sender)
}

// read takes the verdict on the signature, and reads the body of what is genuine.
func (s *Session) read(opener *choria.Opener, m *incoming, o *choria.Opening) {
	r := &m.reply
	ends := o.TokenEnds
	if ends.IsZero() && s.client.tokens.wants(r.Node) {
		ends = s.client.tokenEnds(o.Reply)
	}
	switch {
	case o.Err != nil:
		s.client.tokens.refused(r.Node, o.TokenEnds, !m.request.open)
		m.err = fmt.Errorf("%w: %w", strayError(BadSignature), o.Err)
		return
	case o.Proven != "" && o.Proven != r.Node:
		m.err = fmt.Errorf("%w: reply of %q is signed by %q", strayError(BadSignature), r.Node, o.Proven)
		return
	}
	if r.TokenEnds = ends; r.Agent == discoveryAgent {
		return
	}
	opener.Known = append(opener.Known[:0], "OK", m.request.action)
	body, err := choria.DecodeRPCReply(m.payload, opener)
	if err == nil && r.Agent == provisionAgent && body.StatusCode == choria.OK {
		r.Delay, err = choria.AnnouncedDelay(body.Data)
	}
	m.err = err
	r.Action, r.Code, r.Message, r.Data = body.Action, body.StatusCode, body.StatusMsg, bytes.Clone(body.Data) // a slice would keep the whole message
}

// groupOpener may be implemented by an Identity that checks a group of replies at less cost than one by one.
type groupOpener interface {
	// OpenReplies is OpenReply for each of them. It sets Proven, TokenEnds and Err.
	OpenReplies(group []choria.Opening, collective string)
}

// groupSize is how many messages are handled together at most: one where each check takes a time of its own.
func (c *Client) groupSize() int {
	if _, ok := c.id.(groupOpener); ok {
		return maxGroup
	}
	return 1
}

func (c *Client) openAll(group []choria.Opening, collective string) {
	if opener, ok := c.id.(groupOpener); ok {
		opener.OpenReplies(group, collective)
		return
	}
	for i := range group {
		o := &group[i]
		if o.Proven, o.Err = c.id.OpenReply(o.Reply, collective); o.Err != nil {
			o.TokenEnds = c.tokenEnds(o.Reply)
		}
	}
}

// plausible reports what is wrong with an answer of this sender, without looking at the answer.
func (s *Session) plausible(p *pending, sender string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, asked := p.of(sender)
	switch {
	case state == answered:
		return strayError(Duplicate)
	case !asked && !p.open:
		return strayError(Stranger)
	}
	return nil
}

// believe marks the node as answered, or reports what is wrong with the reply.
func (s *Session) believe(p *pending, r *Reply) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Agent != p.agent {
		return strayError(WrongRequest)
	}
	switch was, _ := p.of(r.Node); was {
	case answered:
		return strayError(Duplicate)
	case silent:
		p.concluded++
	}
	p.heard[r.Node] = answered
	p.answers++
	p.settle()
	r.Sent = p.sent
	s.client.tokens.believed(r.Node, r.TokenEnds)
	return nil
}
