package security

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// handshake connects to a broker that has the certificate, by the name, and
// returns the client's certificate as the broker saw it, and the client's error.
func handshake(t *testing.T, client *tls.Config, certificate, name string) (string, error) {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(pkcs8(t, rsaKeyB())))
	if err != nil {
		t.Fatal(err)
	}
	// A real socket: on an unbuffered pipe both sides may end up writing.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer listener.Close() //nolint:errcheck // the test ends with it
	seen := make(chan string, 1)
	wg.Go(func() {
		defer close(seen)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()                                     //nolint:errcheck // the client's error is what counts
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // a fault must not hang the test
		server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert})
		if server.Handshake() != nil {
			return
		}
		if certs := server.ConnectionState().PeerCertificates; len(certs) > 0 {
			seen <- certs[0].Subject.CommonName
		}
	})
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing was written
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	client = client.Clone()
	client.ServerName = name // as nats.go does
	if err := tls.Client(conn, client).Handshake(); err != nil {
		return "", err
	}
	return <-seen, nil
}

func TestTheBrokerIsVerified(t *testing.T) {
	now := time.Now()
	ca, other := newAuthority(t, "ca", now), newAuthority(t, "other", now)
	key := rsaKeyB().Public()
	good := ca.issue(t, "broker.example.net", key, now, withIP("192.0.2.1"))
	file := func(f folder) Options { return f.fileOptions(ca, now) }
	legacy := func(f folder) Options { o := file(f); o.LegacyCertificates = true; return o }
	asPuppet := func(f folder) Options {
		o := f.fileOptions(ca, now)
		f.write("ssl/certs/bob.mcollective.pem", ca.issue(t, "bob.mcollective", rsaKeyA().Public(), now))
		f.write("ssl/private_keys/bob.mcollective.pem", pkcs8(t, rsaKeyA()))
		f.write("ssl/certs/ca.pem", ca.pem)
		o.Provider, o.SSLDir = "puppet", f.path("ssl")
		return o
	}
	token := func(f folder) Options { o := f.choriaOptions(now); o.CA = f.write("ca.pem", ca.pem); return o }
	systemRoots := func(f folder) Options { return f.choriaOptions(now) }
	insecure := func(f folder) Options { o := f.choriaOptions(now); o.InsecureBroker = true; return o }
	commonName := ca.issue(t, "broker.example.net", key, now, withoutSAN)
	tests := []struct {
		name        string
		options     func(folder) Options
		certificate string
		host        string
		want        string // a part of the error; "": accepted
		client      string // the certificate that the broker sees
	}{
		{"file", file, good, "broker.example.net", "", "bob.mcollective"},
		{"file, by IP", file, good, "192.0.2.1", "", "bob.mcollective"},
		{"file, other IP", file, good, "192.0.2.2", "not 192.0.2.2", ""},
		{"file, other name", file, good, "evil.example.net", "not evil.example.net", ""},
		{"file, other CA", file, other.issue(t, "broker.example.net", key, now), "broker.example.net", "unknown authority", ""},
		{"file, expired", file, ca.issue(t, "broker.example.net", key, now.AddDate(0, -2, 0)), "broker.example.net", "expired", ""},
		{"file, client's certificate", file, ca.issue(t, "broker.example.net", key, now, clientOnly), "broker.example.net", "incompatible key usage", ""},
		{"file, common name only", file, commonName, "broker.example.net", "Common Name", ""},
		{"file, no CA", func(f folder) Options { o := file(f); o.CA = ""; return o }, good, "broker.example.net", "unknown authority", ""},
		{"legacy", legacy, good, "broker.example.net", "", "bob.mcollective"},
		{"legacy, common name only", legacy, commonName, "BROKER.example.net", "", "bob.mcollective"},
		{"legacy, other common name", legacy, commonName, "evil.example.net", "evil.example.net", ""},
		{"legacy, other name", legacy, good, "evil.example.net", "not evil.example.net", ""},
		{"legacy, name of the common name only", legacy, ca.issue(t, "broker.example.net", key, now, func(c *x509.Certificate) { c.DNSNames = []string{"a.example.net"} }), "broker.example.net", "a.example.net", ""},
		{"legacy, other CA", legacy, other.issue(t, "broker.example.net", key, now), "broker.example.net", "unknown authority", ""},
		{"legacy, client's certificate", legacy, ca.issue(t, "broker.example.net", key, now, clientOnly), "broker.example.net", "incompatible key usage", ""},
		{"legacy, known IP", legacy, good, "192.0.2.1", "", "bob.mcollective"},
		{"legacy, other IP", legacy, ca.issue(t, "broker.example.net", key, now, withIP("192.0.2.9")), "192.0.2.9", "not for the IP address that was dialed", ""},
		{"legacy, IP and common name only", legacy, commonName, "192.0.2.1", "not for the IP address that was dialed", ""},
		{"puppet", asPuppet, good, "broker.example.net", "", "bob.mcollective"},
		{"puppet, common name only", asPuppet, commonName, "broker.example.net", "", "bob.mcollective"},
		{"puppet, other CA", asPuppet, other.issue(t, "broker.example.net", key, now), "broker.example.net", "unknown authority", ""},
		{"choria", token, good, "broker.example.net", "", ""},
		{"choria, other CA", token, other.issue(t, "broker.example.net", key, now), "broker.example.net", "unknown authority", ""},
		{"choria, other name", token, good, "evil.example.net", "not evil.example.net", ""},
		{"choria, no CA means the system's roots", systemRoots, good, "broker.example.net", "unknown authority", ""},
		{"choria, insecure broker", insecure, other.issue(t, "broker.example.net", key, now.AddDate(0, -2, 0)), "evil.example.net", "", ""},
		{"choria, legacy certificates are not taken", func(f folder) Options { o := token(f); o.LegacyCertificates = true; return o }, commonName, "broker.example.net", "Common Name", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := mustOpen(t, tt.options(newFolder(t)), now).TLS("nats://192.0.2.1:4222", "broker.example.net:4222")
			if err != nil {
				t.Fatal(err)
			}
			client, err := handshake(t, c, tt.certificate, tt.host)
			if got := fmt.Sprint(err); tt.want == "" && err != nil || !strings.Contains(got, tt.want) || tt.want != "" && err == nil {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err == nil && client != tt.client {
				t.Errorf("the broker saw %q, want %q", client, tt.client)
			}
		})
	}
}

