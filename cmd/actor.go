package cmd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/proof"
	"fleetctl/internal/render"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// actor sends batches over one session, and turns the session's replies into the engine's outcomes. It keeps the
// replies for the result; the engine never sees an action's inputs or data.
type actor struct {
	session  *rpcclient.Session
	request  rpcclient.Request
	newID    func() string
	protocol bool // keep each reply's protocol document, for JSON lines
	scrub    scrubber

	outcomes chan batch.Outcome
	done     chan struct{}
	wait     sync.WaitGroup

	mu        sync.Mutex              // guards what follows
	batches   map[string]int          // request id to batch
	ids       map[int]string          // batch to request id
	replies   map[string]render.Reply // by node, until the engine has recorded them
	published time.Duration           // how long all publishing took
	signer    error                   // why the request signer did not sign, when it did not
}

func newActor(s *rpcclient.Session, r rpcclient.Request, newID func() string, scrub scrubber) *actor {
	a := &actor{
		session: s, request: r, newID: newID, scrub: scrub,
		outcomes: make(chan batch.Outcome, 256), done: make(chan struct{}),
		batches: map[string]int{}, ids: map[int]string{}, replies: map[string]render.Reply{},
	}
	a.wait.Go(a.pump)
	return a
}

// close ends the stream of outcomes; the session is the caller's.
func (a *actor) close() {
	close(a.done)
	a.wait.Wait()
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
		r.Problem = a.scrub.text(r.Problem) // a signer may quote the request
		err = fmt.Errorf("sign request for %s: %w", req.Agent, r)
		a.mu.Lock()
		a.signer = err
		a.mu.Unlock()
	}
	return &batch.NotSentError{Err: err} // it never came to publishing
}

// unsigned is why the request signer did not sign, nil when it did.
func (a *actor) unsigned() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.signer
}

// pump moves replies from the session to the engine until close.
func (a *actor) pump() {
	for {
		select {
		case r := <-a.session.Replies():
			if r.Absent || proof.Of(a.request.Agent, a.request.Action) != 0 && announcedDelay(r.Data) > proof.MaxDelay {
				continue // the second is malformed: no such action has such a delay
			}
			select {
			case a.outcomes <- a.outcome(r):
			case <-a.done:
				return
			}
		case <-a.done:
			return
		}
	}
}

func (a *actor) outcome(r rpcclient.Reply) batch.Outcome {
	kept := render.Reply{
		Sender: r.Node, Action: r.Action, StatusCode: int(r.Code), StatusMsg: a.scrub.text(r.Message), Data: a.scrub.bytes(r.Data), Time: r.Time.UTC(),
	}
	if a.protocol {
		kept.Protocol = a.scrub.bytes(r.Protocol)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.replies[r.Node] = kept
	o := batch.Outcome{
		Batch: a.batches[r.RequestID], Node: r.Node, Time: r.Received, OK: r.Code == choria.OK, Code: int(r.Code), Stamp: r.Time,
	}
	if o.OK {
		o.Delay = announcedDelay(r.Data)
	} else {
		o.Reason = kept.StatusMsg
	}
	return o
}

// take hands over a node's reply, once.
func (a *actor) take(node string) (render.Reply, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.replies[node]
	delete(a.replies, node)
	return r, ok
}

func (a *actor) publishTime() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.published
}

// delayText is how a provisioning server announces when it will act (docs/protocol.md, provisioning).
var delayText = regexp.MustCompile(`\bafter ([0-9]+[a-z0-9.]*)"`)

func announcedDelay(data []byte) time.Duration {
	m := delayText.FindSubmatch(data)
	if m == nil {
		return 0
	}
	d, err := time.ParseDuration(string(m[1]))
	if err != nil {
		return 0
	}
	return d
}
