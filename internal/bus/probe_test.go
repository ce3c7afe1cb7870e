package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// listener accepts connections and hands each to serve, until the test ends.
func listener(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			serve(conn)
		}
	}()
	return "nats://" + l.Addr().String()
}

func TestProbeTakesEveryStep(t *testing.T) {
	pool, cert := authority(t)
	s := broker(t, server.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	p := Probe{Server: s.ClientURL(), TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	if got, err := p.Resolve(t.Context()); err != nil || len(got) != 1 || got[0] != "127.0.0.1" {
		t.Errorf("Resolve: %v, %v", got, err)
	}
	if got, err := p.Dial(t.Context()); err != nil || got != p.Address() {
		t.Errorf("Dial: %q, %v, want %q", got, err, p.Address())
	}
	g, err := p.Greet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if g.TLS == nil || len(g.Certificates) != 1 || g.Certificates[0].Subject.CommonName != "test" || g.Version != server.VERSION {
		t.Errorf("Greet: %+v", g)
	}
}

func TestProbeKeepsCertificatesThatDoNotVerify(t *testing.T) {
	_, cert := authority(t)
	other, _ := authority(t)
	s := broker(t, server.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	refuse := errors.New("refused by the test")
	for name, config := range map[string]*tls.Config{
		"another authority": {RootCAs: other, MinVersion: tls.VersionTLS12},
		"our own check": {InsecureSkipVerify: true, MinVersion: tls.VersionTLS12,
			VerifyConnection: func(tls.ConnectionState) error { return refuse }},
	} {
		g, err := Probe{Server: s.ClientURL(), TLS: config}.Greet(t.Context())
		if err == nil || len(g.Certificates) != 1 || g.TLS != nil {
			t.Errorf("%s: got %d certificates, error %v", name, len(g.Certificates), err)
		}
	}
}

func TestProbeSaysWhatIsWrongWithTLS(t *testing.T) {
	_, cert := authority(t)
	secured := broker(t, server.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	plain := broker(t, server.Options{})
	if _, err := (Probe{Server: secured.ClientURL()}).Greet(t.Context()); !strings.Contains(problem(t, err).What, "demands TLS") {
		t.Errorf("without TLS: %v", err)
	}
	if _, err := (Probe{Server: plain.ClientURL(), TLS: &tls.Config{MinVersion: tls.VersionTLS12}}).Greet(t.Context()); !strings.Contains(problem(t, err).What, "offers no TLS") {
		t.Errorf("with TLS: %v", err)
	}
	if g, err := (Probe{Server: plain.ClientURL()}).Greet(t.Context()); err != nil || g.TLS != nil {
		t.Errorf("neither: %+v, %v", g, err)
	}
}

func TestProbeIsNeverHeldUp(t *testing.T) {
	silent := listener(t, func(net.Conn) {})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Probe{Server: silent}.Greet(ctx)
	if p := problem(t, err); !strings.Contains(p.What, "sends nothing") {
		t.Errorf("a silent port: %v", p)
	}
	halfway := listener(t, func(c net.Conn) { _, _ = c.Write([]byte(`INFO {"tls_required":true}` + "\r\n")) })
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Probe{Server: halfway, TLS: &tls.Config{MinVersion: tls.VersionTLS12}}.Greet(ctx)
	if p := problem(t, err); !strings.Contains(p.What, "sends nothing") {
		t.Errorf("a silent handshake: %v", p)
	}
}

func TestProbeKnowsStrangers(t *testing.T) {
	for name, first := range map[string]string{"another protocol": "220 mail.example.net\r\n", "damaged": "INFO {\r\n", "too long": strings.Repeat("x", maxInfo+1)} {
		server := listener(t, func(c net.Conn) {
			_, _ = c.Write([]byte(first))
			c.Close()
		})
		_, err := Probe{Server: server}.Greet(t.Context())
		if p := problem(t, err); !strings.Contains(p.What, "no Choria broker") {
			t.Errorf("%s: %v", name, p)
		}
	}
	if _, err := (Probe{Server: "wss://127.0.0.1:1"}).Greet(t.Context()); !errors.Is(err, ErrWebSocket) {
		t.Errorf("a web socket: %v", err)
	}
}

func TestProblemsKeepPasswordsOfAddresses(t *testing.T) {
	const server = "nats://me:hunter2@127.0.0.1:1"
	_, dialed := Probe{Server: server}.Dial(t.Context())
	_, broken := Probe{Server: "nats://me:hunter2@%zz"}.Resolve(t.Context())
	_, connected := Connect(t.Context(), Options{Servers: []string{server}, ConnectTimeout: 100 * time.Millisecond})
	_, unread := Servers(t.Context(), Where{Hosts: []string{"me:hunter2@broker", "nats://me:hunter2@%zz:1"}})
	_, second := Servers(t.Context(), Where{Hosts: []string{"nats://me:hunter2@%zz:1"}})
	for _, err := range []error{dialed, broken, connected, unread, second} {
		if p := problem(t, err); strings.Contains(p.Error()+p.Hint, "hunter2") {
			t.Errorf("the password is in %q, hint %q", p, p.Hint)
		}
	}
}
