package bus

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"fleetctl/internal/choria"
)

// linkEvent is one call of OnLink.
type linkEvent struct {
	up, gone bool
	at       time.Time
	err      error
}

func watched(o Options) (Options, <-chan linkEvent) {
	events := make(chan linkEvent, 16)
	o.OnLink = func(up, gone bool, at time.Time, err error) { events <- linkEvent{up, gone, at, err} }
	return o, events
}

func portOf(s *server.Server) int { return s.Addr().(*net.TCPAddr).Port }

func end(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func TestALostConnectionIsReportedAndItsReturnDated(t *testing.T) {
	s := broker(t, server.Options{})
	o, events := watched(Options{Servers: []string{s.ClientURL()}})
	c := connect(t, o)
	if at, down := c.Reconnected(); !at.IsZero() || down {
		t.Fatalf("a fresh connection: back %v, down %v", at, down)
	}
	port := portOf(s)
	end(s)
	if e := <-events; e.up || e.gone || e.err == nil || e.at.IsZero() {
		t.Errorf("the loss is reported as %+v", e)
	}
	if at, down := c.Reconnected(); !at.IsZero() || !down {
		t.Errorf("while it is away: back %v, down %v", at, down)
	}
	for what, err := range map[string]error{
		"publish": c.Publish("x", "", nil), "flush": c.Flush(t.Context()), "subscribe": second(c.Subscribe(t.Context(), "x", func(choria.Message) {})),
	} {
		if p := problem(t, err); !p.Lost || strings.Contains(p.Error(), "nats:") || strings.Contains(p.Error(), "buffer") {
			t.Errorf("%s while it is away: %q, lost %v", what, p, p.Lost)
		}
	}
	broker(t, server.Options{Port: port})
	e := <-events
	if !e.up || e.gone || e.err != nil {
		t.Errorf("the return is reported as %+v", e)
	}
	if at, down := c.Reconnected(); at.IsZero() || at.After(e.at) || down {
		t.Errorf("after it: back %v, reported at %v, down %v", at, e.at, down)
	}
	c.Close()
	select {
	case e := <-events:
		t.Errorf("our own Close is reported: %+v", e)
	default:
	}
}

func second(_ func(), err error) error { return err }

// Credentials that the broker takes no longer end the connection for good: nats.go gives up after two refusals.
// A broker that is away when we first call was away a moment ago, as after a loss: its servers may be on their way back.
func TestABrokerThatWasAwayAtFirstCountsAsReconnected(t *testing.T) {
	s := broker(t, server.Options{})
	o, port := Options{Servers: []string{s.ClientURL()}}, portOf(s)
	end(s)
	tried := make(chan struct{}, 1)
	o.Logger = slog.New(slog.NewTextHandler(onWrite(func(line string) {
		if strings.Contains(line, "trying again") {
			select {
			case tried <- struct{}{}:
			default:
			}
		}
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	var c *Conn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err = Connect(t.Context(), o)
	}()
	<-tried
	began := time.Now()
	broker(t, server.Options{Port: port})
	if <-done; err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if at, down := c.Reconnected(); at.Before(began) || down {
		t.Errorf("back %v, the broker started at %v, down %v", at, began, down)
	}
}

// onWrite is a writer that calls a function.
type onWrite func(string)

func (f onWrite) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}

func TestAConnectionThatEndsForGoodIsReported(t *testing.T) {
	s := broker(t, server.Options{Username: "u", Password: "p"})
	o, events := watched(Options{Servers: []string{s.ClientURL()}, User: "u", Password: "p"})
	c := connect(t, o)
	port := portOf(s)
	end(s)
	<-events
	broker(t, server.Options{Port: port, Username: "u", Password: "changed"})
	for e := range events {
		if e.up {
			t.Fatalf("connected with a wrong password: %+v", e)
		}
		if !e.gone {
			continue
		}
		p := problem(t, e.err)
		if !strings.Contains(p.Error(), "for good") || !strings.Contains(p.Error(), "credentials") || strings.Contains(p.Error(), "nats:") {
			t.Errorf("got %q", p)
		}
		break
	}
	if p := problem(t, c.Publish("x", "", nil)); !p.Lost {
		t.Errorf("publish on a connection that has ended: %q", p)
	}
}

// What was published to a broker that went away is lost, and a flush on the next connection does not know it: the time
// of the reconnect shows it, before anything can be published there.
func TestAReconnectBetweenPublishAndFlushShows(t *testing.T) {
	s := broker(t, server.Options{})
	o, events := watched(Options{Servers: []string{s.ClientURL()}})
	c := connect(t, o)
	var seen []time.Time
	for range 3 {
		before, _ := c.Reconnected()
		if err := c.Publish("x", "", []byte("lost")); err != nil {
			t.Fatal(err)
		}
		port := portOf(s)
		end(s)
		<-events
		s = broker(t, server.Options{Port: port})
		<-events
		if err := c.Flush(t.Context()); err != nil {
			t.Fatalf("the new connection works: %v", err)
		}
		after, down := c.Reconnected()
		if down || !after.After(before) {
			t.Errorf("back %v before, %v after, down %v", before, after, down)
		}
		seen = append(seen, after)
	}
	if again, _ := c.Reconnected(); !again.Equal(seen[2]) {
		t.Errorf("the time changes without a reconnect: %v, %v", seen[2], again)
	}
}

func TestARequestWithoutASubscriberIsReportedByTheBroker(t *testing.T) {
	s := broker(t, server.Options{})
	c := connect(t, Options{Servers: []string{s.ClientURL()}})
	got := make(chan choria.Message, 4)
	start := time.Now()
	stop, err := c.Subscribe(t.Context(), "in.*", func(m choria.Message) { got <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := c.Publish("nosuch", "in.absent", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if m := <-got; !m.NoResponders || m.Subject != "in.absent" || m.Arrived.Before(start) {
		t.Errorf("got %+v, want the 503", m)
	}
	if err := c.Publish("in.data", "", nil); err != nil {
		t.Fatal(err)
	}
	if m := <-got; m.NoResponders || m.Subject != "in.data" {
		t.Errorf("got %+v, want the empty message of no event", m)
	}
}

// announced starts two brokers that tell their clients of each other, and returns when they do.
func announced(t *testing.T, o server.Options, ours *tls.Config) (first, second *server.Server) {
	t.Helper()
	o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1}
	first = broker(t, o)
	next := o
	next.Port = 0
	next.Routes = server.RoutesFromStr(fmt.Sprintf("nats://127.0.0.1:%d", first.ClusterAddr().Port))
	second = broker(t, next)
	told := make(chan struct{}, 8)
	opts := []nats.Option{nats.DiscoveredServersHandler(func(*nats.Conn) { told <- struct{}{} })}
	if ours != nil {
		opts = append(opts, nats.Secure(ours))
	}
	nc, err := nats.Connect("nats://"+hostPort(first), opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for !slices.ContainsFunc(nc.Servers(), func(u string) bool { return strings.Contains(u, hostPort(second)) }) {
		<-told
	}
	return first, second
}

func hostPort(s *server.Server) string { return fmt.Sprintf("127.0.0.1:%d", portOf(s)) }

func TestAnAnnouncedBrokerIsUsedOnlyUnderTLS(t *testing.T) {
	pool, cert := authority(t)
	broke := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	for _, secure := range []bool{false, true} {
		var so server.Options
		o := Options{}
		if secure {
			so.TLSConfig, o.TLS = broke, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		}
		first, other := announced(t, so, o.TLS)
		o.Servers = []string{"nats://" + hostPort(first)}
		o, events := watched(o)
		c := connect(t, o)
		if c.Encrypted() != secure {
			t.Errorf("TLS %v: encrypted %v", secure, c.Encrypted())
		}
		if known := slices.ContainsFunc(c.nc.Servers(), func(u string) bool { return strings.Contains(u, hostPort(other)) }); known != secure {
			t.Errorf("TLS %v: the announced broker is in the pool: %v", secure, known)
		}
		end(first)
		<-events
		if !secure {
			if c.Encrypted() {
				t.Error("a connection that is away is called encrypted")
			}
			continue
		}
		if e := <-events; !e.up || !strings.Contains(c.URL(), hostPort(other)) || !c.Encrypted() {
			t.Errorf("after the loss: %+v, connected to %q, encrypted %v", e, c.URL(), c.Encrypted())
		}
	}
}

// plainAt is a broker without TLS that nothing should be sent to: heard is what a client sent it until its next try.
func plainAt(t *testing.T, port int) (heard <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	out := make(chan string, 64)
	go func() {
		var last net.Conn
		for {
			conn, err := l.Accept()
			if last != nil {
				last.Close() // nats.go leaves it open; ends the reading below
			}
			if err != nil {
				return // the test has ended
			}
			last = conn
			fmt.Fprintf(conn, "INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"headers\":true,\"max_payload\":1048576}\r\n")
			go func() {
				text, _ := io.ReadAll(conn) // the error is our own Close
				out <- string(text)
			}()
		}
	}()
	return out
}

// losesTLS begins under TLS, and the broker is replaced by one without: nothing may be sent to it.
func losesTLS(t *testing.T, o Options, cert tls.Certificate) {
	t.Helper()
	s := broker(t, server.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	o.Servers = []string{"nats://" + hostPort(s)}
	o, events := watched(o)
	c := connect(t, o)
	if !c.Encrypted() {
		t.Fatal("the connection does not begin under TLS")
	}
	port := portOf(s)
	end(s)
	<-events
	heard := plainAt(t, port)
	for range 2 {
		if text := <-heard; text != "" {
			t.Errorf("sent to a broker without TLS: %q", text)
		}
	}
	if _, down := c.Reconnected(); !down || c.Encrypted() {
		t.Errorf("down %v, encrypted %v", down, c.Encrypted())
	}
}

func TestTLSIsNeverLostAtAReconnect(t *testing.T) {
	pool, cert := authority(t)
	losesTLS(t, Options{TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}, cert)
}

// TLS that only the broker demands is checked against the system's roots, which a process reads once: it has its own.
func TestTLSThatTheBrokerDemandsIsNotLostEither(t *testing.T) {
	const key, chain = "FLEETCTL_TEST_KEY", "SSL_CERT_FILE"
	if file := os.Getenv(key); file != "" {
		cert, err := tls.LoadX509KeyPair(os.Getenv(chain), file)
		if err != nil {
			t.Fatal(err)
		}
		losesTLS(t, Options{}, cert)
		return
	}
	_, cert := authority(t)
	s := broker(t, server.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	if _, err := Connect(t.Context(), Options{Servers: []string{"nats://" + hostPort(s)}}); !problem(t, err).Final {
		t.Errorf("a broker of an unknown authority: %v", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.timeout=1m")
	child.Env = append(os.Environ(), key+"="+keyFile, chain+"="+certFile)
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestASlowReaderIsCounted(t *testing.T) {
	s := broker(t, server.Options{})
	c := connect(t, Options{Servers: []string{s.ClientURL()}})
	c.pendingMessages = 10
	block, entered := make(chan struct{}), make(chan struct{}, 200)
	stop, err := c.Subscribe(t.Context(), "x", func(choria.Message) {
		entered <- struct{}{}
		<-block
	})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(n int) {
		for range n {
			if err := c.Publish("x", "", nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	publish(1)
	<-entered // deliver holds the first one
	publish(100)
	if n := c.Dropped(); n != 91 {
		t.Errorf("dropped %d of 100 messages, want 91: ten are kept, with the one in hand", n)
	}
	close(block)
	stop()
	stop()
	if n := c.Dropped(); n != 91 {
		t.Errorf("%d dropped messages are remembered after the subscription's end, want 91", n)
	}
}

func TestProblemsAreInOurWords(t *testing.T) {
	for _, o := range ours {
		for _, err := range []error{o.err, fmt.Errorf("deep: %w", o.err)} {
			if text := words(err); strings.Contains(text, "nats:") || text != o.text {
				t.Errorf("%v: got %q, want %q", err, text, o.text)
			}
		}
	}
	if got := words(errors.New("nats: permissions violation: Permissions Violation for Publish to \"x\"")); got != "Permissions Violation for Publish to \"x\"" {
		t.Errorf("got %q", got)
	}
}
