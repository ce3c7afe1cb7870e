package security

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/choria"
)

var statement = []byte("fleetctl-plan:v1:00ff:2026-11-22T12:00:00Z")

// signedWith is a statement of version 2 by the holder of a token, whose seed is given.
func signedWith(t testing.TB, token string, seed ed25519.PrivateKey) Statement {
	t.Helper()
	signature, err := seed.Sign(nil, statement, &ed25519.Options{Context: statementContext})
	if err != nil {
		t.Fatal(err)
	}
	return Statement{Signature: signature, Token: token}
}

func TestStatementsOfVersion2(t *testing.T) {
	me := mustOpen(t, newFolder(t).choriaOptions(noon), noon)
	alice := func(edit ...func(*ClientClaims)) string {
		return mustClient(t, clientClaims(noon, append([]func(*ClientClaims){func(c *ClientClaims) { c.CallerID = "up=alice" }}, edit...)...), orgKey)
	}
	for _, tt := range []struct {
		name string
		s    Statement
		want error
	}{
		{"good", signedWith(t, alice(), clientKey), nil},
		{"may only be signed for", signedWith(t, alice(func(c *ClientClaims) { c.Permissions = ClientPermissions{SignedFleetManagement: true} }), clientKey), nil},
		{"unsigned", Statement{Token: alice()}, ErrUnsigned},
		{"key of another", signedWith(t, alice(), edKey(7)), ErrSignature},
		{"a signature as under a broker's nonce", Statement{Signature: ed25519.Sign(clientKey, statement), Token: alice()}, ErrSignature},
		{"of another context", Statement{Signature: func() []byte {
			s, err := clientKey.Sign(nil, statement, &ed25519.Options{Context: "x"})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}(), Token: alice()}, ErrSignature},
		{"expired", signedWith(t, alice(func(c *ClientClaims) { c.ExpiresAt = At(noon) }), clientKey), ErrTokenExpired},
		{"issuer expired", signedWith(t, alice(func(c *ClientClaims) { c.IssuerEnds = At(noon.Add(-time.Second)) }), clientKey), ErrTokenExpired},
		{"not yet valid", signedWith(t, alice(func(c *ClientClaims) { c.NotBefore = At(noon.Add(time.Second)) }), clientKey), ErrTokenNotYetValid},
		{"another organization", signedWith(t, alice(func(c *ClientClaims) { c.Organization = "acme" }), clientKey), ErrUntrusted},
		{"another issuer", signedWith(t, mustClient(t, clientClaims(noon), edKey(9)), clientKey), ErrUntrusted},
		{"a server", signedWith(t, mustServer(t, serverClaims(noon), orgKey), serverKey), ErrTokenPurpose},
		{"may not manage the fleet", signedWith(t, alice(func(c *ClientClaims) { c.Permissions = ClientPermissions{EventsViewer: true} }), clientKey), ErrPermission},
		{"no key", signedWith(t, alice(func(c *ClientClaims) { c.PublicKey = "" }), clientKey), ErrTokenPublicKey},
		{"no caller", signedWith(t, alice(func(c *ClientClaims) { c.CallerID = "" }), clientKey), ErrNotAllowed},
		{"no token", Statement{Signature: []byte("x")}, ErrUntrusted},
		{"no token, but text", signedWith(t, "a.b.c", clientKey), ErrTokenMalformed},
		{"of version 1", Statement{Signature: []byte("x"), Certificate: "x"}, ErrUntrusted},
	} {
		got, err := me.VerifyStatement(tt.s, statement, noon)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if want := (Signatory{"up=alice", noon.Add(24 * time.Hour)}); err == nil && got != want {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
	if _, err := me.VerifyStatement(signedWith(t, alice(), clientKey), append([]byte("x"), statement...), noon); !errors.Is(err, ErrSignature) {
		t.Errorf("another text: %v", err)
	}
}

// chained is a caller's token that a login service made, for whose key the organization vouches.
func chained(t testing.TB, organization ed25519.PrivateKey) string {
	t.Helper()
	creator, id := edKey(8), choria.NewRequestID(choria.V2, noon)
	vouch := hex.EncodeToString(ed25519.Sign(organization, []byte(id+"."+hexKey(creator))))
	c := clientClaims(noon, func(c *ClientClaims) { c.CallerID = "up=alice" })
	c.ID = choria.NewRequestID(choria.V2, c.IssuedAt.Time)
	c.Issuer, c.IssuerEnds = chainIssuerPrefix+id+"."+hexKey(creator), At(noon.Add(time.Hour))
	c.TrustChain = vouch + "." + hex.EncodeToString(ed25519.Sign(creator, []byte(c.ID+"."+vouch)))
	return mustClient(t, c, creator)
}

// The key of an organization vouches for issuers, and these for callers. A statement ends with whichever ends first.
func TestAChainOfTrustSigns(t *testing.T) {
	me := mustOpen(t, newFolder(t).choriaOptions(noon), noon)
	s := signedWith(t, chained(t, orgKey), clientKey)
	got, err := me.VerifyStatement(s, statement, noon)
	if want := (Signatory{"up=alice", noon.Add(time.Hour)}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := me.VerifyStatement(s, statement, noon.Add(time.Hour)); !errors.Is(err, ErrTokenExpired) {
		t.Errorf("after the issuer's end: %v", err)
	}
	if _, err := me.VerifyStatement(signedWith(t, chained(t, edKey(9)), clientKey), statement, noon); !errors.Is(err, ErrUntrusted) {
		t.Errorf("another organization: %v", err)
	}
}

func TestWithoutAnIssuerNoStatementIsBelieved(t *testing.T) {
	o := newFolder(t).choriaOptions(noon)
	o.Issuers = nil
	me := mustOpen(t, o, noon)
	s := signedWith(t, mustClient(t, clientClaims(noon), orgKey), clientKey)
	if _, err := me.VerifyStatement(s, statement, noon); err == nil || !strings.Contains(err.Error(), "no issuer is configured") {
		t.Errorf("got %v", err)
	}
}

func TestStatementsOfVersion1(t *testing.T) {
	ca, other := newAuthority(t, "ca", noon), newAuthority(t, "other", noon)
	by := func(certificate string, key *rsa.PrivateKey) Statement {
		hash := sha256.Sum256(statement)
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, hash[:])
		if err != nil {
			t.Fatal(err)
		}
		return Statement{Signature: signature, Certificate: certificate}
	}
	alice := func(a authority, edit ...func(*x509.Certificate)) Statement {
		return by(a.issue(t, "alice.mcollective", rsaKeyB().Public(), noon, edit...), rsaKeyB())
	}
	for _, tt := range []struct {
		name string
		s    Statement
		edit func(o *Options)
		want error
	}{
		{"good", alice(ca), nil, nil},
		{"broker not verified", alice(ca), func(o *Options) { o.InsecureBroker = true }, nil},
		{"no TLS", alice(ca), func(o *Options) { o.DisableTLS = true }, nil},
		{"another CA", alice(other), nil, ErrUntrusted},
		{"another CA, broker not verified", alice(other), func(o *Options) { o.InsecureBroker = true }, ErrUntrusted},
		{"key of another", by(ca.issue(t, "alice.mcollective", rsaKeyB().Public(), noon), rsaKeyA()), nil, ErrSignature},
		{"a server's certificate", by(ca.issue(t, "web1.example.net", rsaKeyB().Public(), noon), rsaKeyB()), nil, ErrNotAllowed},
		{"a server's certificate with a caller's name beside", alice(ca, func(c *x509.Certificate) { c.Subject.CommonName = "web1.example.net" }), nil, ErrNotAllowed},
		{"not allowed here", alice(ca), func(o *Options) { o.CertnameAllow, o.Privileged = []string{"^bob"}, []string{} }, ErrNotAllowed},
		{"privileged", alice(ca), func(o *Options) { o.CertnameAllow, o.Privileged = []string{}, []string{"^alice"} }, nil},
		{"no name", alice(ca, func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "", nil }), func(o *Options) { o.CertnameAllow = []string{".*"} }, ErrNotAllowed},
		{"for servers only", alice(ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), nil, ErrUntrusted},
		{"expired", alice(ca, func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) }), nil, ErrUntrusted},
		{"not yet valid", alice(ca, func(c *x509.Certificate) { c.NotBefore = noon.Add(time.Second) }), nil, ErrUntrusted},
		{"no certificate", Statement{Signature: []byte("x"), Certificate: "x"}, nil, ErrUntrusted},
		{"EC key", by(ca.issue(t, "alice.mcollective", ecKey().Public(), noon), rsaKeyB()), nil, ErrSignature},
		{"of version 2", signedWith(t, mustClient(t, clientClaims(noon), orgKey), clientKey), nil, ErrUntrusted},
	} {
		o := newFolder(t).fileOptions(ca, noon)
		if tt.edit != nil {
			tt.edit(&o)
		}
		got, err := mustOpen(t, o, noon).VerifyStatement(tt.s, statement, noon)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if want := (Signatory{"choria=alice.mcollective", noon.AddDate(0, 1, 0)}); err == nil && got != want {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
}

func TestOurOwnStatementIsBelieved(t *testing.T) {
	now := time.Now()
	ca := newAuthority(t, "ca", now)
	f := newFolder(t)
	withToken := newFolder(t).fileOptions(ca, now) // requests are made as the token's caller; the certificate signs
	withToken.TokenFile = f.write("token.jwt", mustClient(t, clientClaims(now, func(c *ClientClaims) { c.CallerID = "up=other" }), orgKey))
	combined := newFolder(t).fileOptions(ca, now)
	combined.Certificate = f.write("both.pem", read(t, combined.Key)+read(t, combined.Certificate))
	combined.Key = combined.Certificate
	for _, tt := range []struct {
		name, caller string
		o            Options
	}{
		{"version 2", "up=bob", newFolder(t).choriaOptions(now)},
		{"version 1", "choria=bob.mcollective", newFolder(t).fileOptions(ca, now)},
		{"version 1 with a token", "choria=bob.mcollective", withToken},
		{"certificate and key in one file", "choria=bob.mcollective", combined},
	} {
		i := mustOpen(t, tt.o, now)
		s, err := i.SignStatement(statement)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got, err := i.VerifyStatement(s, statement, now)
		own, ok := i.Signatory()
		if err != nil || !ok || got.Caller != tt.caller || own.Caller != tt.caller || !got.Ends.Equal(own.Ends) || !got.Ends.After(now) {
			t.Errorf("%s: %+v, %+v, %v", tt.name, got, own, err)
		}
		if strings.Contains(s.Certificate, "PRIVATE KEY") || strings.Contains(s.Token, hex.EncodeToString(clientKey.Seed())) {
			t.Errorf("%s: a key goes with it", tt.name)
		}
		if sealed, err := i.Seal(t.Context(), request(t, i.Version(), i.Caller(), now)); err != nil || strings.Contains(string(sealed), "PRIVATE KEY") {
			t.Errorf("%s: a request carries the key, or %v", tt.name, err)
		}
	}
}

func TestWithoutAKeyThereIsNoStatement(t *testing.T) {
	unsigned := mustOpen(t, Options{Provider: "file", Identity: "ops", User: "bob", Insecure: true}, noon)
	o, _ := newFolder(t).delegated(t, unsigned.Version())
	for name, i := range map[string]*Identity{"unsigned": unsigned, "remote signer": mustOpen(t, o, time.Now())} {
		if _, err := i.SignStatement(statement); err == nil || !strings.Contains(err.Error(), "no key of ours") {
			t.Errorf("%s: %v", name, err)
		}
	}
	expired := mustOpen(t, newFolder(t).choriaOptions(noon), noon) // its day is over
	if _, err := expired.SignStatement(statement); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("expired: %v", err)
	}
}
