// Package bus is the one connection to the message bus that a run has.
//
// It knows NATS: dialling within a budget, TLS, tokens and the nonce, subscriptions with a plain callback, publishing
// and the flush that proves the broker took it. It survives reconnects and never keeps a message to be sent later: the
// reconnect buffer is off, so that a lost broker cannot act on an operator's behalf minutes afterwards. What the broker
// refuses is said in words (Problem). It does not know Choria's messages, and it reads no configuration.
package bus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"fleetctl/internal/choria"

	"github.com/nats-io/nats.go"
)

// Defaults of Options.
const (
	DefaultConnectTimeout = 5 * time.Second
	dialTimeout           = 2 * time.Second  // one server, one try
	flushTimeout          = 10 * time.Second // when the caller's context has no deadline
	pingInterval          = 20 * time.Second
	pendingBytes          = 512 << 20 // replies waiting to be decoded, of one subscription
)

// InProcess gives connections without a socket, as an embedded server does.
type InProcess interface {
	InProcessConn() (net.Conn, error)
}

// Options says where and as whom to connect. The zero value of a field is its documented default.
type Options struct {
	// Servers are URLs; at least one, unless InProcess is set.
	Servers []string
	// Name is shown by the broker to its operators.
	Name string
	// TLS is nil for a connection without TLS.
	TLS *tls.Config
	// Token is the JWT that is sent as auth_token; SignNonce then signs the broker's nonce.
	Token     string
	SignNonce func(nonce []byte) ([]byte, error)
	// User and Password are sent only when both are set.
	User, Password string
	// Credentials is a NATS credentials file.
	Credentials string
	// ReplyPrefix is the inbox prefix that the broker's permissions allow.
	ReplyPrefix string
	// ConnectTimeout bounds the whole of Connect, every server and every try; zero is DefaultConnectTimeout.
	ConnectTimeout time.Duration
	InProcess      InProcess
	Logger         *slog.Logger
}

// Conn is a connection. It is safe for concurrent use.
type Conn struct {
	nc    *nats.Conn
	dials *dialer
	log   *slog.Logger

	mu        sync.Mutex // guards what follows
	lastError error      // the violation that was told last: each one is a value of its own
	back      time.Time  // when the connection was last back; zero: never lost
	down      bool
}

// Connect dials the servers until one lets us in or the budget is used up. A refusal that another try would not
// change (authorization, a certificate that does not verify) ends it at once. The error is a *Problem.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	budget := cmp.Or(o.ConnectTimeout, DefaultConnectTimeout)
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	c := &Conn{dials: &dialer{ctx: ctx, failed: map[string]error{}}, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler))}
	opts, err := c.natsOptions(o, budget)
	if err != nil {
		return nil, err
	}
	wait := 100 * time.Millisecond
	for {
		nc, err := dial(ctx, strings.Join(o.Servers, ","), opts)
		if err == nil {
			c.nc = nc
			c.dials.connected()
			return c, nil
		}
		problem := c.explain(err, o)
		if problem.Final || ctx.Err() != nil {
			return nil, problem
		}
		c.log.Debug("connect failed, trying again", "error", problem)
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return nil, cause
			}
			return nil, problem
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Second)
	}
}

