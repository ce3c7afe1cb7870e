package rpcclient

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
)

// fakeBus is a Conn in memory: what is published is kept, and a test's server may answer it at once.
type fakeBus struct {
	mu        sync.Mutex // guards everything below
	published []message
	listeners map[string]func(choria.Message)
	failAt    int  // publishing fails from this message on; 0 never
	stuck     bool // flushing fails
	away      bool // flushing and publishing fail
	back      time.Time
	flushes   int
	absent    map[string]bool // subjects without a subscriber, for those that are published with a reply subject
	serve     func(b *fakeBus, m message)
	onFlush   func(b *fakeBus)
}

type message struct {
	subject, reply string
	data           []byte
}

var errAway = errors.New("the broker is away")

func newFakeBus() *fakeBus {
	return &fakeBus{listeners: map[string]func(choria.Message){}, absent: map[string]bool{}}
}

func (b *fakeBus) Publish(subject, reply string, data []byte) error {
	b.mu.Lock()
	if b.away || b.failAt > 0 && len(b.published) >= b.failAt-1 {
		b.mu.Unlock()
		return errAway
	}
	m := message{subject, reply, slices.Clone(data)}
	b.published = append(b.published, m)
	serve, absent := b.serve, b.absent[subject]
	b.mu.Unlock()
	switch {
	case absent && reply != "":
		b.notice(reply)
	case serve != nil:
		serve(b, m)
	}
	return nil
}

func (b *fakeBus) Subscribe(_ context.Context, subject string, deliver func(choria.Message)) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listeners[strings.TrimSuffix(subject, "*")] = deliver
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, strings.TrimSuffix(subject, "*"))
	}, nil
}

func (b *fakeBus) Flush(context.Context) error {
	b.mu.Lock()
	b.flushes++
	away, onFlush := b.away || b.stuck, b.onFlush
	b.mu.Unlock()
	if onFlush != nil {
		onFlush(b)
	}
	if away {
		return errAway
	}
	return nil
}

func (b *fakeBus) URL() string { return "nats://broker.example.net:4222" }

func (b *fakeBus) Reconnected() (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.back, b.away
}

// lose and restore are what a restarted broker does to the connection.
func (b *fakeBus) lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = true
}

func (b *fakeBus) restore() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away, b.back = false, time.Now()
}

// connect lets nodes subscribe, or leave.
func (b *fakeBus) connect(up bool, nodes ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range nodes {
		b.absent["mcollective.node."+n] = !up
	}
}

// deliver hands a message to the listeners of its subject.
func (b *fakeBus) deliver(subject string, data []byte) {
	b.hand(choria.Message{Subject: subject, Data: slices.Clone(data), Arrived: time.Now()}) // its owner overwrites it
}

// notice is the broker's 503.
func (b *fakeBus) notice(subject string) {
	b.hand(choria.Message{Subject: subject, Arrived: time.Now(), NoResponders: true})
}

func (b *fakeBus) hand(m choria.Message) {
	b.mu.Lock()
	var to func(choria.Message)
	for prefix, f := range b.listeners {
		if strings.HasPrefix(m.Subject, prefix) {
			to = f
		}
	}
	b.mu.Unlock()
	if to != nil {
		to(m)
	}
}

// fakeIdentity signs nothing; prove, when set, stands for a checked reply signature.
type fakeIdentity struct {
	version choria.Version
	prove   func(choria.SecureReply) (string, error)
}

func (i fakeIdentity) Version() choria.Version { return i.version }
func (fakeIdentity) Caller() string            { return "choria=rip.mcollective" }
func (fakeIdentity) Sender() string            { return "client.example.net" }
func (i fakeIdentity) Seal(_ context.Context, request []byte) ([]byte, error) {
	return choria.EncodeSecureRequest(choria.SecureRequest{Version: i.version, Request: request, Caller: "e30.e30.e30"})
}
func (i fakeIdentity) OpenReply(r choria.SecureReply, _ string) (string, error) {
	if i.prove == nil {
		return "", nil
	}
	return i.prove(r)
}

