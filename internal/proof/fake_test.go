package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/rpcclient"
)

var errAway = errors.New("the broker is away")

// fleet is a message bus in memory with servers behind it that answer rpcutil#daemon_stats, in virtual time.
type fleet struct {
	mu       sync.Mutex // guards everything below, and the nodes
	nodes    map[string]*server
	away     bool           // publishing fails
	stalled  bool           // what was published is not acknowledged
	noEvents bool           // the broker refuses the subscription for events
	lose     int            // answers that get lost
	mute     bool           // the broker does not report absent nodes
	lax      bool           // servers do not check the time to live
	back     time.Time      // when the connection was back after it was last lost
	opening  time.Duration  // what it takes us to check one reply
	requests map[string]int // polls by request, and how many nodes each asked

	last    []byte // the request that was decoded last: every node gets the same bytes
	decoded choria.Request
	replyTo string

	listening sync.RWMutex // guards listeners
	listeners map[string]func(choria.Message)
}

// server is one node. Its clock is ours plus skew.
type server struct {
	name    string
	skew    time.Duration
	latency time.Duration
	start   time.Time // of the present process, the node's clock
	down    bool      // no process, no subscription
	frozen  bool      // neither answers nor leaves the broker
	waiting []func()
	denied  bool
	version string
	asked   []time.Time
}

func newFleet(names ...string) *fleet {
	f := &fleet{nodes: map[string]*server{}, listeners: map[string]func(choria.Message){}, requests: map[string]int{}}
	for i, name := range names {
		f.nodes[name] = &server{
			name: name, latency: 50*time.Millisecond + time.Duration(i)*time.Microsecond,
			start: time.Now().Add(-time.Hour), version: "0.29.3",
		}
	}
	return f
}

func (f *fleet) client() *rpcclient.Client { return rpcclient.New(f, fakeIdentity{f}) }

// node runs change on a node under the lock.
func (f *fleet) node(name string, change func(*server)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.nodes[name])
}

// in runs change on a node after a while.
func (f *fleet) in(after time.Duration, name string, change func(*server)) {
	time.AfterFunc(after, func() { f.node(name, change) })
}

// skewed sets a node's clock.
func skewed(by time.Duration) func(*server) {
	return func(s *server) { s.start, s.skew = s.start.Add(by), by }
}

func stop(s *server)   { s.down = true }
func freeze(s *server) { s.frozen = true }

func lax(f *fleet) { f.lax = true }

// thaw lets a server handle what it got while it was frozen.
func thaw(s *server) {
	s.frozen = false
	for _, handle := range s.waiting {
		handle()
	}
	s.waiting = nil
}

// lost makes the connection go away for a while.
func (f *fleet) lost(from, to time.Duration) {
	time.AfterFunc(from, func() { f.mu.Lock(); f.away = true; f.mu.Unlock() })
	time.AfterFunc(to, func() { f.mu.Lock(); f.away, f.back = false, time.Now(); f.mu.Unlock() })
}

// Reconnected implements rpcclient.Conn.
func (f *fleet) Reconnected() (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.back, f.away
}

func restart(s *server) { s.down, s.start = false, time.Now().Add(s.skew) }

// restartIn makes a node go down after a while, and come back as a new process after another.
func (f *fleet) restartIn(after, takes time.Duration, name string) {
	f.in(after, name, stop)
	f.in(after+takes, name, restart)
}

func (f *fleet) Publish(subject, reply string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return errAway
	}
	if len(data) == 0 { // the question whether the broker reports absent nodes
		f.absent(reply)
		return nil
	}
	if len(f.last) == 0 || &f.last[0] != &data[0] {
		if err := f.decode(data); err != nil {
			panic(err)
		}
	}
	f.requests[f.decoded.ID]++
	s := f.nodes[strings.TrimPrefix(subject, f.decoded.Collective+".node.")]
	if s == nil || s.down {
		f.absent(reply)
		return nil
	}
	s.asked = append(s.asked, time.Now())
	if f.lose > 0 {
		f.lose--
		return nil
	}
	if s.frozen {
		request, to := f.decoded, f.replyTo
		s.waiting = append(s.waiting, func() { f.handle(s, request, to) })
		return nil
	}
	f.handle(s, f.decoded, f.replyTo)
	return nil
}

// absent is the broker's report that a message had no subscriber.
func (f *fleet) absent(reply string) {
	if reply != "" && !f.mute {
		time.AfterFunc(3*time.Millisecond, func() { f.deliver(choria.Message{Subject: reply, NoResponders: true}) })
	}
}

// handle is a server's: what is too old, or from the future, by its own clock is dropped.
func (f *fleet) handle(s *server, request choria.Request, to string) {
	if age := time.Now().Add(s.skew).Sub(request.Time); !f.lax && (age >= request.TTL || -age >= request.TTL) {
		return
	}
	answer := f.answer(s, request)
	time.AfterFunc(s.latency, func() { f.deliver(choria.Message{Subject: to, Data: answer}) })
}

func (f *fleet) decode(data []byte) error {
	t, err := choria.DecodeTransport(data)
	if err != nil {
		return err
	}
	secure, err := choria.DecodeSecureRequest(t.Data)
	if err != nil {
		return err
	}
	f.last, f.replyTo = data, t.ReplyTo
	f.decoded, err = choria.DecodeRequest(t.Version, secure.Request)
	return err
}

