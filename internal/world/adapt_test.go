package world

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/proof"
	"fleetctl/rpcclient"
)

// Everything here stands between the world and the product's seams; nothing else in the package knows them.

// knownFaulty: the engine is the one that the faults were found in. Seeds then only report what the judge found.
const knownFaulty = false

// canPause: the engine knows pause and continue.
const canPause = true

// notYet are the faults of faults_test.go that this engine still has. A test that passes although it is listed fails.
var notYet = map[string]bool{}

var errNotStarted = errors.New("no connection: nothing was begun")

// identity is what the client needs.
type identity = rpcclient.Identity

// nullIdentity signs nothing and checks nothing, in the time that it is given for a reply.
type nullIdentity struct {
	version choria.Version
	slow    time.Duration
}

func (i nullIdentity) Version() choria.Version { return i.version }
func (nullIdentity) Caller() string            { return "choria=operator" }
func (nullIdentity) Sender() string            { return "client.example.net" }
func (i nullIdentity) Seal(_ context.Context, request []byte) ([]byte, error) {
	return choria.EncodeSecureRequest(choria.SecureRequest{Version: i.version, Request: request, Caller: "e30.e30.e30"})
}
func (i nullIdentity) OpenReply(choria.SecureReply, string) (string, error) {
	if i.slow > 0 {
		<-time.After(i.slow)
	}
	return "", nil
}

// OpenReplies takes as long as its slowest reply: groups are checked at once.
func (i nullIdentity) OpenReplies(group []choria.Opening, collective string) {
	for range group[:min(len(group), 1)] {
		_, _ = i.OpenReply(choria.SecureReply{}, collective)
	}
}

// wire is a connection as the client sees it.
type wire struct{ c *conn }

func (w wire) Publish(subject, reply string, data []byte) error {
	return w.c.publish(subject, reply, data)
}
func (w wire) Subscribe(ctx context.Context, subject string, deliver func(choria.Message)) (func(), error) {
	return w.c.subscribe(ctx, subject, func(m message) {
		deliver(choria.Message{Subject: m.subject, Data: bytes.Clone(m.data), Arrived: m.arrived, NoResponders: m.none})
	})
}
func (w wire) Reconnected() (time.Time, bool)  { return w.c.reconnectedLocked() }
func (w wire) Flush(ctx context.Context) error { return w.c.flush(ctx) }
func (wire) URL() string                       { return "nats://broker.example.net:4222" }

// drive runs or resumes a run as the command does.
func (p *process) drive(id identity, from batch.Progress) (batch.Summary, error) {
	client := rpcclient.New(wire{p.c}, id)
	session, err := client.Open(p.ctx, collective)
	if err != nil {
		return batch.Summary{}, fmt.Errorf("%w: %v", errNotStarted, err)
	}
	defer session.Close()
	a := &actor{
		session: session, newID: client.NewID, ids: map[int]string{}, batches: map[string]int{},
		outcomes: make(chan batch.Outcome, 256), done: make(chan struct{}), drain: make(chan chan struct{}),
		request: rpcclient.Request{Agent: "choria_provision", Action: p.s.action, Data: []byte(`{"token":"s3cret"}`), Collective: collective, TTL: p.s.ttl},
	}
	a.work.Go(a.pump)
	defer a.close()
	expr, err := p.s.demands()
	if err != nil {
		return batch.Summary{}, err
	}
	v := proof.New(proof.Options{
		Expr: expr, Client: client, Collective: collective, Action: proof.Of("choria_provision", p.s.action), Events: wire{p.c},
		Timeout: p.s.verifyTimeout, Settle: p.s.settle, TTL: p.s.ttl,
	})
	link, control := make(chan batch.Link, 64), make(chan batch.Control, 16)
	runner := batch.Runner{
		Actor: a, Outcomes: a.outcomes, Verifier: v, Prober: v, Journal: p.tape, Rules: p.rules, Pace: p.pace, Interrupt: p.interrupt,
		Link: link, Control: control, Lagging: p.lagging,
	}
	if p.s.gated {
		runner.Gates, runner.Gatekeeper = batch.Gates{Commands: []string{"world"}}, p
	}
	if p.s.plain {
		runner.Actor = struct {
			batch.Actor
			batch.Requester
		}{a, a}
	}
	a.work.Go(func() { p.news(a.done, link, control) })
	return runner.Run(p.ctx, from)
}

