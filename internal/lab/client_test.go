package lab

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/security"

	"github.com/nats-io/nats.go"
)

// client is a caller made of nats.go and our protocol and security packages.
type client struct {
	t           testing.TB
	lab         *Lab
	id          *security.Identity
	conn        *nats.Conn
	collective  string
	replyPrefix string     // "": as a client outside FIPS
	problems    chan error // what the broker says about us
}

// reply is a decoded reply, with what is false about it.
type reply struct {
	sender, id string
	err        error // hash or signature
	rpc        choria.RPCReply
	text       string
}

// testKey spares each v1 lab of the tests the making of an RSA key.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func start(t testing.TB, o Options) *Lab {
	t.Helper()
	o.operatorKey = testKey()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	l, err := Start(t.Context(), o)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// identityOf opens the credentials of the lab's operator, or of its provisioner.
func identityOf(t testing.TB, l *Lab, name string) *security.Identity {
	t.Helper()
	o := security.Options{CA: filepath.Join(l.Dir(), "ca.pem"), User: "tester"}
	if l.options.Protocol == 2 {
		o.Provider, o.Identity = "choria", "operator.example.net"
		o.TokenFile, o.SeedFile = filepath.Join(l.Dir(), name+".jwt"), filepath.Join(l.Dir(), name+".seed")
		o.Issuers = map[string]string{"choria": hexKey(l)}
	} else {
		o.Provider, o.Identity = "file", operatorName
		o.Certificate, o.Key = filepath.Join(l.Dir(), "operator.pem"), filepath.Join(l.Dir(), "operator.key")
	}
	id, err := security.Open(o, time.Now())
	if err != nil {
		t.Fatalf("open credentials: %v", err)
	}
	return id
}

func dialAs(t testing.TB, l *Lab, name string, extra ...nats.Option) *client {
	t.Helper()
	c := &client{t: t, lab: l, id: identityOf(t, l, name), collective: l.creds.mainCollective(), problems: make(chan error, 16)}
	options := []nats.Option{nats.NoReconnect(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.problems <- err })}
	if l.options.InProcess {
		options = append(options, nats.InProcessServer(l))
	} else {
		tls, err := c.id.TLS()
		if err != nil {
			t.Fatalf("TLS: %v", err)
		}
		options = append(options, nats.Secure(tls))
	}
	if token := c.id.Token(); token != "" {
		options = append(options, nats.Token(token), nats.UserJWT(func() (string, error) { return token, nil }, c.id.SignNonce))
	}
	if name == "provisioner" {
		c.collective = "provisioning"
		options = append(options, nats.UserInfo(provisionerUser, l.broker.provisions))
	}
	conn, err := nats.Connect(l.URL(), append(options, extra...)...)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(conn.Close)
	c.conn = conn
	return c
}

func dial(t testing.TB, l *Lab) *client { t.Helper(); return dialAs(t, l, "operator") }

// ask is one request. Without nodes it is broadcast.
type ask struct {
	agent, action string
	data          string // JSON, "" is {}
	filter        choria.Filter
	nodes         []string
	collective    string
	service       bool
	ttl           time.Duration
	age           time.Duration
	inbox         string // NATS reply subject, on which the broker says that nothing listens
}

// publish sends the request and returns its reply subscription.
func (c *client) publish(a ask) *nats.Subscription {
	c.t.Helper()
	payload := choria.DiscoveryPing()
	if a.agent != "discovery" {
		if a.data == "" {
			a.data = "{}"
		}
		var err error
		if payload, err = choria.EncodeRPCRequest(choria.RPCRequest{Agent: a.agent, Action: a.action, Data: json.RawMessage(a.data)}); err != nil {
			c.t.Fatal(err)
		}
	}
	if a.collective == "" {
		a.collective = c.collective
	}
	if a.ttl == 0 {
		a.ttl = time.Minute
	}
	v := c.id.Version()
	r := choria.Request{
		Version: v, ID: choria.NewRequestID(v, time.Now()), Sender: c.id.Sender(), Caller: c.id.Caller(), Collective: a.collective,
		Agent: a.agent, TTL: a.ttl, Time: time.Now().Add(-a.age), Filter: a.filter, Payload: payload,
	}
	request, err := choria.EncodeRequest(r)
	if err != nil {
		c.t.Fatal(err)
	}
	sealed, err := c.id.Seal(c.t.Context(), request)
	if err != nil {
		c.t.Fatal(err)
	}
	prefix := c.replyPrefix
	if prefix == "" {
		prefix = choria.ReplyPrefix(a.collective, c.id.Caller(), choria.MD5)
	}
	subject := prefix + "." + r.ID
	transport, err := choria.EncodeTransport(choria.Transport{Version: v, Data: sealed, ReplyTo: subject, Sender: c.id.Sender()})
	if err != nil {
		c.t.Fatal(err)
	}
	sub, err := c.conn.SubscribeSync(subject)
	if err != nil {
		c.t.Fatal(err)
	}
	targets := []string{choria.BroadcastSubject(a.collective, a.agent)}
	if a.service {
		targets = []string{choria.ServiceSubject(a.collective, a.agent)}
	}
	if len(a.nodes) > 0 {
		targets = nil
		for _, node := range a.nodes {
			targets = append(targets, choria.NodeSubject(a.collective, node))
		}
	}
	for _, target := range targets {
		if err := c.conn.PublishMsg(&nats.Msg{Subject: target, Reply: a.inbox, Data: transport}); err != nil {
			c.t.Fatal(err)
		}
	}
	c.flush()
	return sub
}

