package lab

import (
	"bytes"
	"context"
	"time"

	"fleetctl/internal/choria"
)

const (
	// brokerPatience is how long a broker keeps the subscriptions of a process that does
	// not answer its pings: two of them, two minutes apart (docs/protocol.md, no responders).
	brokerPatience = 4 * time.Minute
	// Servers come back after a broker's restart within these (docs/protocol.md, no responders).
	shortestBackoff = 500 * time.Millisecond
	longestBackoff  = 20 * time.Second
	maxOutbox       = 256 // messages that a node keeps while it is not connected
)

// outgoing is a message that waits for the connection.
type outgoing struct {
	subject string
	data    []byte
}

// subjects are the subscriptions of a process in an account.
func (n *node) subjects(nursery bool) []string {
	var subjects []string
	for _, collective := range n.collectivesIn(nursery) {
		subjects = append(subjects, choria.NodeSubject(collective, n.identity))
		for _, agent := range n.agentsIn(nursery) {
			if n.offers(agent) {
				subjects = append(subjects, choria.ServiceSubject(collective, agent))
			} else {
				subjects = append(subjects, choria.BroadcastSubject(collective, agent))
			}
		}
	}
	return subjects
}

// wanted is the account in which the node should be subscribed now, nil for none. The
// caller holds mu.
func (n *node) wanted() *account {
	switch {
	case n.cut || n.severed || n.ending:
		return nil
	case n.state == Up:
		return n.lab.broker.main
	case n.state == Provisioning:
		return n.lab.broker.nursery
	default:
		return nil
	}
}

// link makes the broker's subscriptions fit what the node wants, and returns when the
// broker knows.
func (n *node) link(why string) {
	n.linking.Lock()
	defer n.linking.Unlock()
	n.relink(why, true)
}

// relink is link for callers that hold linking. Without wait the broker may learn later.
func (n *node) relink(why string, wait bool) {
	n.mu.Lock()
	have, want := n.account, n.wanted()
	n.mu.Unlock()
	if have == want {
		return
	}
	if have != nil {
		have.leave(n.subjects(have.nursery))
		n.flush(have, wait)
		n.mu.Lock()
		n.account = nil
		n.note(Disconnected, nil, why)
		n.mu.Unlock()
	}
	if want == nil {
		return
	}
	// Requests may come as soon as the first subscription stands.
	n.mu.Lock()
	n.account = want
	n.mu.Unlock()
	if err := want.join(n.subjects(want.nursery)); err != nil {
		n.mu.Lock()
		n.account = nil
		n.mu.Unlock()
		return
	}
	n.flush(want, wait)
	n.mu.Lock()
	n.note(Connected, nil, why)
	outbox := n.outbox
	n.outbox = nil
	n.mu.Unlock()
	for _, m := range outbox {
		n.send(want.nursery, m.subject, m.data)
	}
}

func (n *node) flush(a *account, wait bool) {
	if !wait {
		return
	}
	if err := a.flush(); err != nil {
		n.lab.log.Debug("flush", "node", n.identity, "error", err)
	}
}

// send publishes in an account. A node that has lost its connection keeps the message
// until it is back, as real ones do; a message of a process that has ended is dropped.
// The data may be reused afterwards.
func (n *node) send(nursery bool, subject string, data []byte) {
	n.mu.Lock()
	a := n.account
	if a == nil && n.runs() && nursery == (n.state == Provisioning) && len(n.outbox) < maxOutbox {
		n.outbox = append(n.outbox, outgoing{subject, bytes.Clone(data)})
	}
	n.mu.Unlock()
	if a == nil || a.nursery != nursery {
		return
	}
	if err := a.publish(subject, data); err != nil {
		n.lab.log.Debug("publish", "node", n.identity, "subject", subject, "error", err)
	}
}

// runs reports whether the node has a process. The caller holds mu.
func (n *node) runs() bool { return n.state == Up || n.state == Provisioning }

// disconnect cuts the node's network.
func (n *node) disconnect(why string) {
	n.mu.Lock()
	n.cut = true
	n.mu.Unlock()
	n.link(why)
	n.lab.changed.announce()
}

// reconnect gives it back.
func (n *node) reconnect() {
	n.mu.Lock()
	n.cut = false
	n.mu.Unlock()
	n.link("the network is back")
	n.lab.changed.announce()
}

// freeze is SIGSTOP. The subscriptions stay until the broker's pings give up.
func (n *node) freeze() {
	n.mu.Lock()
	if !n.runs() || n.frozen {
		n.mu.Unlock()
		return
	}
	n.frozen = true
	n.freezes++
	freeze := n.freezes
	n.note(Froze, nil, "")
	n.mu.Unlock()
	n.lab.after(brokerPatience, func() {
		n.mu.Lock()
		n.severed = n.frozen && n.freezes == freeze
		severed := n.severed
		n.mu.Unlock()
		if severed {
			n.link("the broker's pings gave up")
			n.lab.changed.announce()
		}
	})
	n.lab.changed.announce()
}

// thaw is SIGCONT: first comes what had arrived, then a new connection where the broker
// has given the old one up.
func (n *node) thaw() {
	n.mu.Lock()
	if !n.frozen {
		n.mu.Unlock()
		return
	}
	waiting := n.waiting
	n.frozen, n.severed, n.waiting = false, false, nil
	n.note(Thawed, nil, "")
	n.mu.Unlock()
	for _, f := range waiting {
		f()
	}
	n.link("thawed")
	n.lab.changed.announce()
}

// StopBroker ends the broker as a crash does: every connection is lost, and what nodes
// publish meanwhile waits for the next one. It returns when the port is free.
func (l *Lab) StopBroker() {
	l.brokerMu.Lock()
	defer l.brokerMu.Unlock()
	l.broker.stop()
	for _, n := range l.nodes {
		n.linking.Lock()
		n.mu.Lock()
		if n.account != nil {
			n.account = nil
			n.note(Disconnected, nil, "the broker is gone")
		}
		n.mu.Unlock()
		n.linking.Unlock()
	}
	l.changed.announce()
}

// StartBroker starts it again on the same port. The nodes come back one by one, each
// after 0.5 to 20 s that the seed decides; Reconnect makes one come back at once.
func (l *Lab) StartBroker(ctx context.Context) error {
	l.brokerMu.Lock()
	defer l.brokerMu.Unlock()
	if _, err := l.broker.running(); err == nil {
		return nil
	}
	if err := l.broker.start(ctx); err != nil {
		return err
	}
	for _, n := range l.nodes {
		n.mu.Lock()
		backoff := shortestBackoff + time.Duration(n.rng.Int64N(int64(longestBackoff-shortestBackoff)))
		n.mu.Unlock()
		l.after(backoff, func() {
			n.link("the broker is back")
			l.changed.announce()
		})
	}
	return nil
}
