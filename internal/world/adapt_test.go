//go:build !next

package world

import (
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
const knownFaulty = true

// canPause: the engine knows pause and continue.
const canPause = false

// notYet are the faults of faults_test.go that this engine still has. A test that passes although it is listed fails.
var notYet = map[string]bool{
	"sent twice": true, "ttl of polls": true, "accepted and proved nowhere": true, "absent": true, "sent time of a node that was not sent to": true,
	"sent before the servers are back": true, "dead end without a baseline": true, "silent in the last batch": true,
	"one refusal with a limit of five": true, "false proof": true, "stop rules sleep during a resume": true, "lagging copy": true,
	"frozen is not down": true, "frozen is not down in a resume": true, "announced after a year": true, "arrived and not counted": true,
}

// copiesBarSilent: after a record was replaced by a copy, planned nodes that are silent or absent at their baseline are
// not sent to, neither by a resume nor by a retry: their process may be younger than the record.
const copiesBarSilent = true

var errNotStarted = errors.New("no connection: nothing was begun")

// identity is what the client needs.
type identity = rpcclient.Identity

// nullIdentity signs nothing and checks nothing, in as much time as it is told to take for a reply.
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

// wire is a connection as the client sees it.
type wire struct{ c *conn }

func (w wire) Publish(subject string, data []byte) error { return w.c.publish(subject, "", data) }
func (w wire) Subscribe(ctx context.Context, subject string, deliver func(data []byte)) (func(), error) {
	return w.c.subscribe(ctx, subject, func(m message) {
		if !m.none {
			deliver(m.data)
		}
	})
}
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
		outcomes: make(chan batch.Outcome, 256), done: make(chan struct{}),
		request: rpcclient.Request{Agent: "choria_provision", Action: p.s.action, Data: []byte(`{"token":"s3cret"}`), Collective: collective, TTL: p.s.ttl},
	}
	a.work.Go(a.pump)
	defer a.close()
	v := proof.New(proof.Options{
		Client: client, Collective: collective, Action: proof.Of("choria_provision", p.s.action), Events: wire{p.c},
		Timeout: p.s.verifyTimeout, Settle: p.s.settle, TTL: p.s.ttl,
	})
	runner := batch.Runner{
		Actor: a, Outcomes: a.outcomes, Verifier: v, Prober: v, Journal: p.tape, Rules: p.rules, Pace: p.pace, Interrupt: p.interrupt,
	}
	return runner.Run(p.ctx, from)
}

// absentRule is the limit of absent nodes; this engine has none.
func absentRule(batch.Rules) batch.Amount { return batch.Amount{} }

// limitAbsent sets it.
func limitAbsent(*batch.Rules, int) {}

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

func (a *actor) pump() {
	for {
		select {
		case r := <-a.session.Replies():
			a.mu.Lock()
			o := batch.Outcome{
				Batch: a.batches[r.RequestID], Node: r.Node, Time: r.Received, OK: r.Code == choria.OK, Code: int(r.Code), Stamp: r.Time,
			}
			a.mu.Unlock()
			if o.OK {
				o.Delay = announced(r.Data)
			} else {
				o.Reason = r.Message
			}
			select {
			case a.outcomes <- o:
			case <-a.done:
				return
			}
		case <-a.done:
			return
		}
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
