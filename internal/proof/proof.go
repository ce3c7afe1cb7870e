// Package proof finds out whether a dangerous action really happened on a node.
//
// "OK" from a server means that it accepted a request: it acts seconds later, and reports nothing. This package knows the
// proof of each action (docs/protocol.md, provisioning):
//
//   - restart: the server runs a process that began after the request was sent;
//   - reprovision: the server announces itself in provisioning mode, or runs such a process;
//   - shutdown: the server has left the broker and stays away;
//   - release_update: the server runs such a process, of the version asked for.
//
// Events show when to look; polling decides. The package implements the engine's Verifier and Prober. It does not know
// batches, journals or flags.
//
// Invariants. Every request of this package is read-only; no action is sent again because a node was silent. Times
// of a node are only compared with times of the same node, so that skewed clocks do not matter. A look counts only if
// the connection was up from the moment the poll was sent until the look ended. What cannot be proved is never called
// proved. All state of one Verify lives in one goroutine, that of its consumer.
package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/rpcclient"
)

// Action is what is to be proved.
type Action uint8

// The actions that can be proved. The zero value is unset.
const (
	Restart Action = iota + 1
	Reprovision
	Shutdown
	Update // release_update, in provisioning mode
	// Expression holds when a read-only action's reply satisfies an expression.
	Expression
	actions
)

var actionNames = [actions]string{"unset", "restart", "reprovision", "shutdown", "release_update", "expression"}

// String returns the name; it works for every value.
func (a Action) String() string {
	if a >= actions {
		return "unknown"
	}
	return actionNames[a]
}

// Of is the action that an agent's action is proved as; 0 when there is no proof of it.
func Of(agent, action string) Action {
	if agent != "choria_provision" {
		return 0
	}
	for a := Restart; a < Expression; a++ {
		if actionNames[a] == action {
			return a
		}
	}
	return 0
}

// How long the actions wait before they act, at most, and the settle time of a shutdown (docs/protocol.md,
// provisioning).
const (
	minDelay       = 2 * time.Second
	defaultSplay   = 10 * time.Second
	shutdownDelay  = 10 * time.Second
	shutdownSettle = 25 * time.Second // longer than servers take to come back to a broker that was restarted
	maxSplay       = 600 * time.Second
	// MaxDelay is the longest delay that one of the actions can announce. A reply that announces more is malformed, and
	// nothing here waits longer.
	MaxDelay = maxSplay + defaultSplay - time.Second + minDelay
	// An update is a download from anywhere, so that it has no longest duration. It acts 2 s after it has ended.
	updateTime     = 5 * time.Minute
	defaultTimeout = 60 * time.Second
	clockMargin    = 5 * time.Second  // for what clocks and whole seconds may differ
	linkSettle     = 30 * time.Second // servers are back this long after their broker is
	returnTime     = 10 * time.Second // servers that restart are connected again by then, mostly
	promptAbsence  = 90 * time.Second // of a node that did not reply: it may have frozen before the request
	// keptFor is how long a frozen server is certain to keep its subscription: a NATS broker pings every 2 minutes, and closes
	// the connection 4 minutes after the first ping without an answer (docs/protocol.md, no responders).
	keptFor    = 210 * time.Second
	answerTime = 4 * time.Second // rpcutil answers within 2 s (docs/protocol.md, rpcutil), and upstream adds 2
	maxPoll    = 5000            // nodes of one request
)

// LongestDelay returns the longest time between a server's reply and its act. For an update it is the time between
// sending the request and the act, because an update replies at its end or not at all. splay is the input of
// restart; 0 means the server's default.
func LongestDelay(a Action, splay time.Duration) time.Duration {
	switch a {
	case Restart:
		if splay <= 0 {
			splay = defaultSplay
		}
		return splay - time.Second + minDelay
	case Reprovision:
		return defaultSplay - time.Second + minDelay
	case Shutdown:
		return shutdownDelay - time.Second
	case Update:
		return updateTime
	}
	return 0
}

// DefaultTimeout is how long proof of the action is looked for when Options name no time.
func DefaultTimeout(a Action) time.Duration {
	if a == Update {
		return updateTime
	}
	return defaultTimeout
}

// DefaultSettle is how long a proof of the action must last.
func DefaultSettle(a Action) time.Duration {
	if a == Shutdown {
		return shutdownSettle
	}
	return 0
}

