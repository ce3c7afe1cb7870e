// Package bus is the connection to the broker. A process has one connection.
//
// It knows NATS: dialing within a budget, TLS, tokens and the nonce, subscriptions with a plain callback, publishing
// and the flush that confirms that the broker received the messages. It survives reconnects. It never keeps a message to
// send it later: the reconnect buffer is off, so that a request cannot leave minutes after the connection was lost. A
// refusal of the broker becomes a Problem, an error with a text and a hint for the operator. The package does not know
// Choria's messages, and it reads no configuration.
package bus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"fleetctl/internal/choria"
)

// Defaults of Options.
const (
	DefaultConnectTimeout = 5 * time.Second
	dialTimeout           = 2 * time.Second  // one server, one try
	flushTimeout          = 10 * time.Second // when the caller's context has no deadline
	pingInterval          = 20 * time.Second

	// What nats.go may keep of one subscription before deliver is called. Deliver only puts messages aside, which costs
	// less than nats.go needs to read them: this much is there for moments in which the process does not get the CPU.
	// What is beyond is dropped, and counted by Dropped.
	pendingMessages = 65_536
	pendingBytes    = 128 << 20
)

// InProcess gives connections without a socket, as an embedded server does.
type InProcess interface {
	InProcessConn() (net.Conn, error)
}

// Options define where to connect, and with which identity. The zero value of a field is its documented default.
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
	// ReplyPrefixes are the inbox prefixes that the broker's permissions may allow. Connect takes the first one of them that
	// they do allow, for as long as the connection lives; see Conn.ReplyPrefix. One alone is not tried.
	ReplyPrefixes []string
	// ConnectTimeout bounds the whole of Connect, every server and every try; zero is DefaultConnectTimeout.
	ConnectTimeout time.Duration
	InProcess      InProcess
	Logger         *slog.Logger
	// OnLink is called, one call after another, when the connection is lost or its broker does not answer (up and gone
	// false), when it is back or the broker answers again (up), and when it has ended for good without Close (gone), as after
	// expired credentials. err is why, nil when it is back. A broker that did not answer may then be reported as lost, too.
	// It must be quick. Nil: not wanted.
	OnLink func(up, gone bool, at time.Time, err error)
}

// Conn is a connection. It is safe for concurrent use.
type Conn struct {
	nc    *nats.Conn
	dials *dialer
	hurry *hurry
	log   *slog.Logger
	// onLink is Options.OnLink.
	onLink func(up, gone bool, at time.Time, err error)
	// inbox is the one of Options.ReplyPrefixes that the broker allows.
	inbox string

	down    atomic.Bool // between a loss and the return; known without the lock that nats.go holds while it dials
	closing atomic.Bool // Close was called

	mu        sync.Mutex // guards what follows
	lastError error      // the violation that was reported last: each one is a value of its own
	back      time.Time  // see Reconnected
	reconns   uint64     // nats.go's count of reconnects that back belongs to
	subs      map[*nats.Subscription]struct{}
	dropped   int // of subscriptions that have ended

	telling sync.Mutex // one call of onLink after another; guards isSlow
	isSlow  bool       // the broker is reported as away, because it does not answer
	late    sync.WaitGroup

	pendingMessages, pendingBytes int           // smaller in tests
	slowAfter                     time.Duration // shorter in tests
}

