package lab

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/security"
)

// NodeInfo is what the lab knows about a node at one moment.
type NodeInfo struct {
	Identity   string
	Country    string
	Site       string
	Rack       string
	Role       string
	Version    string
	Upgradable bool
	Fault      Fault
	State      State
	Frozen     bool
	// Connected is false while the broker has no subscription of the node.
	Connected bool
	// Started is when the node's present process began by the node's own clock, in whole seconds.
	Started time.Time
}

// Lab is a running fleet with its broker. All methods are safe for concurrent use.
type Lab struct {
	options   Options
	log       *slog.Logger
	creds     *credentials
	verifier  *security.RequestVerifier
	broker    *broker
	documents map[string]document // what the registry serves
	nodes     []*node             // in the order of the blueprints
	byName    map[string]*node
	dir       string
	own       folder // with the client's files, where Options.Dir names none
	changed   announcer
	wheel     *wheel

	closing sync.RWMutex // guards closed, and running against Close
	closed  bool
	running sync.WaitGroup
	done    chan struct{} // closed by Close

	brokerMu sync.Mutex // held while the broker stops or starts
}

// Start makes the credentials and starts the broker and the fleet. The context bounds
// the start only; Close ends the lab.
func Start(ctx context.Context, o Options) (*Lab, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	creds, err := newCredentials(o)
	if err != nil {
		return nil, err
	}
	l := &Lab{options: o, log: o.Logger, creds: creds, byName: make(map[string]*node, o.Nodes), done: make(chan struct{}), wheel: newWheel()}
	l.verifier = newVerifier(creds)
	if l.documents, err = embeddedDocuments(ctx); err != nil {
		return nil, err
	}
	l.broker = newBroker(o, creds)
	if err := l.broker.makeStore(); err != nil {
		return nil, err
	}
	if err := l.broker.start(ctx); err != nil {
		return nil, errors.Join(err, l.broker.removeStore())
	}
	l.populate()
	err = l.broker.flush()
	if err == nil {
		err = l.writeFiles()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start lab: %w", err), l.Close())
	}
	return l, nil
}

func newVerifier(creds *credentials) *security.RequestVerifier {
	if creds.version == choria.V2 {
		return security.NewV2Verifier(map[string]ed25519.PublicKey{"choria": creds.issuerPublic})
	}
	return security.NewV1Verifier(creds.ca, nil, nil)
}

// populate builds the nodes and lets them listen.
func (l *Lab) populate() {
	fleet := design(l.options)
	stride := min(200*time.Microsecond, 100*time.Millisecond/time.Duration(len(fleet)))
	l.nodes = make([]*node, len(fleet))
	for i := range fleet {
		n := &node{
			blueprint: fleet[i], lab: l,
			delay: 2*time.Millisecond + time.Duration(fleet[i].rank)*stride,
			rng:   mathrand.New(mathrand.NewPCG(l.options.Seed, uint64(i))),
		}
		if n.fault == Expiring {
			n.tokenEnd = time.Now().Add(l.options.ExpiringIn)
		}
		l.nodes[i], l.byName[n.identity] = n, n
	}
	for _, a := range []*account{l.broker.main, l.broker.nursery} {
		l.running.Go(func() { l.listen(a) })
	}
	for _, n := range l.nodes {
		n.enlist()
	}
}

func (l *Lab) writeFiles() error {
	dir := l.options.Dir
	if dir == "" {
		var err error
		if l.own, err = newFolder(""); err != nil {
			return fmt.Errorf("make lab folder: %w", err)
		}
		dir = l.own.path
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make lab folder: %w", err)
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("make lab folder: %w", err)
	}
	l.dir = absolute
	return l.creds.write(absolute, l.broker.urls, l.broker.provisions)
}

// Close removes a temporary folder, keys first of all, then ends the fleet and the broker.
// It waits until every goroutine of the lab has ended. Clients should be closed before.
func (l *Lab) Close() error {
	l.closing.Lock()
	already := l.closed
	l.closed = true
	l.closing.Unlock()
	if already {
		return nil
	}
	err := l.own.remove()
	close(l.done)
	for _, n := range l.nodes {
		n.mu.Lock()
		if n.alive != nil {
			n.alive.Stop()
		}
		n.mu.Unlock()
	}
	l.changed.announce()
	l.running.Wait()
	l.brokerMu.Lock()
	defer l.brokerMu.Unlock()
	l.broker.stop()
	return errors.Join(err, l.broker.removeStore())
}

// enter reports whether the lab still runs; if so the caller must call running.Done.
func (l *Lab) enter() bool {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return false
	}
	l.running.Add(1)
	return true
}

// after runs f after the delay, unless the lab has been closed by then.
func (l *Lab) after(delay time.Duration, f func()) *time.Timer {
	return time.AfterFunc(delay, func() {
		if l.enter() {
			defer l.running.Done()
			f()
		}
	})
}

// ConfigFile is the path of the client's configuration, in Choria's own format.
func (l *Lab) ConfigFile() string { return filepath.Join(l.dir, "client.conf") }

// ProvisionerFile is the path of a configuration for the provisioning account.
func (l *Lab) ProvisionerFile() string { return filepath.Join(l.dir, "provisioner.conf") }

// Dir is the absolute path of the folder with the client's files.
func (l *Lab) Dir() string { return l.dir }