// dial is nats.Connect that a context can interrupt: a broker that accepts and then says nothing must not hold us.
func dial(ctx context.Context, servers string, opts []nats.Option) (*nats.Conn, error) {
	type result struct {
		nc  *nats.Conn
		err error
	}
	ch := make(chan result, 1)
	go func() {
		nc, err := nats.Connect(servers, opts...)
		ch <- result{nc, err}
	}()
	select {
	case r := <-ch:
		return r.nc, r.err
	case <-ctx.Done():
		go func() {
			if r := <-ch; r.nc != nil {
				r.nc.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

func (c *Conn) natsOptions(o Options, budget time.Duration) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(o.Name), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.PingInterval(pingInterval),
		nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.Timeout(min(dialTimeout, budget)), nats.SetCustomDialer(c.dials),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.log.Warn("the broker reports", "error", err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // none: we have closed it
				c.log.Warn("connection to the broker lost", "error", err)
			}
			c.mu.Lock()
			c.down = true
			c.mu.Unlock()
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.mu.Lock()
			c.back, c.down = time.Now(), false
			c.mu.Unlock()
			c.log.Warn("connected to the broker again", "server", nc.ConnectedAddr())
		}),
	}
	if o.ReplyPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(o.ReplyPrefix))
	}
	if o.TLS != nil {
		opts = append(opts, nats.Secure(o.TLS))
	}
	if o.Token != "" {
		opts = append(opts, nats.Token(o.Token), nats.UserJWT(func() (string, error) { return o.Token, nil }, o.SignNonce))
	}
	if o.User != "" && o.Password != "" {
		opts = append(opts, nats.UserInfo(o.User, o.Password))
	}
	if o.Credentials != "" {
		opts = append(opts, nats.UserCredentials(o.Credentials))
	}
	if o.InProcess != nil {
		opts = append(opts, nats.InProcessServer(o.InProcess))
	} else if len(o.Servers) == 0 {
		return nil, &Problem{What: "no broker is configured", Final: true}
	}
	return opts, nil
}

// Publish queues a message; it fails at once while the connection is down. reply is its NATS reply subject, "" for none.
func (c *Conn) Publish(subject, reply string, data []byte) error {
	publish := c.nc.Publish
	if reply != "" { // PublishRequest refuses an empty one
		publish = func(subject string, data []byte) error { return c.nc.PublishRequest(subject, reply, data) }
	}
	if err := publish(subject, data); err != nil {
		return c.asProblem(err, "publish to "+subject)
	}
	return nil
}

// Subscribe calls deliver for every message, one after another in the order of arrival, from a goroutine of the
// subscription; deliver owns the bytes. It returns once the broker has accepted the subscription.
func (c *Conn) Subscribe(ctx context.Context, subject string, deliver func(choria.Message)) (stop func(), err error) {
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		deliver(choria.Message{
			Subject: m.Subject, Data: m.Data, Arrived: time.Now(),
			NoResponders: len(m.Data) == 0 && m.Header.Get("Status") == "503",
		})
	})
	if err != nil {
		return nil, c.asProblem(err, "subscribe to "+subject)
	}
	if err := sub.SetPendingLimits(-1, pendingBytes); err != nil {
		return nil, c.asProblem(err, "subscribe to "+subject)
	}
	if err := c.flush(ctx, `subscription to "`+strings.ToLower(subject)+`"`); err != nil {
		_ = sub.Unsubscribe() // the first error is the one to tell
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only on a connection that is closed
}

// Flush returns when the broker has taken all that was published before, or a *Problem: the connection was lost
// meanwhile, the context ended, or the broker refused a subject that was published to since the last Flush. A refused
// subscription is told by Subscribe alone: it must not look as if a request had been refused.
func (c *Conn) Flush(ctx context.Context) error {
	return c.flush(ctx, `publish to "`)
}

// flush waits for the broker, and returns a new violation whose words contain those given.
func (c *Conn) flush(ctx context.Context, about string) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, flushTimeout)
		defer cancel()
	}
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return c.asProblem(err, "wait for the broker")
	}
	// nats.go sets this error before it reads the answer to the flush.
	err := c.nc.LastError()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || err == c.lastError || !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(strings.ToLower(err.Error()), about) {
		return nil
	}
	c.lastError = err
	return denied(err)
}

// URL is the address of the broker that we are connected to, with its scheme.
func (c *Conn) URL() string { return c.nc.ConnectedUrl() }

// Reconnected is when the connection came back after it was last lost; zero when it was never lost. down: it is away now.
func (c *Conn) Reconnected() (at time.Time, down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.back, c.down
}

// Encrypted tells whether the connection is under TLS.
func (c *Conn) Encrypted() bool {
	_, err := c.nc.TLSConnectionState()
	return err == nil
}

// Close ends the connection. Everything that must be sent was flushed before.
func (c *Conn) Close() { c.nc.Close() }