// Connect dials the servers until one accepts the connection or the time budget is used up. A refusal that another try
// would not change (authorization, a certificate that does not verify) ends it at once. The error is a *Problem. A broker
// that accepted only at another try was away a moment ago: that counts as a reconnect (see Reconnected).
func Connect(ctx context.Context, o Options) (*Conn, error) {
	budget := cmp.Or(o.ConnectTimeout, DefaultConnectTimeout)
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	hurry := newHurry()
	c := &Conn{
		onLink: o.OnLink, hurry: hurry,
		dials: &dialer{ctx: ctx, failed: map[string]error{}, hurry: hurry}, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		subs: map[*nats.Subscription]struct{}{}, pendingMessages: pendingMessages, pendingBytes: pendingBytes, slowAfter: slowAfter,
	}
	opts, err := c.natsOptions(o, budget)
	if err != nil {
		return nil, err
	}
	wait, away := 100*time.Millisecond, false
	for {
		nc, err := dial(ctx, strings.Join(o.Servers, ","), opts)
		if err == nil && o.TLS == nil && underTLS(nc) {
			// The broker demanded TLS, and nats.go forgets that at a reconnect. Ours to demand it, from the first moment on.
			discard(nc)
			o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
			if opts, err = c.natsOptions(o, budget); err == nil {
				nc, err = dial(ctx, strings.Join(o.Servers, ","), opts)
			}
		}
		if err == nil {
			c.nc = nc
			c.dials.connected()
			if away {
				c.back = time.Now()
			}
			c.log.Debug("connected to the broker", "server", c.URL(), "tls", underTLS(nc), "name", o.Name)
			c.chooseInbox(ctx, o.ReplyPrefixes)
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
		wait, away = min(2*wait, time.Second), true
	}
}

// dial is nats.Connect that a context can interrupt: a broker that accepts and then sends nothing must not block the caller.
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
				discard(r.nc)
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// discard closes a connection that was never used, without an event.
func discard(nc *nats.Conn) {
	nc.SetDisconnectErrHandler(nil)
	nc.SetClosedHandler(nil)
	nc.Close()
}

func (c *Conn) natsOptions(o Options, budget time.Duration) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(o.Name), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.PingInterval(pingInterval),
		nats.ReconnectOnFlusherError(), // else what could not be written is dropped, and a later flush succeeds
		nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.Timeout(min(dialTimeout, budget)), nats.SetCustomDialer(c.dials),
		nats.ErrorHandler(c.reported), nats.DisconnectErrHandler(c.lost), nats.ReconnectHandler(c.returned), nats.ClosedHandler(c.gone),
	}
	if len(o.ReplyPrefixes) > 0 {
		opts = append(opts, nats.CustomInboxPrefix(o.ReplyPrefixes[0]))
	}
	if o.TLS != nil {
		opts = append(opts, nats.Secure(o.TLS)) // at every reconnect: nats.go then refuses a broker without TLS
	} else {
		opts = append(opts, nats.IgnoreDiscoveredServers())
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

// Publish queues a message; reply is its NATS reply subject, "" for none. It fails at once while the connection is down.
func (c *Conn) Publish(subject, reply string, data []byte) error {
	act := "publish to " + subject
	if c.down.Load() {
		return lostWhile(act)
	}
	var err error
	if reply == "" {
		err = c.nc.Publish(subject, data)
	} else {
		err = c.nc.PublishRequest(subject, reply, data)
	}
	if err != nil {
		return c.asProblem(err, act)
	}
	return nil
}

// Subscribe calls deliver for every message, one after another in the order of arrival, from a goroutine of the
// subscription; deliver owns the bytes, and must be quick: a message counts as arrived when it is called. It returns once
// the broker has accepted the subscription. Stop may be called twice.
func (c *Conn) Subscribe(ctx context.Context, subject string, deliver func(choria.Message)) (stop func(), err error) {
	act := "subscribe to " + subject
	if c.down.Load() {
		return nil, lostWhile(act)
	}
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		deliver(choria.Message{Subject: m.Subject, Data: m.Data, Arrived: time.Now(), NoResponders: noResponders(m)})
	})
	if err != nil {
		return nil, c.asProblem(err, act)
	}
	c.mu.Lock()
	c.subs[sub] = struct{}{}
	c.mu.Unlock()
	stop = sync.OnceFunc(func() { c.unsubscribe(sub) })
	if err := sub.SetPendingLimits(c.pendingMessages, c.pendingBytes); err != nil {
		stop()
		return nil, c.asProblem(err, act)
	}
	if err := c.flush(ctx, `subscription to "`+strings.ToLower(subject)+`"`); err != nil {
		stop()
		return nil, err
	}
	c.log.Debug("subscribed", "subject", subject)
	return stop, nil
}

// noResponders recognizes the broker's answer to a request without a subscriber (docs/protocol.md, subjects).
func noResponders(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }

func (c *Conn) unsubscribe(sub *nats.Subscription) {
	n, _ := sub.Dropped() // an error: the connection is closed
	_ = sub.Unsubscribe() // fails only on a connection that is closed
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.subs, sub)
	c.dropped += n
}

// Dropped counts the messages that arrived and were dropped unread, because this process did not get to read them in
// time.
func (c *Conn) Dropped() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := c.dropped
	for sub := range c.subs {
		if n, err := sub.Dropped(); err == nil {
			total += n
		}
	}
	return total
}

// Flush returns when the broker has taken all that was published before, or a *Problem: the connection was lost
// meanwhile, the context ended, or the broker refused a subject that was published to since the last Flush. A refused
// subscription is reported by Subscribe alone: it must not look as if a request had been refused. A connection that was lost
// and came back between a Publish and the Flush has lost what was published, and Flush cannot know which messages: compare
// Reconnected before the first Publish and after the Flush.
func (c *Conn) Flush(ctx context.Context) error {
	return c.flush(ctx, published)
}

// published begins the broker's words about a refused publish, and own what it refuses of Request: subjects of the brokers'
// own services, which no request to a node has.
const (
	published = `publish to "`
	own       = published + `$`
)

// flush waits for the broker, and returns a new violation whose words contain those given.
func (c *Conn) flush(ctx context.Context, about string) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, flushTimeout)
		defer cancel()
	}
	if c.down.Load() {
		return lostWhile("")
	}
	defer c.hurry.await()()
	if err := c.confirm(ctx); err != nil {
		return c.asProblem(err, "")
	}
	// nats.go sets this error before it reads the answer to the flush.
	err := c.nc.LastError()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || err == c.lastError || !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	text := strings.ToLower(err.Error())
	if !strings.Contains(text, about) || about == published && strings.Contains(text, own) {
		return nil
	}
	c.lastError = err
	return denied(err)
}

// URL is the address of the broker that we are connected to, with its scheme. A user and a password in the configured
// address are left out: every message that is sent holds the URL, and messages and logs show it.
func (c *Conn) URL() string { return publicURL(c.nc.ConnectedUrl()) }

func publicURL(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	u.User = nil
	return u.String()
}

// Encrypted reports whether the connection to the broker of this moment is under TLS; false while there is none. It is
// cheap: ask before each batch.
func (c *Conn) Encrypted() bool { return !c.down.Load() && underTLS(c.nc) }

func underTLS(nc *nats.Conn) bool {
	_, err := nc.TLSConnectionState()
	return err == nil
}

// Close ends the connection. Everything that must be sent was flushed before.
func (c *Conn) Close() {
	c.telling.Lock()
	c.closing.Store(true)
	c.telling.Unlock()
	c.nc.Close()
	c.late.Wait()
}
