package lab

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/choria"

	"github.com/nats-io/nats.go"
)

func TestLabAnswersOverTLS(t *testing.T) {
	for _, protocol := range []int{1, 2} {
		l := start(t, Options{Nodes: 20, Protocol: protocol})
		c := dial(t, l)
		sub := c.publish(ask{agent: "discovery"})
		if got := c.collect(sub, 20, 10*time.Second); len(got) != 20 {
			t.Errorf("v%d: %d nodes answered, want 20", protocol, len(got))
		}
		node := l.Nodes()[5].Identity
		if r := c.one(node, "rpcutil", "ping", ""); r.rpc.StatusCode != choria.OK || !strings.Contains(string(r.rpc.Data), "pong") {
			t.Errorf("v%d: ping answered %d %s", protocol, r.rpc.StatusCode, r.rpc.Data)
		}
		c.conn.Close()
	}
}

func TestBrokerRefusesTheWrongPeople(t *testing.T) {
	v1 := start(t, Options{Nodes: 1})
	v2 := start(t, Options{Nodes: 1, Protocol: 2})
	other := start(t, Options{Nodes: 1, Protocol: 2})
	operator := identityOf(t, v2, "operator")
	provisioner := identityOf(t, v2, "provisioner")
	stranger := identityOf(t, other, "operator")
	v1TLS, err := identityOf(t, v1, "operator").TLS()
	if err != nil {
		t.Fatal(err)
	}
	v2TLS, err := operator.TLS()
	if err != nil {
		t.Fatal(err)
	}
	trusting := &tls.Config{RootCAs: v1TLS.RootCAs, MinVersion: tls.VersionTLS12}
	present := func(token string, sign func([]byte) ([]byte, error)) nats.Option {
		return func(o *nats.Options) error {
			o.Token = token
			return nats.UserJWT(func() (string, error) { return token, nil }, sign)(o)
		}
	}
	for _, tt := range []struct {
		name    string
		url     string
		options []nats.Option
		admit   bool
	}{
		{"v1 operator", v1.URL(), []nats.Option{nats.Secure(v1TLS)}, true},
		{"v1 without a certificate", v1.URL(), []nats.Option{nats.Secure(trusting)}, false},
		{"v1 without TLS", v1.URL(), nil, false},
		{"v1 as the fleet", v1.URL(), []nats.Option{nats.Secure(v1TLS), nats.UserInfo(fleetUser, "")}, false},
		{"v1 provisioner with a wrong password", v1.URL(), []nats.Option{nats.Secure(v1TLS), nats.UserInfo(provisionerUser, "x")}, false},
		{"v1 provisioner", v1.URL(), []nats.Option{nats.Secure(v1TLS), nats.UserInfo(provisionerUser, v1.broker.provisions)}, true},
		{"v2 operator", v2.URL(), []nats.Option{nats.Secure(v2TLS), present(operator.Token(), operator.SignNonce)}, true},
		{"v2 without a token", v2.URL(), []nats.Option{nats.Secure(v2TLS)}, false},
		{"v2 without a signed nonce", v2.URL(), []nats.Option{nats.Secure(v2TLS), nats.Token(operator.Token())}, false},
		{"v2 nonce signed by another", v2.URL(), []nats.Option{nats.Secure(v2TLS), present(operator.Token(), stranger.SignNonce)}, false},
		{"v2 token of another issuer", v2.URL(), []nats.Option{nats.Secure(v2TLS), present(stranger.Token(), stranger.SignNonce)}, false},
		{"v2 password without provisioner permission", v2.URL(), []nats.Option{nats.Secure(v2TLS), present(operator.Token(), operator.SignNonce), nats.UserInfo(provisionerUser, v2.broker.provisions)}, false},
		{"v2 provisioner", v2.URL(), []nats.Option{nats.Secure(v2TLS), present(provisioner.Token(), provisioner.SignNonce), nats.UserInfo(provisionerUser, v2.broker.provisions)}, true},
	} {
		conn, err := nats.Connect(tt.url, append(tt.options, nats.NoReconnect())...)
		if (err == nil) != tt.admit {
			t.Errorf("%s: connect gave %v, want admitted %v", tt.name, err, tt.admit)
		}
		if err == nil {
			conn.Close()
		}
	}
}

func TestV2BrokerRefusesOtherSubjects(t *testing.T) {
	l := start(t, Options{Nodes: 1, Protocol: 2})
	c := dial(t, l)
	own := choria.ReplyPrefix("choria", c.id.Caller(), choria.MD5)
	for _, tt := range []struct {
		subject   string
		subscribe bool
		allowed   bool
	}{
		{own + ".x", true, true}, {own + ".run.*", true, true}, {"_INBOX.x", true, false}, {"choria.reply.>", true, false},
		{choria.ReplyPrefix("choria", "choria=other", choria.MD5) + ".x", true, false}, {"choria.lifecycle.event.>", true, true},
		{"choria.node.>", true, false}, {"choria.node.a.example.net", false, true}, {"choria.broadcast.agent.rpcutil", false, true},
		{"choria.lifecycle.event.startup.server", false, false}, {own + ".x", false, false},
	} {
		if tt.subscribe {
			if _, err := c.conn.SubscribeSync(tt.subject); err != nil {
				t.Fatal(err)
			}
		} else if err := c.conn.Publish(tt.subject, nil); err != nil {
			t.Fatal(err)
		}
		c.flush()
		if tt.allowed {
			select {
			case err := <-c.problems:
				t.Errorf("%s (subscribe %v): %v", tt.subject, tt.subscribe, err)
			default:
			}
			continue
		}
		select {
		case err := <-c.problems:
			if !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
				t.Errorf("%s: %v, want a permissions violation", tt.subject, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s (subscribe %v): no permissions violation", tt.subject, tt.subscribe)
		}
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	busy := start(t, Options{Nodes: 1})
	ns, err := busy.broker.running()
	if err != nil {
		t.Fatal(err)
	}
	port := ns.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port()
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"port taken", Options{Nodes: 1, Port: int(port), Dir: t.TempDir()}, "in use"},
		{"protocol", Options{Protocol: 3}, "protocol 3"},
		{"nodes", Options{Nodes: -1}, "-1 nodes"},
		{"faults", Options{Nodes: 3, Faults: Faults{Slow: Amount{N: 2}, Silent: Amount{N: 2}}}, "one fault at most"},
	} {
		l, err := Start(t.Context(), tt.o)
		if err == nil {
			t.Errorf("%s: started", tt.name)
			_ = l.Close()
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %q, want %q in it", tt.name, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if l, err := Start(ctx, Options{Nodes: 1, InProcess: true}); err == nil {
		_ = l.Close()
		t.Error("started with a context that has ended")
	}
}