func (f *fleet) answer(s *server, request choria.Request) []byte {
	body := choria.RPCReply{Action: "daemon_stats", StatusMsg: "OK", Data: fmt.Appendf(nil, `{"starttime":%d,"version":%q}`, s.start.Unix(), s.version)}
	if s.denied {
		body.StatusCode, body.StatusMsg, body.Data = choria.Aborted, "You are not authorized to call this agent or action", []byte("{}")
	}
	payload, err := choria.EncodeRPCReply(body)
	if err != nil {
		panic(err)
	}
	reply, err := choria.EncodeReply(choria.Reply{
		Version: choria.V1, RequestID: request.ID, Sender: s.name, Agent: request.Agent, Time: time.Now().Add(s.skew), Payload: payload,
	})
	if err != nil {
		panic(err)
	}
	secure, err := choria.EncodeSecureReply(choria.SecureReply{Version: choria.V1, Reply: reply})
	if err != nil {
		panic(err)
	}
	data, err := choria.EncodeTransport(choria.Transport{Version: choria.V1, Data: secure, Sender: s.name})
	if err != nil {
		panic(err)
	}
	return data
}

func (f *fleet) Subscribe(_ context.Context, subject string, deliver func(choria.Message)) (func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away || f.noEvents && strings.HasPrefix(subject, "choria.lifecycle.") {
		return nil, errAway
	}
	prefix := strings.TrimRight(subject, "*>")
	f.listening.Lock()
	defer f.listening.Unlock()
	f.listeners[prefix] = deliver
	return func() {
		f.listening.Lock()
		defer f.listening.Unlock()
		delete(f.listeners, prefix)
	}, nil
}

func (f *fleet) Flush(ctx context.Context) error {
	f.mu.Lock()
	away, stalled := f.away, f.stalled
	f.mu.Unlock()
	switch {
	case away:
		return errAway
	case stalled:
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// stallFrom makes everything take a while from some moment on: acknowledgements, forever, and answers, until late.
func (f *fleet) stallFrom(at, late time.Duration) {
	f.in(at, "n", func(s *server) { f.stalled, s.latency = true, late })
}

func (*fleet) URL() string { return "nats://broker.example.net:4222" }

func (f *fleet) deliver(m choria.Message) {
	subject := m.Subject
	m.Arrived = time.Now()
	f.listening.RLock()
	var to func(choria.Message)
	for prefix, deliver := range f.listeners {
		if strings.HasPrefix(subject, prefix) {
			to = deliver
		}
	}
	f.listening.RUnlock()
	if to != nil {
		to(m)
	}
}

// event is published after a while, in one of the two formats.
func (f *fleet) event(after time.Duration, e choria.Event, legacy bool) {
	e.ID = "01234567-89ab-cdef-0123-456789abcdef"
	time.AfterFunc(after, func() {
		data, err := choria.EncodeEvent(e, legacy)
		if err != nil {
			panic(err)
		}
		f.deliver(choria.Message{Subject: choria.LifecycleSubject(e.Type, e.Component), Data: data})
	})
}

// startupIn publishes a startup event with the node's own time of then.
func (f *fleet) startupIn(after time.Duration, name, component string, legacy bool) {
	f.mu.Lock()
	at := time.Now().Add(after + f.nodes[name].skew)
	f.mu.Unlock()
	f.event(after, choria.Event{Type: "startup", Identity: name, Component: component, Version: "0.29.4", Time: at}, legacy)
}

// fakeIdentity signs nothing.
type fakeIdentity struct{ f *fleet }

func (fakeIdentity) Version() choria.Version { return choria.V1 }
func (fakeIdentity) Caller() string          { return "choria=rip.mcollective" }
func (fakeIdentity) Sender() string          { return "client.example.net" }
func (fakeIdentity) Seal(_ context.Context, request []byte) ([]byte, error) {
	return choria.EncodeSecureRequest(choria.SecureRequest{Version: choria.V1, Request: request})
}
func (i fakeIdentity) OpenReply(choria.SecureReply, string) (string, error) {
	i.f.mu.Lock()
	opening := i.f.opening
	i.f.mu.Unlock()
	<-time.After(opening)
	return "", nil
}

// baselineText is a baseline that a node answered at once.
func (s *server) baselineText() string {
	now := time.Now()
	return baseline{start: s.start.Unix(), clock: now.Add(s.skew).Truncate(time.Second), asked: now, took: 0}.text()
}

// accepted is the target of a node that has just replied.
func (f *fleet) accepted(name string, delay time.Duration) batch.Target {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, now := f.nodes[name], time.Now()
	return batch.Target{
		Node: name, Batch: 1, Baseline: s.baselineText(), Sent: now, Replied: now,
		Stamp: now.Add(s.skew).Truncate(time.Second), Delay: delay,
	}
}

func (f *fleet) options(a Action) Options {
	return Options{Client: f.client(), Collective: "mcollective", Action: a, Events: f, Settle: DefaultSettle(a)}
}

// group is a group of targets, and when it is handed over.
type group struct {
	at      time.Duration
	targets []batch.Target
}

// verify runs a whole Verify, and returns the proofs and when each came, in time since the beginning.
func verify(t *testing.T, o Options, groups ...group) (map[string][]batch.Proof, time.Duration) {
	t.Helper()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in := make(chan []batch.Target)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer close(in)
		for _, g := range groups {
			<-time.After(g.at - time.Since(begin))
			select {
			case in <- slices.Clone(g.targets):
			case <-ctx.Done():
				return
			}
		}
	})
	out := map[string][]batch.Proof{}
	for p := range New(o).Verify(ctx, in) {
		out[p.Node] = append(out[p.Node], p)
	}
	return out, time.Since(begin)
}
