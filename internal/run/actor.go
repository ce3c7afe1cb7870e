package run

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

// actor sends batches over one session, and turns the session's replies into the engine's outcomes. The reply rides on
// its outcome, without secrets; the engine never looks into it.
type actor struct {
	session  *rpcclient.Session
	request  rpcclient.Request
	newID    func() string
	protocol bool // keep each reply's protocol document
	scrub    *secret.Scrubber
	outcomes chan batch.Outcome
	// allowed are asked before each batch. An error keeps the batch from being sent.
	allowed []func(ctx context.Context, nodes []string) error

	mu        sync.Mutex     // guards what follows
	batches   map[string]int // request id to batch
	ids       map[int]string // batch to request id
	published time.Duration  // how long all publishing took
	signer    error          // why the request signer did not sign, when it did not
	behind    time.Duration  // the longest that what had arrived waited to be decoded when a wait was over
}

func newActor(ctx context.Context, client *rpcclient.Client, r rpcclient.Request, scrub *secret.Scrubber, protocol bool) (*actor, error) {
	a := &actor{
		request: r, newID: client.NewID, scrub: scrub, protocol: protocol,
		outcomes: make(chan batch.Outcome, 256), batches: map[string]int{}, ids: map[int]string{},
	}
	var err error
	a.session, err = client.OpenTo(ctx, r.Collective, a.deliver)
	return a, err
}

// close ends the stream of outcomes.
func (a *actor) close() { a.session.Close() }

// deliver hands a reply to the engine, until the session ends.
func (a *actor) deliver(r rpcclient.Reply, done <-chan struct{}) {
	select {
	case a.outcomes <- a.outcome(r):
	case <-done:
	}
}

// Request names a batch's request before it is sent, for the record of the intent.
func (a *actor) Request(number int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, ok := a.ids[number]
	if !ok {
		id = a.newID()
		a.ids[number], a.batches[id] = id, number
	}
	return id
}

// Act implements batch.Actor.
func (a *actor) Act(ctx context.Context, number int, nodes []string) error {
	for _, allowed := range a.allowed {
		if err := allowed(ctx, nodes); err != nil {
			return &batch.NotSentError{Err: err, Again: lease.Unconfirmed(err)}
		}
	}
	req := a.request
	req.ID = a.Request(number)
	sent, err := a.session.Send(ctx, req, nodes)
	a.mu.Lock()
	a.published += sent.Took
	a.mu.Unlock()
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*rpcclient.SendError](err); ok {
		if len(e.Unsent) == 0 {
			return err
		}
		return &batch.NotSentError{Nodes: e.Unsent, Err: e.Err, Uncertain: !e.Certain}
	}
	if r, ok := errors.AsType[*security.RemoteError](err); ok {
		r.Problem = a.scrub.Text(r.Problem) // a signer may quote the request
		err = fmt.Errorf("sign request for %s: %w", req.Agent, r)
		a.mu.Lock()
		a.signer = err
		a.mu.Unlock()
	}
	return &batch.NotSentError{Err: err, Again: lease.Unconfirmed(err)} // publishing never began
}

// Settle implements batch.Settler.
func (a *actor) Settle(ctx context.Context, at time.Time) error {
	_, behind := a.session.Behind()
	a.mu.Lock()
	a.behind = max(a.behind, behind)
	a.mu.Unlock()
	return a.session.Settle(ctx, at)
}

// tardiness is how far this process was behind the network at most when a wait for replies was over, and how many messages
// it dropped because more waited than fit.
func (a *actor) tardiness() (behind time.Duration, dropped int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.behind, a.session.Dropped()
}

// unsigned is why the request signer did not sign, nil when it did.
func (a *actor) unsigned() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.signer
}

func (a *actor) publishTime() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.published
}

func (a *actor) outcome(r rpcclient.Reply) batch.Outcome {
	a.mu.Lock()
	number := a.batches[r.RequestID]
	a.mu.Unlock()
	r.Message, r.Data = a.scrub.Text(r.Message), a.scrub.Bytes(r.Data)
	if a.protocol {
		r.Protocol = a.scrub.Bytes(r.Protocol)
	} else {
		r.Protocol = nil // a slice of it would keep the whole message
	}
	if r.Absent {
		return batch.Outcome{Batch: number, Node: r.Node, Time: r.Received, Absent: true}
	}
	o := batch.Outcome{Batch: number, Node: r.Node, Time: r.Received, OK: r.OK(), Code: int(r.Code), Stamp: r.Time, Reply: r}
	if o.Delay = r.Delay; !o.OK {
		o.Reason = r.Message
	}
	return o
}
