package rpcclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"fleetctl/internal/bus"
	"fleetctl/internal/choria"
	"fleetctl/rpcclient"
)

// place is where a broker is, or is not: one that is started there takes the place of the one before.
type place struct{ now atomic.Pointer[server.Server] }

func (p *place) InProcessConn() (net.Conn, error) {
	if s := p.now.Load(); s != nil {
		return s.InProcessConn()
	}
	return nil, errors.New("connection refused")
}

func (p *place) start(t *testing.T) {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the test broker does not start")
	}
	p.now.Store(s)
}

func (p *place) end() {
	s := p.now.Swap(nil)
	s.Shutdown()
	s.WaitForShutdown()
}

// plain is an identity that signs nothing.
type plain struct{}

func (plain) Version() choria.Version { return choria.V1 }
func (plain) Caller() string          { return "choria=rip.mcollective" }
func (plain) Sender() string          { return "client.example.net" }
func (plain) Seal(_ context.Context, request []byte) ([]byte, error) {
	return choria.EncodeSecureRequest(choria.SecureRequest{Version: choria.V1, Request: request, Caller: "e30.e30.e30"})
}
func (plain) OpenReply(choria.SecureReply, string) (string, error) { return "", nil }

// join connects a server that answers discovery and rpcutil#ping, on its own subject and the
// collective's; asked gets each request.
func (p *place) join(t *testing.T, name string, asked chan<- string) (leave func()) {
	t.Helper()
	conn, err := p.InProcessConn()
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("", nats.InProcessServer(one{conn}), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	answer := func(m *nats.Msg) {
		if data, to, err := reply(name, m.Data); err != nil {
			t.Error(err)
		} else if err := nc.Publish(to, data); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			t.Error(err)
		}
		if asked != nil {
			asked <- name
		}
	}
	for _, subject := range []string{choria.NodeSubject("mcollective", name), choria.BroadcastSubject("mcollective", "discovery")} {
		if _, err := nc.Subscribe(subject, answer); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		t.Fatal(err)
	}
	return nc.Close
}

// one hands out one connection.
type one struct{ net.Conn }

func (o one) InProcessConn() (net.Conn, error) { return o.Conn, nil }

func reply(name string, data []byte) (answer []byte, to string, err error) {
	tr, err := choria.DecodeTransport(data)
	if err != nil {
		return nil, "", err
	}
	sec, err := choria.DecodeSecureRequest(tr.Data)
	if err != nil {
		return nil, "", err
	}
	req, err := choria.DecodeRequest(tr.Version, sec.Request)
	if err != nil {
		return nil, "", err
	}
	payload := choria.DiscoveryPong()
	if req.Agent != "discovery" {
		if payload, err = choria.EncodeRPCReply(choria.RPCReply{Action: "ping", StatusMsg: "OK"}); err != nil {
			return nil, "", err
		}
	}
	inner, err := choria.EncodeReply(choria.Reply{Version: choria.V1, RequestID: req.ID, Sender: name, Agent: req.Agent, Time: time.Now(), Payload: payload})
	if err != nil {
		return nil, "", err
	}
	secure, err := choria.EncodeSecureReply(choria.SecureReply{Version: choria.V1, Reply: inner})
	if err != nil {
		return nil, "", err
	}
	answer, err = choria.EncodeTransport(choria.Transport{Version: choria.V1, Data: secure, Sender: name})
	return answer, tr.ReplyTo, err
}

func (p *place) client(t *testing.T) (*rpcclient.Client, *bus.Conn) {
	t.Helper()
	conn, err := bus.Connect(t.Context(), bus.Options{InProcess: p})
	if err != nil {
		t.Fatal(err)
	}
	return rpcclient.New(conn, plain{}), conn
}

func TestAbsenceOverARealBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p place
		p.start(t)
		defer p.end()
		var names []string
		for i := range 48 {
			name := fmt.Sprintf("n%d.example.net", i)
			defer p.join(t, name, nil)()
			names = append(names, name)
		}
		c, conn := p.client(t)
		defer conn.Close()
		if reports, err := c.ReportsAbsence(t.Context(), "mcollective"); !reports || err != nil {
			t.Errorf("the broker reports absence: %v, %v", reports, err)
		}
		asked := append([]string{"ghost1"}, append(names, "ghost2")...)
		start := time.Now()
		req := rpcclient.Request{Agent: "rpcutil", Action: "ping", Collective: "mcollective", Wait: 12 * time.Second}
		ping := rpcclient.PingRequest{Collective: "mcollective", Nodes: asked, Window: choria.Window{Timeout: 2 * time.Second}}
		for what, replies := range map[string]func(func(rpcclient.Reply, error) bool){"Call": c.Call(t.Context(), req, asked), "Ping": c.Ping(t.Context(), ping)} {
			var absent []string
			answered := map[string]int{}
			for r, err := range replies {
				if err != nil {
					t.Fatal(err)
				}
				if answered[r.Node]++; r.Absent {
					absent = append(absent, r.Node)
				}
			}
			slices.Sort(absent)
			if !slices.Equal(absent, []string{"ghost1", "ghost2"}) || len(answered) != 50 {
				t.Errorf("%s: absent %q, %d answers", what, absent, len(answered))
			}
			for node, n := range answered {
				if n != 1 {
					t.Errorf("%s: %s answered %d times", what, node, n)
				}
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// The broker is restarted during a discovery, and its servers come back one by one. In real time: nats.go reconnects with
// timers that are shared by the whole process.
func TestABrokerThatIsRestartedDuringDiscovery(t *testing.T) {
	var p place
	p.start(t)
	asked := make(chan string, 64)
	for _, n := range []string{"n1", "n2", "n3"} {
		defer p.join(t, n, asked)()
	}
	c, conn := p.client(t)
	defer conn.Close()
	c.SetSettling(2 * time.Second)
	found := make(chan []string)
	go func() {
		var got []string
		for name, err := range c.Broadcast(t.Context(), "mcollective", choria.Filter{}, choria.Window{Timeout: 500 * time.Millisecond}) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, name)
		}
		found <- got
	}()
	<-asked
	p.end()
	p.start(t)
	defer p.end()
	again := make(chan string, 64)
	defer p.join(t, "n2", again)()
	<-again // the question is asked again: the other two are still on their way
	defer p.join(t, "n3", nil)()
	defer p.join(t, "n4", nil)()
	got := <-found
	if slices.Sort(got); !slices.Contains(got, "n2") || !slices.Contains(got, "n3") || !slices.Contains(got, "n4") {
		t.Errorf("found %q", got)
	}
}

// A request that is published to a broker which is away is reported, and never sent again.
func TestASendOverARestartIsReportedAndNotRepeated(t *testing.T) {
	var p place
	p.start(t)
	link := make(chan bool, 8)
	conn, err := bus.Connect(t.Context(), bus.Options{InProcess: &p, OnLink: func(up, _ bool, _ time.Time, _ error) { link <- up }})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := rpcclient.New(conn, plain{}).Open(t.Context(), "mcollective")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p.end()
	<-link
	req := rpcclient.Request{Agent: "rpcutil", Action: "ping", Collective: "mcollective"}
	_, err = s.Send(t.Context(), req, []string{"n1"})
	if e, ok := errors.AsType[*rpcclient.SendError](err); !ok || !e.Certain || len(e.Unsent) != 1 {
		t.Errorf("while it is away: %+v, want n1 certainly unsent", err)
	}
	if problem, ok := errors.AsType[*bus.Problem](err); !ok || !problem.Lost || strings.Contains(err.Error(), "buffer") {
		t.Errorf("got %v, want the loss in words", err)
	}
	p.start(t)
	defer p.end()
	asked := make(chan string, 8)
	defer p.join(t, "n1", asked)()
	<-link
	if at, down := conn.Reconnected(); at.IsZero() || down {
		t.Fatalf("back %v, down %v", at, down)
	}
	sent, err := s.Send(t.Context(), req, []string{"n1"})
	if err != nil {
		t.Fatal(err)
	}
	if r := <-s.Replies(); r.Node != "n1" || r.Absent || r.RequestID != sent.ID || len(asked) != 1 {
		t.Errorf("after the return: %+v, asked %d times", r, len(asked))
	}
}
