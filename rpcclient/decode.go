package rpcclient

import (
	"bytes"
	"fmt"

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
		s.inbox.add(queued{Message: m, request: p, id: id, notice: notice})
	}
}

// work handles what has arrived, one message after another, until the session is closed.
func (s *Session) work() {
	for {
		m, ok := s.inbox.next(s.done)
		if !ok {
			return
		}
		if m.request == nil {
			s.name(m.Message)
			continue
		}
		if r, believed := s.examine(m); believed {
			s.logReply(r)
			s.deliver(r, s.done)
		}
		s.inbox.finished()
	}
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

// examine turns a message into an accepted reply, or counts it as a stray.
func (s *Session) examine(m queued) (Reply, bool) {
	if m.notice != "" {
		return s.absent(m)
	}
	r, err := s.decode(m)
	if err == nil {
		err = s.believe(m.request, &r)
	}
	if err != nil {
		s.logStray(m.id, r.Node, err)
		s.stray(kindOf(err), r.Node)
		return Reply{}, false
	}
	return r, true
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
	case p.heard[node] != silent:
		s.strays.Add(Duplicate, node)
		return Reply{}, false
	}
	p.heard[node] = reportedAbsent
	return Reply{Node: node, RequestID: m.id, Code: choria.Absent, Absent: true, Sent: p.sent, Received: m.Arrived}, true
}

// decode opens every layer of a message, what is cheap first: the sender that the transport claims, the hash, the request
// and sender inside, and only then the signature. On an error the reply still names the sender where one was read.
func (s *Session) decode(m queued) (Reply, error) {
	var r Reply
	t, err := choria.DecodeTransport(m.Data)
	if err != nil {
		return r, err
	}
	r.Node = t.Sender
	if t.Version != s.client.id.Version() {
		return r, fmt.Errorf("protocol %s where %s was asked", t.Version, s.client.id.Version())
	}
	if t.Sender != "" {
		if err := s.plausible(m.request, t.Sender); err != nil {
			return r, err
		}
	}
	secure, err := choria.DecodeSecureReply(t.Data)
	if err != nil {
		return r, err
	}
	if secure.Version != t.Version {
		return r, fmt.Errorf("protocol %s inside a transport of %s", secure.Version, t.Version)
	}
	inner, err := choria.DecodeReply(t.Version, secure.Reply)
	if err != nil {
		return r, err
	}
	if inner.RequestID != m.id {
		return r, strayError(WrongRequest)
	}
	if err := choria.CheckIdentity(inner.Sender); err != nil {
		return r, err
	}
	r.Node = inner.Sender
	if err := s.plausible(m.request, inner.Sender); err != nil {
		return r, err
	}
	proven, err := s.client.id.OpenReply(secure, s.collective)
	ends := s.client.tokenEnds(secure)
	if err != nil {
		s.client.tokens.refused(inner.Sender, ends, !m.request.open)
		return r, fmt.Errorf("%w: %w", strayError(BadSignature), err)
	}
	if proven != "" && proven != inner.Sender {
		return r, fmt.Errorf("%w: reply of %q is signed by %q", strayError(BadSignature), inner.Sender, proven)
	}
	r = Reply{
		Node: inner.Sender, RequestID: inner.RequestID, Agent: inner.Agent, Time: inner.Time,
		Received: m.Arrived, Protocol: secure.Reply, TokenEnds: ends,
	}
	if inner.Agent == discoveryAgent {
		return r, nil
	}
	body, err := choria.DecodeRPCReply(inner.Payload)
	if err != nil {
		return r, err
	}
	if inner.Agent == provisionAgent && body.StatusCode == choria.OK {
		if r.Delay, err = choria.AnnouncedDelay(body.Data); err != nil {
			return r, err
		}
	}
	r.Action, r.Code, r.Message, r.Data = body.Action, body.StatusCode, body.StatusMsg, bytes.Clone(body.Data) // a slice would keep the whole message
	return r, nil
}

// plausible reports what is wrong with an answer of this sender, without looking at the answer.
func (s *Session) plausible(p *pending, sender string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, asked := p.heard[sender]
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
	if p.heard[r.Node] == answered {
		return strayError(Duplicate)
	}
	p.heard[r.Node] = answered
	r.Sent = p.sent
	s.client.tokens.believed(r.Node, r.TokenEnds)
	return nil
}