// news hands the connection's and the operator's changes to the engine.
func (p *process) news(done chan struct{}, link chan<- batch.Link, control chan<- batch.Control) {
	for {
		select {
		case l := <-p.c.links:
			if !l.up {
				p.w.mu.Lock()
				p.gates.closed = time.Now()
				p.w.mu.Unlock()
			}
			link <- batch.Link{Time: l.at, Up: l.up, Err: l.err}
		case c := <-p.control:
			control <- batch.Control{Time: c.at, Pause: c.pause, By: "operator"}
		case <-done:
			return
		}
	}
}

// absentRule is the limit of absent nodes.
func absentRule(r batch.Rules) batch.Amount { return r.MaxAbsent }

// limitAbsent sets it.
func limitAbsent(r *batch.Rules, n int) { r.MaxAbsent = batch.Number(n) }

// copyWait is how long the command waits before it resumes a record that is a copy.
func copyWait(s *spec) time.Duration {
	return cmp.Or(s.ttl, rpcclient.DefaultTTL) + proof.LongestDelay(proof.Of("choria_provision", s.action), 0) + 10*time.Second
}

// settleOf is how long a proof of the action must last.
func settleOf(action string) time.Duration {
	return proof.DefaultSettle(proof.Of("choria_provision", action))
}

// retryStates are the states behind the flags of retry.
func retryStates(flags ...string) []batch.State {
	var out []batch.State
	for _, f := range flags {
		words := []string{f}
		if f == "failed" {
			words = []string{"refused", "unverified"}
		}
		for _, word := range words {
			for _, s := range batch.States() {
				if s.String() == word {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// actor is the command's own, in small: it sends batches over one session and turns replies into outcomes.
type actor struct {
	session  *rpcclient.Session
	request  rpcclient.Request
	newID    func() string
	outcomes chan batch.Outcome
	done     chan struct{}
	drain    chan chan struct{} // asks the pump to move what is there
	work     sync.WaitGroup

	mu      sync.Mutex // guards ids and batches
	ids     map[int]string
	batches map[string]int
}

func (a *actor) close() {
	close(a.done)
	a.work.Wait()
}

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

func (a *actor) Act(ctx context.Context, number int, nodes []string) error {
	req := a.request
	req.ID = a.Request(number)
	_, err := a.session.Send(ctx, req, nodes)
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*rpcclient.SendError](err); ok {
		if len(e.Unsent) == 0 {
			return err
		}
		return &batch.NotSentError{Nodes: e.Unsent, Err: e.Err, Uncertain: !e.Certain}
	}
	return &batch.NotSentError{Err: err}
}

// Settle implements batch.Settler.
func (a *actor) Settle(ctx context.Context, at time.Time) error {
	if err := a.session.Settle(ctx, at); err != nil {
		return err
	}
	moved := make(chan struct{})
	select {
	case a.drain <- moved:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-moved:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func (a *actor) pump() {
	for {
		select {
		case r := <-a.session.Replies():
			a.hand(r)
		case moved := <-a.drain:
			for more := true; more; {
				select {
				case r := <-a.session.Replies():
					a.hand(r)
				default:
					more = false
				}
			}
			close(moved)
		case <-a.done:
			return
		}
	}
}

// hand gives a reply to the engine.
func (a *actor) hand(r rpcclient.Reply) {
	a.mu.Lock()
	o := batch.Outcome{
		Batch: a.batches[r.RequestID], Node: r.Node, Time: r.Received, OK: r.Code == choria.OK, Code: int(r.Code), Stamp: r.Time, Absent: r.Absent,
	}
	a.mu.Unlock()
	switch {
	case r.Absent:
		o.Code = 0
	case o.OK:
		o.Delay = announced(r.Data)
	default:
		o.Reason = r.Message
	}
	select {
	case a.outcomes <- o:
	case <-a.done:
	}
}

var delayText = regexp.MustCompile(`\bafter ([0-9]+[a-z0-9.]*)"`)

func announced(data []byte) time.Duration {
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