// Issuer is the key that the fleet of protocol v2 trusts: a program beside the fleet, a
// signing service above all, needs tokens of it. It is made for this lab alone.
func (l *Lab) Issuer() crypto.Signer { return l.creds.issuer }

// IssueCertificate issues the certificate of another operator of protocol v1 by the CA of the fleet, in DER.
func (l *Lab) IssueCertificate(name string, public crypto.PublicKey) ([]byte, error) {
	return l.creds.authority.issueOperator(name, public)
}

// URL is the broker's address for clients, "" for an in-process lab.
func (l *Lab) URL() string { return l.broker.url() }

// InProcessConn makes a connection to the broker without a socket and without TLS; *Lab
// thereby is a nats.InProcessConnProvider. In v2 the token is still checked.
func (l *Lab) InProcessConn() (net.Conn, error) {
	ns, err := l.broker.running()
	if err != nil {
		return nil, err
	}
	return ns.InProcessConn()
}

// Nodes returns every node of the fleet, in an order that the options decide.
func (l *Lab) Nodes() []NodeInfo {
	infos := make([]NodeInfo, len(l.nodes))
	for i, n := range l.nodes {
		infos[i] = n.info()
	}
	return infos
}

// Node returns one node.
func (l *Lab) Node(identity string) (NodeInfo, bool) {
	n, ok := l.byName[identity]
	if !ok {
		return NodeInfo{}, false
	}
	return n.info(), true
}

// Received counts the requests for agent and action that reached a node, answered or
// not. The agent discovery has no actions: its action is "".
func (l *Lab) Received(identity, agent, action string) int {
	n, ok := l.byName[identity]
	if !ok {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.received {
		if t.agent == agent && t.action == action {
			return t.n
		}
	}
	return 0
}

// Await waits until the node is in the state.
func (l *Lab) Await(ctx context.Context, identity string, state State) error {
	return l.AwaitFunc(ctx, func() bool {
		info, ok := l.Node(identity)
		return ok && info.State == state
	})
}

// AwaitReceived waits until at least n requests have reached the node.
func (l *Lab) AwaitReceived(ctx context.Context, identity, agent, action string, n int) error {
	return l.AwaitFunc(ctx, func() bool { return l.Received(identity, agent, action) >= n })
}

// AwaitFunc waits until done reports true. It asks again whenever a request has reached
// a node or a node has changed its state.
func (l *Lab) AwaitFunc(ctx context.Context, done func() bool) error {
	for {
		changed := l.changed.next()
		if done() {
			return nil
		}
		if !l.enter() {
			return errors.New("the lab has been closed")
		}
		l.running.Done()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Freeze stops a node as SIGSTOP stops a process: what arrives, and what the node would
// do, waits. Its subscriptions stay until the broker's pings give up, after 4 minutes.
func (l *Lab) Freeze(identity string) error { return l.with(identity, (*node).freeze) }

// Thaw lets a frozen node run again. It first handles the requests that have arrived, if
// their TTL still holds.
func (l *Lab) Thaw(identity string) error { return l.with(identity, (*node).thaw) }

// Kill ends a node's process at once and silently, as kill -9 does. It stays down.
func (l *Lab) Kill(identity string) error { return l.with(identity, (*node).kill) }

// Restart restarts a node as an operator at its host does: a new process runs within a
// second. It starts a node that is down.
func (l *Lab) Restart(identity string) error { return l.with(identity, (*node).restartByHand) }

// Disconnect cuts a node off the broker while its process runs on, until Reconnect. What
// it publishes meanwhile is sent then.
func (l *Lab) Disconnect(identity string) error {
	return l.with(identity, func(n *node) { n.disconnect("by hand") })
}

// Reconnect gives a node its network back.
func (l *Lab) Reconnect(identity string) error { return l.with(identity, (*node).reconnect) }

// StepClock sets a node's clock ahead, or back by a negative step. It rules the node's TTL
// checks, its timestamps and start times, and when its token expires.
func (l *Lab) StepClock(identity string, step time.Duration) error {
	return l.with(identity, func(n *node) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.clock += step
		n.note(ClockStepped, nil, step.String())
	})
}

func (l *Lab) with(identity string, f func(*node)) error {
	n, ok := l.byName[identity]
	if !ok {
		return fmt.Errorf("no node %q in the lab", identity)
	}
	f(n)
	return nil
}

// neighbor is another node, or n itself in a fleet of one.
func (l *Lab) neighbor(n *node) *node {
	for i, other := range l.nodes {
		if other == n {
			return l.nodes[(i+1)%len(l.nodes)]
		}
	}
	return n
}

// brokerName is the broker's address as servers write it into what they send.
func (l *Lab) brokerName() string {
	if l.broker.url() == "" {
		return "nats://in-process"
	}
	return l.broker.url()
}

// uuid writes 16 bytes as a version 4 UUID.
func uuid(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newID is the id of an event.
func newID() string {
	var b [16]byte
	// Read never fails.
	_, _ = rand.Read(b[:])
	return uuid(b)
}

// announcer wakes every goroutine that waits for a change.
type announcer struct {
	mu sync.Mutex // guards ch
	ch chan struct{}
}

// next returns a channel that the next announcement closes.
func (a *announcer) next() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ch == nil {
		a.ch = make(chan struct{})
	}
	return a.ch
}

func (a *announcer) announce() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ch != nil {
		close(a.ch)
		a.ch = nil
	}
}