func (c *client) flush() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	if err := c.conn.FlushWithContext(ctx); err != nil {
		c.t.Fatal(err)
	}
}

// collect reads replies until there are want of them, or the time has passed.
func (c *client) collect(sub *nats.Subscription, want int, within time.Duration) []reply {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), within)
	defer cancel()
	var replies []reply
	for want < 0 || len(replies) < want {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			c.t.Fatal(err)
		}
		replies = append(replies, c.open(m.Data))
	}
	return replies
}

func (c *client) open(data []byte) reply {
	c.t.Helper()
	transport, err := choria.DecodeTransport(data)
	if err != nil {
		c.t.Fatalf("transport: %v", err)
	}
	r := reply{sender: transport.Sender}
	secure, err := choria.DecodeSecureReply(transport.Data)
	if err != nil {
		r.err = err
		return r
	}
	sender, err := c.id.OpenReply(secure, c.collective)
	if err != nil {
		r.err = err
		return r
	}
	inner, err := choria.DecodeReply(transport.Version, secure.Reply)
	if err != nil {
		c.t.Fatalf("reply: %v", err)
	}
	if sender != "" && sender != inner.Sender {
		r.err = errors.New("the token is another's")
		return r
	}
	r.sender, r.id = inner.Sender, inner.RequestID
	if inner.Agent == "discovery" {
		r.text = string(inner.Payload)
		return r
	}
	if r.rpc, err = choria.DecodeRPCReply(inner.Payload); err != nil {
		c.t.Fatalf("rpc reply: %v", err)
	}
	r.text = r.rpc.StatusMsg
	var m message
	if json.Unmarshal(r.rpc.Data, &m) == nil && m.Message != "" {
		r.text = m.Message
	}
	return r
}

// one asks one node and wants exactly one reply.
func (c *client) one(node, agent, action, data string) reply {
	c.t.Helper()
	replies := c.collect(c.publish(ask{agent: agent, action: action, data: data, nodes: []string{node}}), 1, 20*time.Second)
	if len(replies) != 1 {
		c.t.Fatalf("%s#%s: no reply from %s", agent, action, node)
	}
	if replies[0].err != nil || replies[0].sender != node {
		c.t.Fatalf("%s#%s: reply of %q: %v, want %q", agent, action, replies[0].sender, replies[0].err, node)
	}
	return replies[0]
}

// silent asks one node and wants no reply.
func (c *client) silent(a ask) {
	c.t.Helper()
	if replies := c.collect(c.publish(a), 1, 22*time.Second); len(replies) != 0 {
		c.t.Errorf("%s#%s: got reply %+v, want none", a.agent, a.action, replies[0])
	}
}

// started asks a node when its process began.
func (c *client) started(node string) int64 {
	c.t.Helper()
	var stats struct {
		StartTime int64 `json:"starttime"`
	}
	r := c.one(node, "rpcutil", "daemon_stats", "")
	if err := json.Unmarshal(r.rpc.Data, &stats); err != nil {
		c.t.Fatal(err)
	}
	return stats.StartTime
}

// discover returns who answers a discovery broadcast, sorted.
func (c *client) discover(f choria.Filter, within time.Duration) []string {
	c.t.Helper()
	var names []string
	for _, r := range c.collect(c.publish(ask{agent: "discovery", filter: f}), -1, within) {
		if r.err != nil || r.text != "pong" {
			c.t.Fatalf("discovery reply of %s: %q, %v", r.sender, r.text, r.err)
		}
		names = append(names, r.sender)
	}
	slices.Sort(names)
	return names
}

// pick returns the first node for which the condition holds.
func pick(t testing.TB, l *Lab, fits func(NodeInfo) bool) string {
	t.Helper()
	for _, n := range l.Nodes() {
		if fits(n) {
			return n.Identity
		}
	}
	t.Fatal("no such node in the lab")
	return ""
}

func sha256Hex(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
