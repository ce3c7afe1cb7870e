package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	startTimeout = 10 * time.Second
	maxPending   = 512 << 20 // a client may fall far behind a large fleet before it is cut off
)

// broker is the NATS server and the lab's own two connections to it.
type broker struct {
	server        *server.Server
	provisions    string // the provisioner's password
	main, nursery *nats.Conn
	url           string
}

func startBroker(ctx context.Context, o Options, creds *credentials) (*broker, error) {
	keeper := &doorkeeper{
		version: creds.version, issuer: creds.issuerPublic, fleet: rand.Text(), provisions: rand.Text(), log: o.Logger,
	}
	ns, err := server.NewServer(&server.Options{
		ServerName: "lab", Host: "127.0.0.1", Port: listenPort(o.Port), DontListen: o.InProcess, NoSigs: true,
		CustomClientAuthentication: keeper, AlwaysEnableNonce: true,
		TLSConfig: creds.brokerTLS, TLS: creds.brokerTLS != nil, TLSTimeout: 5, AuthTimeout: 5,
		MaxPending: maxPending, MaxPayload: 1 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("configure broker: %w", err)
	}
	if err := keeper.openAccounts(ns); err != nil {
		return nil, err
	}
	logger := &natsLogger{log: o.Logger, fatal: make(chan string, 1)}
	ns.SetLoggerV2(logger, false, false, false)
	ns.Start()
	b := &broker{server: ns, provisions: keeper.provisions}
	if err := b.connect(keeper.fleet); err != nil {
		b.close()
		return nil, err
	}
	if !o.InProcess {
		if err := logger.listening(ctx, ns); err != nil {
			b.close()
			return nil, fmt.Errorf("broker on 127.0.0.1:%d: %w", o.Port, err)
		}
		b.url = fmt.Sprintf("nats://127.0.0.1:%d", ns.Addr().(*net.TCPAddr).Port)
	}
	return b, context.Cause(ctx)
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

func (b *broker) connect(password string) error {
	open := func(user string) (*nats.Conn, error) {
		conn, err := nats.Connect("", nats.InProcessServer(b.server), nats.UserInfo(user, password), nats.Name(user),
			nats.NoReconnect(), nats.Timeout(startTimeout))
		if err != nil {
			return nil, fmt.Errorf("connect the fleet to its broker: %w", err)
		}
		return conn, nil
	}
	var err1, err2 error
	b.main, err1 = open(fleetUser)
	b.nursery, err2 = open(nurseryUser)
	return errors.Join(err1, err2)
}

// close ends the fleet's connections first, then the server, and waits for both.
func (b *broker) close() {
	for _, conn := range []*nats.Conn{b.main, b.nursery} {
		if conn != nil {
			conn.Close()
		}
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func listenPort(port int) int {
	if port == 0 {
		return server.RANDOM_PORT
	}
	return port
}

// natsLogger hands the broker's own messages on. The server has no other way to say
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