// request opens what the client published.
func request(t *testing.T, m message) (choria.Transport, choria.Request) {
	t.Helper()
	tr, err := choria.DecodeTransport(m.data)
	if err != nil {
		t.Fatal(err)
	}
	sec, err := choria.DecodeSecureRequest(tr.Data)
	if err != nil {
		t.Fatal(err)
	}
	req, err := choria.DecodeRequest(tr.Version, sec.Request)
	if err != nil {
		t.Fatal(err)
	}
	return tr, req
}

// answer is a server's reply to a request, with room to be wrong.
type answer struct {
	sender, id, agent string
	token             string // the server's
	payload           []byte
	hash              []byte
}

func (a answer) encode(t *testing.T, v choria.Version) []byte {
	t.Helper()
	if a.payload == nil {
		body, err := choria.EncodeRPCReply(choria.RPCReply{Action: "ping", StatusMsg: "OK", Data: json.RawMessage(`{"pong":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		a.payload = body
	}
	reply, err := choria.EncodeReply(choria.Reply{Version: v, RequestID: a.id, Sender: a.sender, Agent: a.agent, Time: time.Now(), Payload: a.payload})
	if err != nil {
		t.Fatal(err)
	}
	sec, err := choria.EncodeSecureReply(choria.SecureReply{Version: v, Reply: reply, Hash: a.hash, Sender: a.token})
	if err != nil {
		t.Fatal(err)
	}
	data, err := choria.EncodeTransport(choria.Transport{Version: v, Data: sec, Sender: a.sender})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// settle waits until everything that was delivered has been looked at.
func settle(t *testing.T, s *Session) {
	t.Helper()
	if err := s.Settle(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
}

func ping() Request { return Request{Agent: "rpcutil", Action: "ping", Collective: "mcollective"} }

func TestSendPublishesTheSameBytesToEveryNode(t *testing.T) {
	for _, v := range []choria.Version{choria.V1, choria.V2} {
		b := newFakeBus()
		c := New(b, fakeIdentity{version: v})
		s, err := c.Open(t.Context(), "mcollective")
		if err != nil {
			t.Fatal(err)
		}
		sent, err := s.Send(t.Context(), ping(), []string{"a.example.net", "b.example.net"})
		if err != nil {
			t.Fatal(err)
		}
		if len(b.published) != 2 || b.published[0].subject != "mcollective.node.a.example.net" || b.published[1].subject != "mcollective.node.b.example.net" {
			t.Fatalf("%s: published %d messages, first to %q", v, len(b.published), b.published[0].subject)
		}
		if string(b.published[0].data) != string(b.published[1].data) {
			t.Errorf("%s: the nodes got different bytes", v)
		}
		if b.flushes == 0 {
			t.Errorf("%s: sent without a flush", v)
		}
		tr, req := request(t, b.published[0])
		if want := "mcollective.reply.37bdf08389145a56c13096c178802d3b."; !strings.HasPrefix(tr.ReplyTo, want) || !strings.HasSuffix(tr.ReplyTo, "."+sent.ID) {
			t.Errorf("%s: reply subject %q, want %s<session>.%s", v, tr.ReplyTo, want, sent.ID)
		}
		if req.TTL != DefaultTTL || req.Collective != "mcollective" || !slices.Equal(req.Filter.Agent, []string{"rpcutil"}) {
			t.Errorf("%s: request is %+v", v, req)
		}
		s.Close()
		if len(b.listeners) != 0 {
			t.Errorf("%s: Close left the subscription", v)
		}
	}
}

func TestSendRefusesNamesThatAreNoSubject(t *testing.T) {
	for _, name := range []string{"", " ", "a b", "a.*", "a.>", "a..b"} {
		b := newFakeBus()
		c := New(b, fakeIdentity{version: choria.V1})
		s, err := c.Open(t.Context(), "mcollective")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Send(t.Context(), ping(), []string{"good.example.net", name}); err == nil {
			t.Errorf("name %q was accepted", name)
		}
		if len(b.published) != 0 {
			t.Errorf("name %q: %d messages left before the refusal", name, len(b.published))
		}
	}
}

func TestAnInterruptedSendNamesWhoGotNothing(t *testing.T) {
	b := newFakeBus()
	b.failAt = 3
	c := New(b, fakeIdentity{version: choria.V1})
	s, err := c.Open(t.Context(), "mcollective")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Send(t.Context(), ping(), []string{"a", "b", "c", "d"})
	e, ok := errors.AsType[*SendError](err)
	if !ok || !errors.Is(err, errAway) {
		t.Fatalf("got %v, want a *SendError of %v", err, errAway)
	}
	if !slices.Equal(e.Unsent, []string{"c", "d"}) || !e.Certain {
		t.Errorf("unsent %v, certain %v; want c and d, and a and b flushed", e.Unsent, e.Certain)
	}
}

// A broker that is away when the first copy is handed over has got nothing: that needs no flush to be known.
func TestNoNodeIsUncertainWhenTheBrokerWasAwayFromTheStart(t *testing.T) {
	for _, tt := range []struct {
		failAt  int
		unsent  []string
		certain bool
	}{{1, []string{"a", "b", "c"}, true}, {2, []string{"b", "c"}, false}} {
		b := newFakeBus()
		b.failAt, b.stuck = tt.failAt, true
		s := &Session{client: New(b, fakeIdentity{version: choria.V1}), collective: "mcollective", pending: map[string]*pending{}}
		_, err := s.Send(t.Context(), ping(), []string{"a", "b", "c"})
		e, ok := errors.AsType[*SendError](err)
		if !ok || !slices.Equal(e.Unsent, tt.unsent) || e.Certain != tt.certain {
			t.Errorf("failing at %d: got %+v, want %v unsent, certain %v", tt.failAt, err, tt.unsent, tt.certain)
		}
	}
}

func TestOnlyFittingRepliesAreBelieved(t *testing.T) {
	b := newFakeBus()
	c := New(b, fakeIdentity{version: choria.V1})
	s, err := c.Open(t.Context(), "mcollective")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sent, err := s.Send(t.Context(), ping(), []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	to := s.prefix + sent.ID
	other := c.NewID()
	good := answer{sender: "a", id: sent.ID, agent: "rpcutil"}
	for _, data := range [][]byte{
		[]byte("not a message"),
		answer{sender: "b", id: other, agent: "rpcutil"}.encode(t, choria.V1),
		answer{sender: "b", id: sent.ID, agent: "scout"}.encode(t, choria.V1),
		answer{sender: "b", id: sent.ID, agent: "rpcutil", hash: make([]byte, 32)}.encode(t, choria.V1),
		answer{sender: "b", id: sent.ID, agent: "rpcutil", payload: []byte("{")}.encode(t, choria.V1),
		answer{sender: "z", id: sent.ID, agent: "rpcutil"}.encode(t, choria.V1),
		answer{sender: "b", id: strings.Repeat("k", 27), agent: "rpcutil"}.encode(t, choria.V2),
		good.encode(t, choria.V1),
		good.encode(t, choria.V1),
	} {
		b.deliver(to, data)
	}
	settle(t, s)
	select {
	case r := <-s.Replies():
		if r.Node != "a" || r.RequestID != sent.ID || string(r.Data) != `{"pong":1}` || r.Code != choria.OK || r.Message != "OK" {
			t.Errorf("believed %+v", r)
		}
	default:
		t.Fatal("the good reply was not believed")
	}
	select {
	case r := <-s.Replies():
		t.Errorf("believed a second reply: %+v", r)
	default:
	}
	got := s.Strays()
	want := map[Kind]int{Malformed: 3, WrongRequest: 2, BadHash: 1, Stranger: 1, Duplicate: 1}
	for k := Malformed; k < kinds; k++ {
		if got.Count[k] != want[k] {
			t.Errorf("%s: counted %d, want %d", k, got.Count[k], want[k])
		}
	}
	if names := got.Names(Stranger); !slices.Equal(names, []string{"z"}) {
		t.Errorf("strangers %v", names)
	}
}

func TestASignatureMustBeTheSendersOwn(t *testing.T) {
	tests := []struct {
		name   string
		proven string
		err    error
		want   Kind
	}{
		{name: "its own", proven: "a"},
		{name: "another's", proven: "b", want: BadSignature},
		{name: "broken", err: errors.New("bad signature"), want: BadSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newFakeBus()
			c := New(b, fakeIdentity{version: choria.V2, prove: func(choria.SecureReply) (string, error) { return tt.proven, tt.err }})
			s, err := c.Open(t.Context(), "choria")
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sent, err := s.Send(t.Context(), ping(), []string{"a", "b"})
			if err != nil {
				t.Fatal(err)
			}
			b.deliver(s.prefix+sent.ID, answer{sender: "a", id: sent.ID, agent: "rpcutil"}.encode(t, choria.V2))
			settle(t, s)
			if got := s.Strays().Count[BadSignature]; (got == 1) != (tt.want == BadSignature) {
				t.Errorf("counted %d bad signatures", got)
			}
			if believed := len(s.Replies()) == 1; believed != (tt.want == 0) {
				t.Errorf("believed: %v", believed)
			}
		})
	}
}

// server answers every request of a bus after a delay, except for silent nodes.
func server(t *testing.T, delay time.Duration, silent string) func(*fakeBus, message) {
	return func(b *fakeBus, m message) {
		tr, req := request(t, m)
		node := strings.TrimPrefix(m.subject, req.Collective+".node.")
		if strings.Contains(m.subject, ".broadcast.") {
			node = "any-server"
		}
		if node == silent {
			return
		}
		a := answer{sender: node, id: req.ID, agent: req.Agent}
		if req.Agent == discoveryAgent {
			a.payload = choria.DiscoveryPong()
		}
		data := a.encode(t, choria.V1)
		time.AfterFunc(delay, func() { b.deliver(tr.ReplyTo, data) })
	}
}

func TestCallEndsWhenEveryNodeHasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = server(t, 3*time.Second, "")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		var nodes []string
		for r, err := range New(b, fakeIdentity{version: choria.V1}).Call(ctx, ping(), []string{"a", "b"}) {
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, r.Node)
		}
		slices.Sort(nodes)
		if took := time.Since(start); !slices.Equal(nodes, []string{"a", "b"}) || took != 3*time.Second {
			t.Errorf("got %v after %v", nodes, took)
		}
	})
}

func TestCallEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = server(t, time.Second, "b")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		n := 0
		for _, err := range New(b, fakeIdentity{version: choria.V1}).Call(ctx, ping(), []string{"a", "b"}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if took := time.Since(start); n != 1 || took != 10*time.Second {
			t.Errorf("got %d replies after %v, want 1 after 10s", n, took)
		}
	})
}

func TestBroadcastYieldsNamesUntilTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = server(t, time.Second, "")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var names []string
		for name, err := range New(b, fakeIdentity{version: choria.V1}).Broadcast(ctx, "mcollective", choria.Filter{Class: []string{"web"}}, choria.Window{}) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		if !slices.Equal(names, []string{"any-server"}) {
			t.Errorf("got %v", names)
		}
		_, req := request(t, b.published[0])
		if b.published[0].subject != "mcollective.broadcast.agent.discovery" || !choria.IsDiscoveryPing(req.Body()) || !slices.Equal(req.Filter.Class, []string{"web"}) {
			t.Errorf("sent %+v to %s", req, b.published[0].subject)
		}
	})
}

func TestServiceTakesTheFirstReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = server(t, time.Second, "")
		c := New(b, fakeIdentity{version: choria.V1})
		r, err := c.Service(t.Context(), Request{Agent: "choria_registry", Action: "names", Collective: "mcollective"})
		if err != nil || r.Node != "any-server" {
			t.Fatalf("got %+v, %v", r, err)
		}
		_, req := request(t, b.published[0])
		if b.published[0].subject != "mcollective.broadcast.service.choria_registry" || len(req.Filter.Agent) > 0 {
			t.Errorf("sent to %s with filter %+v", b.published[0].subject, req.Filter)
		}
		b.serve = nil
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Service(ctx, ping()); !errors.Is(err, ErrNoReply) {
			t.Errorf("a silent service: got %v, want ErrNoReply", err)
		}
	})
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for k := range kinds + 1 {
		if seen[k.String()] {
			t.Errorf("kind %d shares the name %q", k, k)
		}
		seen[k.String()] = true
	}
}
