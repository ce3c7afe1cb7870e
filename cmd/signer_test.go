package cmd

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleetctl/internal/choria"
)

func TestRequestsAreSignedByTheSitesSigner(t *testing.T) {
	t.Parallel()
	for _, v := range []choria.Version{choria.V1, choria.V2} {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, v)
			url, ca := s.overHTTP()
			s.configure("plugin.choria.security.request_signer.url = " + url)
			req := []string{"req", "rpcutil", "ping", "--discovery-timeout=1", "--signer-ca", ca}

			s.check(s.fleetctl(t.Context(), req...), 0, "5 accepted of 5 nodes")
			if s.signed.Load() != 2 || s.received("rpcutil", "ping") != 5 {
				t.Errorf("signed %d requests, want discovery and ping; %d nodes were asked", s.signed.Load(), s.received("rpcutil", "ping"))
			}
			if err := os.MkdirAll(filepath.Join(s.dir, "fleetctl"), 0o700); err != nil {
				t.Fatal(err)
			}
			s.write("fleetctl/config.yaml", "signer_ca: "+ca+"\n")
			s.check(s.fleetctl(t.Context(), "ping", "--expect", "5"), 0, "5 replies")
			s.write("fleetctl/config.yaml", "")

			s.check(s.fleetctl(t.Context(), "doctor", "--discovery-timeout", "0.3", "--signer-ca", ca), 0, "up=bob")

			before := s.received("rpcutil", "ping")
			s.check(s.fleetctl(t.Context(), req[:4]...), 9, "its certificate is of a certificate authority that is not known here: nothing was sent")
			s.check(s.fleetctl(t.Context(), req[:4]...), 9, "--signer-ca")

			s.deny.Store(new("bob may not"))
			s.check(s.fleetctl(t.Context(), req...), 9, "request signer "+url+": it refused: bob may not: nothing was sent")
			// Named nodes need no discovery: the run begins, and the signer's no ends it.
			named := append(slices.Clone(req), "-I", s.lab.Nodes()[0].Identity)
			s.check(s.fleetctl(t.Context(), named...), 9, "it refused: bob may not")
			s.check(s.fleetctl(t.Context(), "ping", "--signer-ca", ca), 9, "bob may not")
			s.check(s.fleetctl(t.Context(), "doctor", "--discovery-timeout", "0.3", "--signer-ca", ca), 9, "bob may not")
			s.check(s.fleetctl(t.Context(), "inventory", s.lab.Nodes()[0].Identity, "--signer-ca", ca), 9, "bob may not")
			s.configure("plugin.choria.security.request_signer.url = https://127.0.0.1:1/")
			s.check(s.fleetctl(t.Context(), req...), 9, "request signer https://127.0.0.1:1/: it is out of reach")
			s.configure("plugin.choria.security.request_signer.url = http://signer.example.net/")
			s.check(s.fleetctl(t.Context(), req...), 9, "is not encrypted")
			if got := s.received("rpcutil", "ping"); got != before {
				t.Errorf("%d requests reached nodes without a signer", got-before)
			}
		})
	}
}

func TestRequestsAreSignedByTheNetworksService(t *testing.T) {
	t.Parallel()
	for _, v := range []choria.Version{choria.V1, choria.V2} {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, v)
			s.serve()
			s.configure("plugin.choria.security.request_signer.service = true", "plugin.choria.security.request_signer.url = https://127.0.0.1:1/")
			s.check(s.fleetctl(t.Context(), "req", "rpcutil", "ping", "--discovery-timeout=1", "--batch", "2", "--batch-sleep", "0"), 0, "5 accepted of 5 nodes")
			if s.signed.Load() != 4 {
				t.Errorf("signed %d requests, want discovery and three batches", s.signed.Load())
			}
			s.check(s.fleetctl(t.Context(), "inventory", s.lab.Nodes()[0].Identity), 0, s.lab.Nodes()[0].Identity)
			s.deny.Store(new("no access today"))
			got := s.fleetctl(t.Context(), "ping")
			s.check(got, 9, "services.example.net refused: Could not sign: no access today [redacted]: nothing was sent")
		})
	}
}

