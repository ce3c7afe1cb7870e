// Package sender brings the batches of a run to the nodes: it names their requests, sends them over one session, and turns
// replies into the engine's outcomes.
//
// It knows the engine's Actor and the client's session; it does not know guards, records or the operator. Invariants: what
// it hands to the engine holds no secret; a batch that may not have left is reported as such, never as sent.
package sender

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/lease"
	"fleetctl/internal/secret"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// Sender sends batches over one session, and turns the session's replies into the engine's outcomes. The reply rides on
// its outcome, without secrets; the engine never looks into it. It is safe for concurrent use.
type Sender struct {
	o        Options
	session  *rpcclient.Session
	newID    func() string
	outcomes chan batch.Outcome

	mu        sync.Mutex     // guards what follows
	batches   map[string]int // request id to batch
	ids       map[int]string // batch to request id, of those that were not sent yet
	published time.Duration  // how long all publishing took
	signer    error          // why the request signer did not sign, when it did not
	behind    time.Duration  // the longest that what had arrived waited to be decoded when a wait was over
}

// Options are what a Sender sends, and how.
type Options struct {
	Request  rpcclient.Request // of every batch, but for its id
	Scrub    *secret.Scrubber  // takes secrets out of replies
	Protocol bool              // keep each reply's protocol document
	// Allowed are asked before each batch. An error keeps the batch from being sent.
	Allowed []func(ctx context.Context, nodes []string) error
}

// Open opens the session. The caller closes the Sender.
func Open(ctx context.Context, client *rpcclient.Client, o Options) (*Sender, error) {
	a := &Sender{o: o, newID: client.NewID, outcomes: make(chan batch.Outcome, 256), batches: map[string]int{}, ids: map[int]string{}}
	var err error
	a.session, err = client.OpenTo(ctx, o.Request.Collective, a.deliver)
	return a, err
}

// Close ends the stream of outcomes.
func (a *Sender) Close() { a.session.Close() }

// Outcomes is the stream of what nodes replied, until Close. It is never closed.
func (a *Sender) Outcomes() <-chan batch.Outcome { return a.outcomes }

// Strays counts the replies that were not trusted.
func (a *Sender) Strays() rpcclient.Strays { return a.session.Strays() }

// deliver hands a reply to the engine, until the session ends.
func (a *Sender) deliver(r rpcclient.Reply, done <-chan struct{}) {
	select {
	case a.outcomes <- a.outcome(r):
	case <-done:
	}
}

// Request names a batch's request before it is sent, for the record of the intent.
func (a *Sender) Request(number int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, ok := a.ids[number]
	if !ok {
		id = a.newID()
		a.ids[number], a.batches[id] = id, number
	}
	return id
}

// patience is how long the broker may take to confirm a batch while the connection stands: longer than the bus keeps a
// connection whose broker is silent.
const patience = 2 * time.Minute

// Act implements batch.Actor.
func (a *Sender) Act(ctx context.Context, number int, nodes []string) error {
	for _, allowed := range a.o.Allowed {
		if err := allowed(ctx, nodes); err != nil {
			return &batch.NotSentError{Err: err, Again: passes(err)}
		}
	}
	req := a.o.Request
	req.ID, req.Patience = a.Request(number), patience
	sent, err := a.session.Send(ctx, req, nodes)
	a.mu.Lock()
	a.published += sent.Took
	if err == nil {
		delete(a.ids, number) // it is sent once
	}
	a.mu.Unlock()
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*rpcclient.SendError](err); ok {
		switch {
		case e.Lost && e.Certain: // nothing left
			return &batch.NotSentError{Err: e.Err, Again: true}
		case len(e.Unsent) == 0 && !e.Lost:
			return err
		}
		return &batch.NotSentError{Nodes: append([]string{}, e.Unsent...), Err: e.Err, Uncertain: !e.Certain, Again: e.Lost}
	}
	if r, ok := errors.AsType[*security.RemoteError](err); ok {
		r.Problem = a.o.Scrub.Text(r.Problem) // a signer may quote the request
		err = fmt.Errorf("sign request for %s: %w", req.Agent, r)
		a.mu.Lock()
		a.signer = err
		a.mu.Unlock()
	}
	return &batch.NotSentError{Err: err, Again: passes(err)} // publishing never began
}

// passes reports whether what kept a batch from leaving passes by itself: a lost connection, a broker that does not confirm.
func passes(err error) bool { return lease.Unconfirmed(err) || errors.Is(err, rpcclient.ErrLost) }

// Settle implements batch.Settler.
func (a *Sender) Settle(ctx context.Context, at time.Time) error {
	_, behind := a.session.Behind()
	a.mu.Lock()
	a.behind = max(a.behind, behind)
	a.mu.Unlock()
	return a.session.Settle(ctx, at)
}

// Tardiness is how far this process was behind the network at most when a wait for replies was over, and how many messages
// it dropped because more waited than fit.
func (a *Sender) Tardiness() (behind time.Duration, dropped int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.behind, a.session.Dropped()
}

// Unsigned is why the request signer did not sign, nil when it did.
func (a *Sender) Unsigned() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.signer
}

// PublishTime is how long all publishing took.
func (a *Sender) PublishTime() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.published
}

func (a *Sender) outcome(r rpcclient.Reply) batch.Outcome {
	a.mu.Lock()
	number := a.batches[r.RequestID]
	a.mu.Unlock()
	r.Message, r.Data = a.o.Scrub.Text(r.Message), a.o.Scrub.Bytes(r.Data)
	if a.o.Protocol {
		r.Protocol = a.o.Scrub.Bytes(r.Protocol)
	} else {
		r.Protocol = nil // a slice of it would keep the whole message
	}
	if r.Absent {
		return batch.Outcome{Batch: number, Node: r.Node, Time: r.Received, Absent: true}
	}
	o := batch.Outcome{Batch: number, Node: r.Node, Time: r.Received, OK: r.OK(), Code: int(r.Code), Stamp: r.Time, Reply: &r}
	if o.Delay = r.Delay; !o.OK {
		o.Reason = r.Message
	}
	return o
}