// Events is a source of lifecycle events; the bus connection is one.
type Events interface {
	// Subscribe returns once the broker has accepted the subscription. Deliver must not block.
	Subscribe(ctx context.Context, subject string, deliver func(choria.Message)) (stop func(), err error)
}

// Options define what is proved and within which limits.
type Options struct {
	Client     *rpcclient.Client
	Collective string
	Action     Action
	// Events may be nil: then polling alone decides.
	Events Events
	// Timeout begins when the delay that a node announced has ended, or when the node is handed over, if that is later
	// (as after a resume). That of an update begins when its request was sent. Zero means DefaultTimeout.
	Timeout time.Duration
	// Settle is how long a proof must last; zero is not at all. See DefaultSettle.
	Settle time.Duration
	// LongestDelay is assumed where a node announced none; zero is that of the action with the server's default splay.
	LongestDelay time.Duration
	// TTL is the time to live of the requests whose effect is looked for, and of the polls; zero is rpcclient.DefaultTTL.
	TTL time.Duration
	// Elapsed returns the least time that has certainly passed since a moment, which may come from the record of an
	// earlier process; nil means batch.Shortest.
	Elapsed func(since, now time.Time) time.Duration
	// Poll and Expr belong to Expression: the read-only action that is asked, and what its reply must satisfy. With
	// Restart and Reprovision Expr may be set too, with Update it must: then the proof also needs it, of
	// rpcutil#daemon_stats.
	Poll rpcclient.Request
	Expr *filter.ReplyExpr
	// Tokens makes Baseline look at the nodes' tokens: those that the client keeps (rpcclient.Client.KeepTokens). Then a
	// silent node whose token is known has an entry, too.
	Tokens bool
}

// Validate refuses a combination that proves nothing.
func (o Options) Validate() error {
	switch {
	case o.Action == 0 || o.Action >= actions:
		return fmt.Errorf("cannot prove action %d", o.Action)
	case o.Client == nil:
		return errors.New("cannot prove anything without a client")
	case o.Timeout < 0 || o.Settle < 0 || o.LongestDelay < 0 || o.TTL < 0:
		return errors.New("cannot prove within a negative time")
	case o.Action == Expression && (o.Expr == nil || o.Poll.Agent == "" || o.Poll.Action == ""):
		return errors.New("cannot prove an expression without an action to ask and the expression")
	case o.Action == Update && o.Expr == nil:
		return errors.New("cannot prove an update without the version as an expression")
	case o.Action == Shutdown && o.Expr != nil:
		return errors.New("cannot ask a node that is shut down for an expression")
	}
	return nil
}

// Verifier proves one action. It implements batch.Verifier and batch.Prober; its methods may run side by side.
type Verifier struct{ o Options }

var (
	_ batch.Verifier = (*Verifier)(nil)
	_ batch.Prober   = (*Verifier)(nil)
)

// New returns a verifier. The options must be valid.
func New(o Options) *Verifier {
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout(o.Action))
	o.TTL = cmp.Or(o.TTL, rpcclient.DefaultTTL)
	o.LongestDelay = cmp.Or(o.LongestDelay, LongestDelay(o.Action, 0))
	if o.Action == Update {
		o.LongestDelay = max(o.LongestDelay, o.Timeout)
	}
	if o.Elapsed == nil {
		o.Elapsed = batch.Shortest
	}
	return &Verifier{o: o}
}

// poll is the read-only request that is asked: the user's own, or the one whose answer holds the start time.
func (v *Verifier) poll() rpcclient.Request {
	r := rpcclient.Request{Agent: "rpcutil", Action: "daemon_stats"}
	if v.o.Action == Expression {
		r = v.o.Poll
	}
	r.Collective, r.TTL, r.ID = v.o.Collective, v.o.TTL, "" // each request needs an id of its own
	return r
}

// due returns the latest time at which a node acts, if it acts. After a reply to an update, only the restart is
// left. A node that did not reply to an update may act until the verify timeout ends.
func (v *Verifier) due(t batch.Target) time.Time {
	switch update := v.o.Action == Update; {
	case update && t.Replied.IsZero():
		return t.LeftBy().Add(v.o.Timeout)
	case update && t.Delay <= 0:
		return t.Replied.Add(minDelay)
	case t.Replied.IsZero():
		return t.LeftBy().Add(v.o.LongestDelay)
	case t.Delay > 0:
		return t.Replied.Add(min(t.Delay, MaxDelay))
	}
	return t.Replied.Add(v.o.LongestDelay)
}
