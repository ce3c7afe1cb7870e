package bus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fleetctl/internal/choria"
)

// broker starts a NATS server on a free port of loopback and ends it with the test.
func broker(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the test broker does not start")
	}
	return s
}

func connect(t *testing.T, o Options) *Conn {
	t.Helper()
	c, err := Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// authority makes a throwaway certificate authority and a server certificate for 127.0.0.1.
func authority(t *testing.T) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func problem(t *testing.T, err error) *Problem {
	t.Helper()
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		t.Fatalf("got error %v (%T), want a *Problem", err, err)
	}
	return p
}

func TestConnectReportsWhyNoBrokerAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	start := time.Now()
	_, err = Connect(t.Context(), Options{Servers: []string{"nats://" + address}, ConnectTimeout: 300 * time.Millisecond})
	p := problem(t, err)
	if !strings.Contains(p.Error(), address) || !strings.Contains(p.Error(), "refused") {
		t.Errorf("error %q names neither %s nor the refusal", p, address)
	}
	if p.Final {
		t.Error("a refused connection is worth another try, got Final")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("gave up after %v, budget was 300ms", took)
	}
}

// lateContext is a context whose end has come, and whose timer has not run yet.
type lateContext struct{ context.Context }

func (lateContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

func TestTheEndOfTheBudgetDoesNotHideWhatABrokerSaid(t *testing.T) {
	refused := errors.New("connection refused")
	d := &dialer{ctx: lateContext{t.Context()}, failed: map[string]error{"127.0.0.1:1": refused}}
	if _, err := d.Dial("tcp", "127.0.0.1:1"); err == nil || d.failed["127.0.0.1:1"] != refused {
		t.Errorf("dialed with %v, and remembered %v", err, d.failed)
	}
}

func TestConnectGivesUpOnASilentBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Connect(t.Context(), Options{Servers: []string{"nats://" + l.Addr().String()}, ConnectTimeout: 200 * time.Millisecond})
	if p := problem(t, err); !strings.Contains(p.Error(), "does not answer in time") {
		t.Errorf("got %q", p)
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	stop := errors.New("stopped by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	_, err := Connect(ctx, Options{Servers: []string{"nats://127.0.0.1:1"}})
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want the context's cause", err)
	}
}

func TestConnectRefusesACertificateOfAnotherAuthority(t *testing.T) {
	_, cert := authority(t)
	other, _ := authority(t)
	s := broker(t, server.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	_, err := Connect(t.Context(), Options{Servers: []string{s.ClientURL()}, TLS: &tls.Config{RootCAs: other, MinVersion: tls.VersionTLS12}})
	p := problem(t, err)
	if !p.Final || !strings.Contains(p.What, "another certificate authority") {
		t.Errorf("got %q, final %v", p, p.Final)
	}
}

func TestConnectSaysThatOurCertificateIsNotAccepted(t *testing.T) {
	pool, cert := authority(t)
	_, ours := authority(t)
	s := broker(t, server.Options{TLS: true, TLSVerify: true, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		_, err := Connect(t.Context(), Options{Servers: []string{s.ClientURL()}, ConnectTimeout: 2 * time.Second,
			TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{ours}, MinVersion: version, MaxVersion: version}})
		p := problem(t, err)
		if !strings.Contains(p.What, "does not accept our certificate") {
			t.Errorf("TLS %x: got %q (%v)", version, p.What, p)
		}
	}
}

func TestConnectEndsAtOnceWhenTheBrokerRefusesUs(t *testing.T) {
	s := broker(t, server.Options{Username: "user", Password: "else"})
	_, err := Connect(t.Context(), Options{Servers: []string{s.ClientURL()}, User: "me", Password: "hunter2"})
	p := problem(t, err)
	if !p.Final || !strings.Contains(p.What, "refused us") {
		t.Errorf("got %q, final %v", p, p.Final)
	}
	if strings.Contains(p.Error(), "hunter2") {
		t.Errorf("the password is in %q", p)
	}
}

func TestMessagesArriveInOrder(t *testing.T) {
	s := broker(t, server.Options{})
	c := connect(t, Options{Servers: []string{s.ClientURL()}})
	got := make(chan string, 8)
	stop, err := c.Subscribe(t.Context(), "x.*", func(m choria.Message) { got <- string(m.Data) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, text := range []string{"a", "b", "c"} {
		if err := c.Publish("x."+text, "", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := <-got + <-got + <-got; all != "abc" {
		t.Errorf("got %q, want abc", all)
	}
}

func TestWhatTheBrokerForbidsIsSaid(t *testing.T) {
	s := broker(t, server.Options{Users: []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"ok.>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"ok.>"}},
	}}}})
	c := connect(t, Options{Servers: []string{s.ClientURL()}, User: "u", Password: "p"})
	_, err := c.Subscribe(t.Context(), "secret.x", func(choria.Message) {})
	if p := problem(t, err); !strings.Contains(p.Error(), "secret.x") {
		t.Errorf("subscribe: got %q, want the subject named", p)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Errorf("a refused subscription was reported as a refused request: %v", err)
	}
	for range 2 { // the same words both times, and both times they are an error
		if err := c.Publish("secret.y", "", nil); err != nil {
			t.Fatal(err)
		}
		if p := problem(t, c.Flush(t.Context())); !strings.Contains(p.Error(), "secret.y") {
			t.Errorf("publish: got %q, want the subject named", p)
		}
	}
}

func TestNothingIsKeptWhileTheBrokerIsAway(t *testing.T) {
	s := broker(t, server.Options{})
	o, events := watched(Options{Servers: []string{s.ClientURL()}})
	c := connect(t, o)
	port := portOf(s)
	end(s)
	<-events
	p := problem(t, c.Publish("x", "", []byte("too late")))
	if !p.Lost {
		t.Errorf("got %q, want it marked as lost", p)
	}
	again := broker(t, server.Options{Port: port})
	listener := connect(t, Options{Servers: []string{again.ClientURL()}})
	got := make(chan string, 2)
	if _, err := listener.Subscribe(t.Context(), "x", func(m choria.Message) { got <- string(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if e := <-events; !e.up {
		t.Fatalf("got %+v, want the return", e)
	}
	if err := c.Publish("x", "", []byte("after")); err != nil {
		t.Fatal(err)
	}
	if first := <-got; first != "after" {
		t.Errorf("the broker got %q, want nothing from before", first)
	}
}
