package world

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/proof"
	"fleetctl/internal/secret"
	"fleetctl/internal/sender"
	"fleetctl/rpcclient"
)

// Everything here stands between the world and the product's seams; nothing else in the package knows them.

var errNotStarted = errors.New("no connection: nothing was begun")

// identity is what the client needs.
type identity = rpcclient.Identity

// nullIdentity signs nothing and checks nothing, in the time that it is given for a reply.
type nullIdentity struct {
	version choria.Version
	slow    time.Duration
	name    string // of the operator; "": operator
}

func (i nullIdentity) Version() choria.Version { return i.version }
func (i nullIdentity) Caller() string          { return "choria=" + cmp.Or(i.name, "operator") }
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
	a, err := sender.Open(p.ctx, client, sender.Options{
		Request: rpcclient.Request{Agent: "choria_provision", Action: p.s.action, Data: []byte(`{"token":"s3cret"}`), Collective: collective, TTL: p.s.ttl},
		Scrub:   &secret.Scrubber{},
		Allowed: []func(context.Context, []string) error{p.c.reaches},
	})
	if err != nil {
		return batch.Summary{}, fmt.Errorf("%w: %v", errNotStarted, err)
	}
	defer a.Close()
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
		Actor: a, Outcomes: a.Outcomes(), Verifier: v, Prober: v, Journal: p.tape, Rules: p.rules, Pace: p.pace, Interrupt: p.interrupt,
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
	done := make(chan struct{})
	var news sync.WaitGroup
	news.Go(func() { p.news(done, link, control) })
	defer news.Wait()
	defer close(done)
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
