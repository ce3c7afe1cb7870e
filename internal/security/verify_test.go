package security

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
)

// sealed opens, seals and decodes again.
func sealed(t testing.TB, o Options, caller string) choria.SecureRequest {
	t.Helper()
	i := mustOpen(t, o, noon)
	data, err := i.seal(t.Context(), request(t, i.Version(), caller, noon), noon)
	if err != nil {
		t.Fatal(err)
	}
	sr, err := choria.DecodeSecureRequest(data)
	if err != nil {
		t.Fatal(err)
	}
	return sr
}

func TestServersAcceptOurV1Requests(t *testing.T) {
	ca := newAuthority(t, "ca", noon)
	tests := []struct {
		name              string
		caller            string
		allow, privileged []string
		edit              func(f folder, o *Options)
		breakIt           func(sr *choria.SecureRequest)
		want              error
	}{
		{"good", "choria=bob.mcollective", nil, nil, nil, nil, nil},
		{"of another", "choria=alice.mcollective", nil, nil, nil, nil, ErrNotAllowed},
		{"caller without a name", "bob", nil, nil, nil, nil, ErrNotAllowed},
		{"not allowed", "choria=bob.mcollective", []string{"^alice"}, nil, nil, nil, ErrNotAllowed},
		{"allowed between slashes", "choria=bob.mcollective", []string{"/^bob/"}, nil, nil, nil, nil},
		{"bad pattern allows no caller", "choria=bob.mcollective", []string{"("}, nil, nil, nil, ErrNotAllowed},
		{"no caller is allowed", "choria=bob.mcollective", []string{}, nil, nil, nil, ErrNotAllowed},
		{"privileged may be any caller", "choria=alice.mcollective", []string{}, []string{`^bob\.`}, nil, nil, nil},
		{"privileged, of another CA", "choria=alice.mcollective", nil, []string{`^bob\.`}, func(f folder, o *Options) {
			*o = f.fileOptions(newAuthority(t, "other", noon), noon)
		}, nil, ErrUntrusted},
		{"of another CA", "choria=bob.mcollective", nil, nil, func(f folder, o *Options) { *o = f.fileOptions(newAuthority(t, "other", noon), noon) }, nil, ErrUntrusted},
		{"unsigned", "choria=bob.mcollective", nil, nil, func(_ folder, o *Options) { o.Insecure = true }, nil, ErrUnsigned},
		{"changed request", "choria=bob.mcollective", nil, nil, nil, func(sr *choria.SecureRequest) {
			sr.Request = []byte(strings.Replace(string(sr.Request), "ping", "pong", 1))
		}, ErrSignature},
		{"changed signature", "choria=bob.mcollective", nil, nil, nil, func(sr *choria.SecureRequest) { sr.Signature[7] ^= 1 }, ErrSignature},
		{"no certificate", "choria=bob.mcollective", nil, nil, nil, func(sr *choria.SecureRequest) { sr.Certificate = "insecure" }, ErrUntrusted},
		{"damaged certificate", "choria=bob.mcollective", nil, nil, nil, func(sr *choria.SecureRequest) { sr.Certificate = pemCert([]byte("x")) }, ErrUntrusted},
		{"EC certificate", "choria=bob.mcollective", nil, nil, nil, func(sr *choria.SecureRequest) {
			sr.Certificate = ca.issue(t, "bob.mcollective", ecKey().Public(), noon)
		}, ErrSignature},
		{"expired", "choria=bob.mcollective", nil, nil, nil, func(sr *choria.SecureRequest) {
			sr.Certificate = ca.issue(t, "bob.mcollective", rsaKeyA().Public(), noon.AddDate(0, -2, 0))
		}, ErrUntrusted},
		{"server's certificate", "choria=bob.mcollective", nil, nil, nil, func(sr *choria.SecureRequest) {
			sr.Certificate = ca.issue(t, "bob.mcollective", rsaKeyA().Public(), noon, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
		}, ErrUntrusted},
		{"version 2", "choria=bob.mcollective", nil, nil, nil, func(sr *choria.SecureRequest) { sr.Version = choria.V2 }, ErrNotAllowed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFolder(t)
			o := f.fileOptions(ca, noon)
			if tt.edit != nil {
				tt.edit(f, &o)
			}
			sr := sealed(t, o, tt.caller)
			if tt.breakIt != nil {
				tt.breakIt(&sr)
			}
			got, err := NewV1Verifier(ca.pool(), tt.allow, tt.privileged).Verify(sr, noon)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && (got.ID != tt.caller || got.Privileged != (tt.privileged != nil)) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestUnsignedRequestsNeedNoFiles(t *testing.T) {
	i := mustOpen(t, Options{Provider: "file", Identity: "ops", User: "bob", Insecure: true, Certificate: "/none", Key: "/none", CA: "/none"}, noon)
	data, err := i.Seal(t.Context(), request(t, choria.V1, i.Caller(), noon))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"signature":"insecure"`, `"pubcert":"insecure"`} {
		if !strings.Contains(string(data), part) {
			t.Errorf("no %s in %s", part, data)
		}
	}
}

func TestServersAcceptOurV2Requests(t *testing.T) {
	delegateKey := edKey(6)
	delegate := func(edit ...func(*ClientClaims)) string {
		return mustClient(t, clientClaims(noon, append([]func(*ClientClaims){func(c *ClientClaims) {
			c.CallerID, c.PublicKey, c.Permissions = "up=aaa", hexKey(delegateKey), ClientPermissions{AuthenticationDelegator: true}
		}}, edit...)...), orgKey)
	}
	delegated := func(sr *choria.SecureRequest) {
		sr.Signer, sr.Signature = delegate(), ed25519.Sign(delegateKey, sr.Request)
	}
	caller := func(edit func(*ClientClaims)) func(*choria.SecureRequest) {
		return func(sr *choria.SecureRequest) { sr.Caller = mustClient(t, clientClaims(noon, edit), orgKey) }
	}
	tests := []struct {
		name    string
		caller  string
		breakIt func(sr *choria.SecureRequest)
		want    error
	}{
		{"good", "up=bob", nil, nil},
		{"newline after the token", "up=bob", func(sr *choria.SecureRequest) { sr.Caller += "\n" }, nil},
		{"of another", "up=alice", nil, ErrNotAllowed},
		{"changed request", "up=bob", func(sr *choria.SecureRequest) {
			sr.Request = []byte(strings.Replace(string(sr.Request), "ops", "oops", 1))
		}, ErrSignature},
		{"changed signature", "up=bob", func(sr *choria.SecureRequest) { sr.Signature[7] ^= 1 }, ErrSignature},
		{"unsigned", "up=bob", func(sr *choria.SecureRequest) { sr.Signature = nil }, ErrUnsigned},
		{"expired", "up=bob", caller(func(c *ClientClaims) { c.ExpiresAt = At(noon) }), ErrTokenExpired},
		{"not yet valid", "up=bob", caller(func(c *ClientClaims) { c.NotBefore = At(noon.Add(time.Second)) }), ErrTokenNotYetValid},
		{"other organization", "up=bob", caller(func(c *ClientClaims) { c.Organization = "acme" }), ErrUntrusted},
		{"no key", "up=bob", caller(func(c *ClientClaims) { c.PublicKey = "" }), ErrTokenPublicKey},
		{"no permission", "up=bob", caller(func(c *ClientClaims) { c.Permissions = ClientPermissions{} }), ErrPermission},
		{"needs a delegate", "up=bob", caller(func(c *ClientClaims) { c.Permissions.SignedFleetManagement = true }), ErrPermission},
		{"other issuer", "up=bob", func(sr *choria.SecureRequest) { sr.Caller = mustClient(t, clientClaims(noon), edKey(9)) }, ErrUntrusted},
		{"server's token", "up=bob", func(sr *choria.SecureRequest) {
			sr.Caller, sr.Signature = mustServer(t, serverClaims(noon), orgKey), ed25519.Sign(serverKey, sr.Request)
		}, ErrTokenPurpose},
		{"version 1", "up=bob", func(sr *choria.SecureRequest) { sr.Version = choria.V1 }, ErrNotAllowed},
		{"delegated", "up=bob", delegated, nil},
		{"delegated, in another's name", "up=alice", delegated, nil},
		{"delegated, caller may not sign itself", "up=bob", func(sr *choria.SecureRequest) {
			delegated(sr)
			caller(func(c *ClientClaims) { c.Permissions = ClientPermissions{SignedFleetManagement: true} })(sr)
		}, nil},
		{"delegated, signed by the caller", "up=bob", func(sr *choria.SecureRequest) { sr.Signer = delegate() }, ErrSignature},
		{"delegated, caller without permission", "up=bob", func(sr *choria.SecureRequest) {
			delegated(sr)
			caller(func(c *ClientClaims) { c.Permissions = ClientPermissions{} })(sr)
		}, ErrPermission},
		{"delegated, by one who may not", "up=bob", func(sr *choria.SecureRequest) {
			delegated(sr)
			sr.Signer = delegate(func(c *ClientClaims) { c.Permissions = ClientPermissions{FleetManagement: true} })
		}, ErrPermission},
		{"delegated, caller of another issuer", "up=bob", func(sr *choria.SecureRequest) {
			delegated(sr)
			sr.Caller = mustClient(t, clientClaims(noon), edKey(9))
		}, ErrUntrusted},
		{"delegated, delegate of another issuer", "up=bob", func(sr *choria.SecureRequest) {
			delegated(sr)
			sr.Signer = mustClient(t, clientClaims(noon), edKey(9))
		}, ErrUntrusted},
		{"delegated, delegate is a server", "up=bob", func(sr *choria.SecureRequest) { sr.Signer = mustServer(t, serverClaims(noon), orgKey) }, ErrTokenPurpose},
	}
	v := NewV2Verifier(map[string]ed25519.PublicKey{"choria": public(orgKey)})
	f := newFolder(t)
	o := f.choriaOptions(noon)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sr := sealed(t, o, tt.caller)
			if tt.breakIt != nil {
				tt.breakIt(&sr)
			}
			got, err := v.Verify(sr, noon)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			if got.ID != tt.caller || got.Token == nil || got.Token.CallerID != "up=bob" || (got.Delegate != "") != strings.HasPrefix(tt.name, "delegated") {
				t.Errorf("got %+v", got)
			}
		})
	}
	if _, err := NewV2Verifier(nil).Verify(sealed(t, o, "up=bob"), noon); !errors.Is(err, ErrUntrusted) {
		t.Errorf("without issuers: got %v", err)
	}
}

func TestSealSignsTheBytesItWasGiven(t *testing.T) {
	ca := newAuthority(t, "ca", noon)
	for _, o := range []Options{newFolder(t).fileOptions(ca, noon), newFolder(t).choriaOptions(noon)} {
		i := mustOpen(t, o, noon)
		want := request(t, i.Version(), i.Caller(), noon)
		data, err := i.seal(t.Context(), want, noon)
		if err != nil {
			t.Fatal(err)
		}
		sr, err := choria.DecodeSecureRequest(data)
		if err != nil {
			t.Fatal(err)
		}
		if string(sr.Request) != string(want) {
			t.Errorf("%s: got %s, want %s", i.Version(), sr.Request, want)
		}
	}
}

func TestSealRefusesWhatServersWouldDrop(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	ca := newAuthority(t, "ca", noon)
	for _, tt := range []struct {
		o     Options
		later time.Time
		want  string
	}{
		{newFolder(t).fileOptions(ca, noon), noon.AddDate(0, 1, 1), "client certificate expired on 2026-12-22T12:00:00Z"},
		{newFolder(t).choriaOptions(noon), noon.Add(24*time.Hour + 5*time.Second), "token file holds a token that expired on 2026-11-23T12:00:00Z"},
	} {
		i := mustOpen(t, tt.o, noon)
		if _, err := i.Seal(ctx, []byte("x")); !errors.Is(err, stop) {
			t.Errorf("after the end of the context: got %v", err)
		}
		_, err := i.seal(t.Context(), request(t, i.Version(), i.Caller(), noon), tt.later)
		if _, ok := errors.AsType[*CredentialError](err); !ok || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestSignNonce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := mustOpen(t, newFolder(t).choriaOptions(time.Now()), time.Now())
		signature, err := i.SignNonce([]byte("nonce"))
		if err != nil || !ed25519.Verify(public(clientKey), []byte("nonce"), signature) {
			t.Errorf("the signature does not fit: %v", err)
		}
		<-time.After(25 * time.Hour)
		if _, err := i.SignNonce([]byte("nonce")); !errors.Is(err, ErrTokenExpired) {
			t.Errorf("a day later: got %v", err)
		}
		if _, err := mustOpen(t, Options{Provider: "file", Identity: "x", Insecure: true}, time.Now()).SignNonce(nil); err == nil {
			t.Error("a nonce is signed without a seed")
		}
	})
}

func TestPrintingAnIdentityShowsNoSecret(t *testing.T) {
	i := mustOpen(t, newFolder(t).choriaOptions(noon), noon)
	if got := fmt.Sprintf("%v %+v %#v", i, i, i); got != "up=bob (v2) up=bob (v2) up=bob (v2)" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprintf("%v %+v %#v", NewReplySigner("t", serverKey), NewReplySigner("t", serverKey), NewReplySigner("t", serverKey)); got != "reply signer reply signer reply signer" {
		t.Errorf("got %s", got)
	}
}
