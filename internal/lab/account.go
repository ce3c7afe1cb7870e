package lab

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

var errBrokerDown = errors.New("the lab's broker is down")

// account is one account of the broker with the lab's own connection to it, over which
// all nodes in that account talk. A subject is subscribed while at least one node wants
// it, so that the broker answers 503 for a node that is not connected (docs/protocol.md,
// no responders).
type account struct {
	nursery bool
	user    string         // of the lab's own connection
	inbox   chan *nats.Msg // everything that arrives, in order; lives as long as the lab

	mu      sync.Mutex // guards everything below
	conn    *nats.Conn // nil while the broker is down
	held    map[string]*held
	flushed func() error // waits for the broker's answer over conn
}

// held is a subscription, and how many nodes want it.
type held struct {
	nodes int
	sub   *nats.Subscription
}

// newAccount makes room for what a large fleet gets at once: a message that finds the
// inbox full is lost.
func newAccount(user string, nursery bool, nodes int) *account {
	return &account{user: user, nursery: nursery, inbox: make(chan *nats.Msg, 1<<14+4*nodes), held: make(map[string]*held)}
}

// open takes the connection to a broker that has just started. Nothing is subscribed yet.
// The context bounds nothing: flushes outlive the start.
func (a *account) open(ctx context.Context, conn *nats.Conn) {
	lasting := context.WithoutCancel(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn, a.held = conn, make(map[string]*held)
	a.flushed = func() error {
		ctx, cancel := context.WithTimeout(lasting, startTimeout)
		defer cancel()
		return conn.FlushWithContext(ctx)
	}
}

// close ends the connection, and with it all subscriptions.
func (a *account) close() {
	a.mu.Lock()
	conn := a.conn
	a.conn, a.held = nil, make(map[string]*held)
	a.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// join adds one node's wish for each subject. The broker knows them after a flush.
func (a *account) join(subjects []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil {
		return errBrokerDown
	}
	for i, subject := range subjects {
		h := a.held[subject]
		if h == nil {
			sub, err := a.conn.ChanSubscribe(subject, a.inbox)
			if err != nil {
				a.withdraw(subjects[:i])
				return err
			}
			h = &held{sub: sub}
			a.held[subject] = h
		}
		h.nodes++
	}
	return nil
}

// leave takes back what join added. Without a connection there is nothing left to take.
func (a *account) leave(subjects []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.withdraw(subjects)
}

// withdraw needs the lock.
func (a *account) withdraw(subjects []string) {
	for _, subject := range subjects {
		h := a.held[subject]
		if h == nil {
			continue
		}
		if h.nodes--; h.nodes == 0 {
			delete(a.held, subject)
			// An error means that the connection has ended, and the subscription with it.
			_ = h.sub.Unsubscribe()
		}
	}
}

// flush returns when the broker has read all that was sent to it.
func (a *account) flush() error {
	a.mu.Lock()
	conn, flushed := a.conn, a.flushed
	a.mu.Unlock()
	if conn == nil {
		return errBrokerDown
	}
	return flushed()
}

func (a *account) publish(subject string, data []byte) error {
	a.mu.Lock()
	conn := a.conn
	a.mu.Unlock()
	if conn == nil {
		return errBrokerDown
	}
	return conn.Publish(subject, data)
}
