package saved

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/gate"
	"fleetctl/internal/security"
)

// start is when the plans of these tests are made: now, since identities sign by the clock.
var start = time.Now().UTC().Truncate(time.Second)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func hexKey(k ed25519.PrivateKey) string { return hex.EncodeToString(k.Public().(ed25519.PublicKey)) }

// Issuers of the tests: that of the organization, and that of another.
var ourOrg, otherOrg = key(1), key(2)

func write(t testing.TB, text string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// by is an identity of version 2: up=NAME, with a token of an issuer that is valid for so long. It believes our issuer.
func by(t testing.TB, name string, issuer ed25519.PrivateKey, valid time.Duration) *security.Identity {
	t.Helper()
	seed := key(name[0] - 'a' + 10)
	c := security.ClientClaims{CallerID: "up=" + name, Agents: []string{"*"}, Permissions: security.ClientPermissions{FleetManagement: true}}
	c.PublicKey, c.IssuedAt, c.ExpiresAt = hexKey(seed), security.At(start.Add(-time.Minute)), security.At(start.Add(valid))
	token, err := security.IssueClient(c, issuer)
	if err != nil {
		t.Fatal(err)
	}
	// The issuer of another organization is only believed there: Open checks our own token.
	i, err := security.Open(security.Options{Provider: "choria", Identity: "ops", TokenFile: write(t, token), SeedFile: write(t, hex.EncodeToString(seed.Seed())),
		Issuers: map[string]string{"choria": hexKey(issuer)}}, start)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			panic(err)
		}
		return k
	})
	caKey = sync.OnceValue(func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	})
)

func authority(t testing.TB, name string) (*x509.Certificate, string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte(name)}
	return certify(t, template, template, caKey().Public())
}

func certify(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, string) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, caKey())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// certified is an identity of version 1: choria=NAME, with a certificate of an authority that it believes.
func certified(t testing.TB, name string, ca *x509.Certificate, caPEM string) *security.Identity {
	t.Helper()
	_, cert := certify(t, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(30 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, rsaKey().Public())
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())}))
	user, _, _ := strings.Cut(name, ".mcollective")
	i, err := security.Open(security.Options{Provider: "file", Identity: "ops", User: user, CertnameOverride: name, Certificate: write(t, cert), Key: write(t, private), CA: write(t, caPEM)}, start)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// example is a plan of five nodes in three batches, of alice, with everything in it.
func example(t testing.TB, edit ...func(*Plan)) Plan {
	t.Helper()
	var nodes []batch.Node
	var states []Node
	for _, name := range []string{"web1.example.net", "web2.example.net", "web3.example.net", "db1.example.net", "db2.example.net"} {
		nodes = append(nodes, batch.Node{Identity: name})
		states = append(states, Node{name, start.Add(-48 * time.Hour), "0.30.2"})
	}
	states[4] = Node{Identity: "db2.example.net"}
	plan, err := batch.NewPlan(nodes, batch.Policy{Sizes: batch.Sizes{batch.Number(2)}, Canary: 1, TakesToken: true})
	if err != nil {
		t.Fatal(err)
	}
	timeout := 5 * time.Minute
	p := Plan{
		ID: "20261126-120000-abcde", Created: start, Expires: start.Add(DefaultLife), Owner: "up=alice", Program: "1.0.0",
		Command: []string{"req", "choria_provision", "restart", "token=[redacted]", "splay=10", "-F", "role=<web>&\u2028"}, Site: "ams", Collective: "mcollective", Federations: []string{"north"},
		Agent: "choria_provision", Action: "restart", DDL: "0.30.2", Inputs: map[string]string{"splay": "10"}, Secrets: []string{"token"}, TTL: 30 * time.Second,
		Nodes: states, Plan: plan, Rules: batch.Rules{MaxFailed: batch.Number(2), StopWhenNothing: true}, Pace: batch.Pace{Sleep: time.Second, ReplyTimeout: 12 * time.Second, VerifyTimeout: timeout},
		Facts:      map[string][]string{"rack": {"1", "2", "1", "2", ""}},
		Selection:  &Selection{Facts: []string{"role=<web>&"}, Agents: []string{"choria_provision"}, Identities: []string{"/^web/"}, Exclude: []string{"web[7-8].example.net"}},
		Verify:     Verify{Way: "auto", Timeout: &timeout},
		Gates:      []Gate{{Command: "./check.sh", Scripts: []gate.Script{{Path: "./check.sh", SHA256: digest(nil)}}}, {PromQL: `up{job="lb"} == bool 1`}},
		GatePolicy: GatePolicy{gate.Policy{For: 2 * time.Minute, Every: gate.DefaultEvery, Wait: gate.DefaultWait}, gate.DefaultTimeout, new(3), "https://prometheus.example.net"},
	}
	for _, e := range edit {
		e(&p)
	}
	return p
}

// file is the example, signed by alice.
func file(t testing.TB, edit ...func(*Plan)) *File {
	t.Helper()
	f, err := New(example(t, edit...))
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := f.Sign(by(t, "alice", ourOrg, time.Hour)); err != nil || !signed {
		t.Fatalf("signed %t, %v", signed, err)
	}
	return f
}

func approve(t testing.TB, f *File, i *security.Identity, now time.Time) Approval {
	t.Helper()
	a, _, err := f.Approve(i, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func at(t testing.TB) string { t.Helper(); return filepath.Join(t.TempDir(), "plan.json") }
