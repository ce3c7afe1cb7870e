package rpcclient

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"fleetctl/internal/choria"
)

// federatedTargets is how many subjects one message to a federation names at most (docs/protocol.md, federation).
const federatedTargets = 200

// NewFederated returns a client whose requests reach the collectives of federations: they are handed to the federations'
// brokers, which publish them on and pass the replies back. Each name counts once. Without names it is New.
func NewFederated(conn Conn, id Identity, federations []string) *Client {
	c := New(conn, id)
	for _, name := range federations {
		if !slices.Contains(c.federations, name) {
			c.federations = append(c.federations, name)
		}
	}
	return c
}

// letter is a signed request on its way out: transports differ, the signed bytes never do.
type letter struct {
	id        string // the request's
	transport choria.Transport
}

// seal signs a request, once.
func (c *Client) seal(ctx context.Context, r choria.Request, replyTo string) (letter, error) {
	body, err := choria.EncodeRequest(r)
	if err != nil {
		return letter{}, fmt.Errorf("make request for %s: %w", r.Agent, err)
	}
	secure, err := c.id.Seal(ctx, body)
	if err != nil {
		return letter{}, fmt.Errorf("sign request for %s: %w", r.Agent, err)
	}
	url := c.conn.URL()
	return letter{id: r.ID, transport: choria.Transport{
		Version: c.id.Version(), Data: secure, ReplyTo: replyTo, Sender: c.id.Sender(),
		SeenBy: [][3]string{{url, c.id.Sender(), url}},
	}}, nil
}

// parcel is one message to publish.
type parcel struct {
	subject string
	data    []byte
	index   int // the subject's, in the order of the request's subjects; federations have none
	// through counts the request's subjects that have been handed over once this parcel has.
	through int
}

// parcels are the messages that bring a letter to its subjects: the same bytes for each, or for each federation one
// message for every 200 of them.
func (c *Client) parcels(l letter, subjects []string) iter.Seq2[parcel, error] {
	if len(c.federations) > 0 {
		return c.federatedParcels(l, subjects)
	}
	return func(yield func(parcel, error) bool) {
		data, err := choria.EncodeTransport(l.transport)
		if err != nil {
			yield(parcel{}, fmt.Errorf("make transport: %w", err))
			return
		}
		for i, subject := range subjects {
			if !yield(parcel{subject, data, i, i + 1}, nil) {
				return
			}
		}
	}
}

func (c *Client) federatedParcels(l letter, subjects []string) iter.Seq2[parcel, error] {
	return func(yield func(parcel, error) bool) {
		through := 0
		for targets := range slices.Chunk(subjects, federatedTargets) {
			t := l.transport
			t.Federation = &choria.Federation{RequestID: l.id, Targets: targets}
			data, err := choria.EncodeTransport(t)
			if err != nil {
				yield(parcel{}, fmt.Errorf("make transport: %w", err))
				return
			}
			through += len(targets)
			for _, name := range c.federations {
				if !yield(parcel{choria.FederationSubject(name), data, 0, through}, nil) {
					return
				}
			}
		}
	}
}

// publish hands a request over for every subject and flushes. published counts the subjects handed over, in federations to
// one of them at least, and is negative when there was nothing to hand over. A connection that was lost meanwhile is an
// error also when it is back: what it had taken is gone.
func (s *Session) publish(ctx context.Context, r choria.Request, p *pending, subjects []string) (sent Sent, published int, err error) {
	defer func() { s.logSent(r, p.action, len(subjects), published, sent, err) }()
	l, err := s.client.seal(ctx, r, cmp.Or(s.elsewhere, s.prefix+r.ID))
	if err != nil {
		return Sent{}, -1, err
	}
	if p.sealed != nil {
		if err := p.sealed(); err != nil {
			return Sent{}, -1, err
		}
	}
	before := s.client.link()
	s.register(r.ID, p)
	p.keepUntil = p.sent.Add(min(keepWhole, r.TTL/2))
	sent = Sent{ID: r.ID, Start: p.sent}
	notices := p.absentSubjects(s.prefix, r.ID)
	for parcel, err := range s.client.parcels(l, subjects) {
		if err == nil && parcel.index%publishStep == publishStep-1 {
			s.keepStep(ctx, p, parcel.index)
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			notice := ""
			if p.tokens != nil {
				notice = notices.get(parcel.index)
			}
			err = s.client.conn.Publish(parcel.subject, notice, parcel.data)
		}
		if err != nil {
			return sent, published, err
		}
		published = parcel.through
	}
	s.mu.Lock()
	p.published = true
	p.settle()
	s.mu.Unlock()
	if p.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.patience)
		defer cancel()
	}
	if err := s.client.conn.Flush(ctx); err != nil {
		return sent, published, err
	}
	if err := s.client.intact(before); err != nil {
		return sent, published, err
	}
	sent.Took = time.Since(sent.Start)
	return sent, published, nil
}

const (
	// publishStep is how many copies of a request leave before it is looked at whether the answers are kept up with, and
	// maxFlying how many may be unanswered then: checking takes longer than sending, and what waits takes memory.
	publishStep = 1024
	maxFlying   = 16 * publishStep
	// keepPatience is how long an answer is waited for: the rest may be silent. keepWhole bounds all that waiting within
	// one request, and so does half of its time to live: servers drop older copies silently.
	keepPatience = 250 * time.Millisecond
	keepWhole    = 10 * time.Second
)

// keepStep waits until fewer of the copies that were published are unanswered than may be, as long as answers come.
func (s *Session) keepStep(ctx context.Context, p *pending, published int) {
	if !p.keepsPace || published < s.client.flying {
		return
	}
	quiet := time.NewTimer(keepPatience)
	defer quiet.Stop()
	for s.flying(p, published) > s.client.flying && time.Now().Before(p.keepUntil) {
		quiet.Reset(keepPatience)
		select {
		case <-s.inbox.progress:
		case <-quiet.C:
			p.keepsPace = false // a node that answers late is not waited for at every step
			return
		case <-ctx.Done():
			return
		}
	}
}

// flying is how many of the copies that were published are unanswered.
func (s *Session) flying(p *pending, published int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return published - p.concluded
}
