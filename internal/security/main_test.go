package security

import (
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
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetctl/internal/choria"
)

// noon is the time of all tests that do not use the clock.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// keys are slow to make, so the tests share some.
var (
	rsaKeyA = sync.OnceValue(newRSA)
	rsaKeyB = sync.OnceValue(newRSA)
	caKey   = sync.OnceValue(newEC)
	ecKey   = sync.OnceValue(newEC)
)

func newEC() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// newRSA makes the smallest key that is allowed: larger ones slow the tests only.
func newRSA() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	return k
}

func edKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+n)), ed25519.SeedSize)))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func hexKey(k ed25519.PrivateKey) string { return hex.EncodeToString(public(k)) }

func pemCert(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func pkcs1(k *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))
}

func pkcs8(t testing.TB, k any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	pem  string
}

func newAuthority(t testing.TB, name string, now time.Time) authority {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte(name)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, caKey().Public(), caKey())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert: cert, pem: pemCert(der)}
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a certificate for client and server authentication that is valid
// around now; edit may change it.
func (a authority) issue(t testing.TB, cn string, key crypto.PublicKey, now time.Time, edit ...func(*x509.Certificate)) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: cn}, DNSNames: []string{cn}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	for _, e := range edit {
		e(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, caKey())
	if err != nil {
		t.Fatal(err)
	}
	return pemCert(der)
}

func withoutSAN(c *x509.Certificate) { c.DNSNames = nil }

func withIP(ip string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP(ip)} }
}

// folder is a directory of credentials.
type folder struct {
	t   testing.TB
	dir string
}

func newFolder(t testing.TB) folder { return folder{t: t, dir: t.TempDir()} }

func (f folder) path(name string) string { return filepath.Join(f.dir, name) }

func (f folder) write(name, content string) string {
	f.t.Helper()
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// fileOptions are good options of provider file, for choria=bob.mcollective.
func (f folder) fileOptions(ca authority, now time.Time) Options {
	return Options{
		Provider: "file", Identity: "ops.example.net", User: "bob", Home: f.dir,
		Certificate: f.write("cert.pem", ca.issue(f.t, "bob.mcollective", rsaKeyA().Public(), now)),
		Key:         f.write("key.pem", pkcs8(f.t, rsaKeyA())),
		CA:          f.write("ca.pem", ca.pem),
	}
}

// Keys of the version 2 tests.
var (
	orgKey    = edKey(1)
	clientKey = edKey(2)
	serverKey = edKey(3)
)

func clientClaims(now time.Time, edit ...func(*ClientClaims)) ClientClaims {
	c := ClientClaims{CallerID: "up=bob", Agents: []string{"*"}, Permissions: ClientPermissions{FleetManagement: true}}
	c.PublicKey, c.IssuedAt, c.ExpiresAt = hexKey(clientKey), At(now.Add(-time.Minute)), At(now.Add(24*time.Hour))
	for _, e := range edit {
		e(&c)
	}
	return c
}

func serverClaims(now time.Time, edit ...func(*ServerClaims)) ServerClaims {
	c := ServerClaims{Identity: "srv-1.example.net", Collectives: []string{"choria"}}
	c.PublicKey, c.IssuedAt, c.ExpiresAt = hexKey(serverKey), At(now.Add(-time.Minute)), At(now.Add(24*time.Hour))
	for _, e := range edit {
		e(&c)
	}
	return c
}

func mustClient(t testing.TB, c ClientClaims, key crypto.Signer) string {
	t.Helper()
	token, err := IssueClient(c, key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func mustServer(t testing.TB, c ServerClaims, key crypto.Signer) string {
	t.Helper()
	token, err := IssueServer(c, key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// choriaOptions are good options of provider choria, for up=bob.
func (f folder) choriaOptions(now time.Time) Options {
	return Options{
		Provider: "choria", Identity: "ops.example.net",
		TokenFile: f.write("token.jwt", mustClient(f.t, clientClaims(now), orgKey)),
		SeedFile:  f.write("bob.seed", hex.EncodeToString(clientKey.Seed())),
		Issuers:   map[string]string{"choria": hexKey(orgKey)},
	}
}

func mustOpen(t testing.TB, o Options, now time.Time) *Identity {
	t.Helper()
	i, err := Open(o, now)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// request is a request that servers accept.
func request(t testing.TB, v choria.Version, caller string, now time.Time) []byte {
	t.Helper()
	data, err := choria.EncodeRequest(choria.Request{Version: v, ID: choria.NewRequestID(v, now), Sender: "ops.example.net", Caller: caller, Collective: "choria", Agent: "rpcutil",
		TTL: time.Minute, Time: now, Payload: []byte(`{"agent":"rpcutil","action":"ping","data":{}}`)})
	if err != nil {
		t.Fatal(err)
	}
	return data
}