func clientOnly(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

func TestTLSSettings(t *testing.T) {
	ca := newAuthority(t, "ca", noon)
	f := newFolder(t)
	o := f.fileOptions(ca, noon)
	o.CipherSuites = []string{"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}
	o.Curves = []string{"CurveP384", "X25519", "CurveP256", "CurveP521"}
	c, err := mustOpen(t, o, noon).TLS()
	if err != nil {
		t.Fatal(err)
	}
	if c.MinVersion != tls.VersionTLS12 || c.InsecureSkipVerify || c.RootCAs == nil || len(c.Certificates) != 1 {
		t.Errorf("got %+v", c)
	}
	if diff := cmp.Diff([]uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, c.CipherSuites); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]tls.CurveID{tls.CurveP384, tls.X25519, tls.CurveP256, tls.CurveP521}, c.CurvePreferences); diff != "" {
		t.Error(diff)
	}
	o.DisableTLS = true
	if c, err := mustOpen(t, o, noon).TLS(); c != nil || err != nil {
		t.Errorf("without TLS: got %v, %v", c, err)
	}
	v2 := f.choriaOptions(noon)
	v2.Certificate, v2.Key = f.write("ec.pem", ca.issue(t, "bob", ecKey().Public(), noon)), f.write("ec.key", pkcs8(t, ecKey()))
	c, err = mustOpen(t, v2, noon).TLS()
	if err != nil || len(c.Certificates) != 1 || c.RootCAs != nil || c.InsecureSkipVerify {
		t.Errorf("choria with an EC certificate: got %+v, %v", c, err)
	}
	v2.Key = f.write("other.key", pkcs8(t, rsaKeyB()))
	checkFault(t, v2, "ec.pem: client certificate does not belong to the private key "+v2.Key+", or one of them is damaged", "made together")
}

func TestAddresses(t *testing.T) {
	got := addresses([]string{"nats://192.0.2.1:4222", "192.0.2.2", "tls://user:pass@192.0.2.3:1", "[2001:db8::1]:4222", "2001:db8::2", "broker:4222", "", "nats://"})
	want := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