func TestASignerThatRefusesLaterEndsTheRun(t *testing.T) {
	t.Parallel()
	s := newSite(t, choria.V2)
	s.serve()
	s.configure("plugin.choria.security.request_signer.service = true")
	args := []string{"req", "rpcutil", "ping", "--batch", "2", "--batch-sleep", "1s", "--journal"}
	for _, n := range s.lab.Nodes() {
		args = append(args, "-I", n.Identity)
	}
	done := make(chan result, 1)
	go func() { done <- s.fleetctl(t.Context(), args...) }()
	if err := awaitLab(t, s.lab, done, func() bool { return s.received("rpcutil", "ping") >= 2 }); err != nil {
		t.Fatal(err)
	}
	s.deny.Store(new("no longer"))
	s.check(<-done, 5, "no longer")
	if got := s.received("rpcutil", "ping"); got != 2 {
		t.Errorf("%d nodes were asked, want the first batch only", got)
	}
}

func TestASignerThatQuotesTheRequestTellsNoSecret(t *testing.T) {
	t.Parallel()
	s := newSite(t, choria.V1)
	url, ca := s.overHTTP()
	s.configure("plugin.choria.security.request_signer.url = " + url)
	s.deny.Store(new(`bob may not send {"token":"s3cret"}`))
	restart := []string{"req", "choria_provision", "restart", "token=s3cret", "--signer-ca", ca, "--no-verify", "--json"}
	for _, args := range [][]string{restart, append(slices.Clone(restart), "-I", s.lab.Nodes()[0].Identity)} {
		got := s.fleetctl(t.Context(), args...)
		s.check(got, 9, "bob may not send")
		if strings.Contains(got.out+got.err, "s3cret") {
			t.Errorf("the secret is shown: %s%s", got.out, got.err)
		}
	}
	records := 0
	err := filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path, s.lab.Dir()) {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("s3cret")) {
			t.Errorf("%s holds the secret", path)
		}
		if bytes.Contains(data, []byte("bob may not send")) {
			records++
		}
		return err
	})
	if err != nil || records != 1 {
		t.Errorf("%d records hold what the signer reported, %v; want the one of the run that began", records, err)
	}
}

func TestWhereRepliesGo(t *testing.T) {
	t.Parallel()
	s := newSite(t, choria.V1)
	s.configure()
	// v1 without a signer: the operator's own certificate.
	heard := make(chan []byte, 10)
	pair, err := tls.X509KeyPair(s.read("operator.pem"), s.read("operator.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.read("ca.pem"))
	nc, err := nats.Connect(s.lab.URL(), nats.Timeout(30*time.Second), nats.Secure(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.Subscribe("site.collector", func(m *nats.Msg) { heard <- m.Data }); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	got := s.fleetctl(t.Context(), "req", "rpcutil", "ping", "--discovery-timeout=1", "--reply-to", "site.collector")
	id := strings.TrimSpace(got.out)
	if got.code != 0 || len(id) != 32 || strings.ContainsAny(id, " \n") {
		t.Fatalf("ended with %d, stdout %q, stderr %s; want the request's id alone", got.code, got.out, got.err)
	}
	for range 5 {
		tr, err := choria.DecodeTransport(<-heard)
		if err != nil {
			t.Fatal(err)
		}
		sec, err := choria.DecodeSecureReply(tr.Data)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := choria.DecodeReply(choria.V1, sec.Reply); err != nil || r.RequestID != id {
			t.Errorf("a reply to %q, %v; want %q", r.RequestID, err, id)
		}
	}
	s.check(s.fleetctl(t.Context(), "req", "choria_provision", "restart", "token=s3cret", "-r", "x", "--no-journal", "--max-nodes", "1", "--discovery-timeout=1"), exitGuard, "limit is 1")
	s.check(s.fleetctl(t.Context(), "req", "rpcutil", "ping", "-r", "x", "-C", "none", "--discovery-timeout", "100ms"), exitNoNodes, "no node matched")
	if n := s.received("choria_provision", "restart"); n != 0 {
		t.Errorf("%d restarts were sent", n)
	}
}
