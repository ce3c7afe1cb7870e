package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	startTimeout = 30 * time.Second // 100,000 nodes subscribe within it on a busy machine
	maxPending   = 512 << 20        // a client may fall far behind a large fleet before it is cut off
)

// broker is the NATS server, which may be stopped and started again on its port, and the
// lab's own two connections to it. With Options.Brokers it is a cluster: the first server
// has the fleet's connections, the others are its peers.
type broker struct {
	options           Options
	creds             *credentials
	fleet, provisions string // passwords
	routes            string // the password between the servers of a cluster
	main, nursery     *account
	urls              []string // of all servers; none for an in-process lab; they stay the same
	links             []int    // the ports of the cluster's routes
	store             folder   // of the streams; none without streams

	mu     sync.Mutex       // guards server and peers
	server *server.Server   // nil while it is stopped
	peers  []*server.Server // the others; one is nil while it is stopped
}

// url is the first server's address, "" for an in-process lab.
func (b *broker) url() string {
	if len(b.urls) == 0 {
		return ""
	}
	return b.urls[0]
}

func newBroker(o Options, creds *credentials) *broker {
	return &broker{
		options: o, creds: creds, fleet: rand.Text(), provisions: rand.Text(), routes: rand.Text(),
		main: newAccount(fleetUser, false, o.Nodes), nursery: newAccount(nurseryUser, true, o.Nodes),
	}
}

// start starts the servers and connects the lab to the first one. Nothing is subscribed
// yet. With streams it returns when the bucket exists that brokers make.
func (b *broker) start(ctx context.Context) error {
	if err := b.reservePorts(); err != nil {
		return err
	}
	err := b.launch(ctx)
	if err == nil {
		ns, _ := b.running()
		err = errors.Join(b.connect(ctx, ns, b.main), b.connect(ctx, ns, b.nursery))
	}
	if err == nil && b.options.Streams {
		err = b.makeBucket(ctx)
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		b.stop()
	}
	return err
}

// launch starts the servers, and waits until they listen.
func (b *broker) launch(ctx context.Context) error {
	loggers := make([]*natsLogger, b.options.Brokers)
	b.mu.Lock()
	b.peers = make([]*server.Server, b.options.Brokers-1)
	b.mu.Unlock()
	for i := range loggers {
		if i > 0 && b.options.StartPeer != nil {
			if err := b.options.StartPeer(b.peer(i)); err != nil {
				return fmt.Errorf("start server %d of the cluster: %w", i, err)
			}
			continue
		}
		ns, logger, err := b.prepare(i)
		if err != nil {
			return err
		}
		ns.Start()
		b.put(i, ns)
		if loggers[i] = logger; b.options.Streams {
			if err := b.openStreams(ns); err != nil {
				return err
			}
		}
	}
	if b.options.InProcess {
		return nil
	}
	for i, logger := range loggers {
		if logger == nil {
			continue
		}
		if err := b.listening(ctx, i, logger); err != nil {
			return err
		}
	}
	return nil
}

// listening waits until a server listens, and keeps its address.
func (b *broker) listening(ctx context.Context, i int, logger *natsLogger) error {
	ns := b.at(i)
	if err := logger.listening(ctx, ns); err != nil {
		return fmt.Errorf("broker on 127.0.0.1:%d: %w", b.port(i), err)
	}
	if i == len(b.urls) {
		b.urls = append(b.urls, fmt.Sprintf("nats://127.0.0.1:%d", ns.Addr().(*net.TCPAddr).Port))
	}
	return nil
}

// prepare makes one server, not started.
func (b *broker) prepare(i int) (*server.Server, *natsLogger, error) {
	o := b.options
	keeper := &doorkeeper{
		version: b.creds.version, issuer: b.creds.issuerPublic, fleet: b.fleet, provisions: b.provisions, fips: o.FIPS, log: o.Logger,
	}
	options := &server.Options{
		ServerName: serverName(i), Host: "127.0.0.1", Port: b.port(i), DontListen: o.InProcess, NoSigs: true,
		CustomClientAuthentication: keeper, AlwaysEnableNonce: true,
		TLSConfig: b.creds.brokerTLS, TLS: b.creds.brokerTLS != nil, TLSTimeout: 5, AuthTimeout: 5,
		MaxPending: maxPending, MaxPayload: 1 << 20,
	}
	b.withStreams(i, options)
	b.withPeers(i, options)
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, nil, fmt.Errorf("configure broker: %w", err)
	}
	if err := keeper.openAccounts(ns); err != nil {
		return nil, nil, err
	}
	logger := &natsLogger{log: o.Logger, fatal: make(chan string, 1)}
	ns.SetLoggerV2(logger, false, false, false)
	return ns, logger, nil
}

// openAccounts makes the two accounts. Lifecycle events of nodes in provisioning mode
// are seen from the main account too.
func (d *doorkeeper) openAccounts(ns *server.Server) error {
	d.main, _ = ns.LookupOrRegisterAccount("choria")
	d.nursery, _ = ns.LookupOrRegisterAccount("provisioning")
	if err := d.nursery.AddStreamExport("choria.lifecycle.>", []*server.Account{d.main}); err != nil {
		return fmt.Errorf("export lifecycle events: %w", err)
	}
	if err := d.main.AddStreamImport(d.nursery, "choria.lifecycle.>", ""); err != nil {
		return fmt.Errorf("import lifecycle events: %w", err)
	}
	return nil
}

func (b *broker) connect(ctx context.Context, ns *server.Server, a *account) error {
	conn, err := nats.Connect("", nats.InProcessServer(ns), nats.UserInfo(a.user, b.fleet), nats.Name(a.user),
		nats.NoReconnect(), nats.Timeout(startTimeout), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.options.Logger.Error("the fleet's connection", "account", a.user, "error", err)
		}))
	if err != nil {
		return fmt.Errorf("connect the fleet to its broker: %w", err)
	}
	a.open(ctx, conn)
	return nil
}

// flush waits until the server knows all subscriptions.
func (b *broker) flush() error { return errors.Join(b.main.flush(), b.nursery.flush()) }

// running returns the server, or an error while it is stopped.
func (b *broker) running() (*server.Server, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server == nil {
		return nil, errBrokerDown
	}
	return b.server, nil
}

// stop ends the fleet's connections first, then the server, and waits for both. It does
// nothing when the server is stopped.
func (b *broker) stop() {
	b.main.close()
	b.nursery.close()
	b.mu.Lock()
	all := append([]*server.Server{b.server}, b.peers...)
	b.server, b.peers = nil, nil
	b.mu.Unlock()
	for _, ns := range all {
		if ns != nil {
			ns.Shutdown()
			ns.WaitForShutdown()
		}
	}
}

// natsLogger hands the broker's own messages on. The server has no other way to report
// that it could not listen than a fatal message.
type natsLogger struct {
	log   *slog.Logger
	fatal chan string
}

// listening waits until the server accepts connections.
func (l *natsLogger) listening(ctx context.Context, ns *server.Server) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("it does not listen"))
	defer cancel()
	for !ns.ReadyForConnections(20 * time.Millisecond) {
		select {
		case text := <-l.fatal:
			return errors.New(text)
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
	}
	return nil
}

func (l *natsLogger) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
}

func (l *natsLogger) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *natsLogger) Warnf(format string, v ...any)   { l.log.Info(fmt.Sprintf(format, v...)) }
func (l *natsLogger) Errorf(format string, v ...any)  { l.log.Info(fmt.Sprintf(format, v...)) }
func (l *natsLogger) Debugf(string, ...any)           {}
func (l *natsLogger) Tracef(string, ...any)           {}
