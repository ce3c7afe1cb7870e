package security

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/choria"
)

const rightPassword = "correct horse"

// frontDesk gives tokens as the real login service does.
type frontDesk struct {
	t     *testing.T
	token func(key string) string              // nil: a good one
	early func(w http.ResponseWriter) bool     // answer in its own way
	asked func(in map[string]string, f folder) // look at the question
	f     folder
	count int
}

func (d *frontDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.count++
	if d.early != nil && d.early(w) {
		return
	}
	var in map[string]string
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, "bad question", http.StatusBadRequest)
		return
	}
	if d.asked != nil {
		d.asked(in, d.f)
	}
	out := map[string]string{}
	if err := d.check(in); err != nil {
		out["error"] = err.Error()
	} else if d.token != nil {
		out["token"] = d.token(in["public_key"])
	} else {
		out["token"] = issuedTo(d.t, in["public_key"])
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		d.t.Error(err)
	}
}

func (d *frontDesk) check(in map[string]string) error {
	key, err := parsePublicKey(in["public_key"])
	if err != nil {
		return err
	}
	signature, err := hex.DecodeString(in["signature"])
	text := fmt.Sprintf("%s:%s:%s", in["timestamp"], in["username"], in["password"])
	if err != nil || !ed25519.Verify(key, []byte(text), signature) {
		return errors.New("bad signature")
	}
	if in["timestamp"] != fmt.Sprint(noon.Unix()) {
		return errors.New("bad time")
	}
	if in["username"] != "bob" || in["password"] != rightPassword {
		return fmt.Errorf("%s may not log in with %q", in["username"], in["password"])
	}
	return nil
}

func issuedTo(t testing.TB, key string, edit ...func(*ClientClaims)) string {
	return mustClient(t, clientClaims(noon, append(edit, func(c *ClientClaims) {
		if key != "" {
			c.PublicKey = key
		}
	})...), orgKey)
}

// loggingIn are options with an old token and seed, and the login service.
func (f folder) loggingIn(t *testing.T) (Options, Login, *frontDesk) {
	t.Helper()
	d := &frontDesk{t: t, f: f}
	server := httptest.NewUnstartedServer(d)
	quiet(server)
	server.StartTLS()
	t.Cleanup(server.Close)
	o := f.choriaOptions(noon)
	o.CA = f.write("ca.pem", pemCert(server.Certificate().Raw))
	return o, Login{URLs: []string{server.URL}, Username: "bob", Password: rightPassword}, d
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestALoginBringsATokenAndItsKey(t *testing.T) {
	f := newFolder(t)
	o, l, desk := f.loggingIn(t)
	oldSeed := read(t, o.SeedFile)
	desk.asked = func(in map[string]string, f folder) {
		// The new key is on disk before any request, and the old one is still in force.
		names, err := filepath.Glob(f.path(".bob.seed.*"))
		if err != nil || len(names) != 1 || read(t, o.SeedFile) != oldSeed {
			t.Errorf("while asking: %q, %v, the old seed is there: %t", names, err, read(t, o.SeedFile) == oldSeed)
			return
		}
		if info, err := os.Stat(names[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the new key has mode %v, %v", info.Mode(), err)
		}
		if seed, err := readSeed(names[0]); err != nil || hexKey(seed) != in["public_key"] {
			t.Errorf("the key on disk is not the one that was shown: %v", err)
		}
	}
	s, err := LogIn(t.Context(), o, l, noon)
	if err != nil {
		t.Fatal(err)
	}
	if s.Caller != "up=bob" || s.TokenFile != o.TokenFile || s.SeedFile != o.SeedFile || !s.Expires.Equal(noon.Add(24*time.Hour)) {
		t.Errorf("session %+v", s)
	}
	if i := mustOpen(t, o, noon); i.Caller() != "up=bob" || read(t, o.SeedFile) == oldSeed {
		t.Errorf("opened %v with the old seed: %t", i, read(t, o.SeedFile) == oldSeed)
	}
	for _, path := range []string{o.TokenFile, o.SeedFile} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
	checkTidy(t, f)
}

// checkTidy finds files that a login left beside its results.
func checkTidy(t *testing.T, f folder) {
	t.Helper()
	if left, err := filepath.Glob(f.path(".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestALoginThatFailsLeavesTokenAndKey(t *testing.T) {
	reply := func(status int, body string) func(http.ResponseWriter) bool { return answering(status, body) }
	token := func(edit ...func(*ClientClaims)) func(string) string {
		return func(key string) string { return issuedTo(t, key, edit...) }
	}
	tests := []struct {
		name string
		edit func(o *Options, l *Login, d *frontDesk)
		want string
	}{
		{"wrong password", func(_ *Options, l *Login, _ *frontDesk) { l.Password = "wrong horse" }, `it refused: bob may not log in with "[redacted]"`},
		{"denied", func(_ *Options, _ *Login, d *frontDesk) {
			d.early = reply(401, `{"error":"not with `+rightPassword+`"}`)
		}, "it answered 401 Unauthorized: not with [redacted]"},
		{"not JSON", func(_ *Options, _ *Login, d *frontDesk) { d.early = reply(200, "hi") }, "its answer is not the JSON that was expected"},
		{"no token", func(_ *Options, _ *Login, d *frontDesk) { d.early = reply(200, "{}") }, "its answer has no token"},
		{"not a token", func(_ *Options, _ *Login, d *frontDesk) { d.token = func(string) string { return "abc" } }, "the token that it gave cannot be used: not a token"},
		{"another key's", func(_ *Options, _ *Login, d *frontDesk) { d.token = func(string) string { return issuedTo(t, "") } }, "the token that it gave is not for the key that was made for it"},
		{"expired", func(_ *Options, _ *Login, d *frontDesk) {
			d.token = token(func(c *ClientClaims) { c.ExpiresAt = At(noon.Add(-time.Minute)) })
		}, "the token that it gave cannot be used: token has expired: it ended at 2026-11-22T11:59:00Z; is the clock of this machine right?"},
		{"another issuer's", func(_ *Options, _ *Login, d *frontDesk) {
			d.token = func(key string) string {
				return mustClient(t, clientClaims(noon, func(c *ClientClaims) { c.PublicKey = key }), edKey(9))
			}
		}, "the token that it gave is not of the configured issuer"},
		{"another organization's", func(_ *Options, _ *Login, d *frontDesk) {
			d.token = token(func(c *ClientClaims) { c.Organization = "other" })
		}, "the token that it gave is not of the configured issuer"},
		{"another key's", func(_ *Options, _ *Login, d *frontDesk) {
			d.token = token(func(c *ClientClaims) { c.CallerID = "" })
		}, "the token that it gave names no caller"},
		{"unknown certificate", func(o *Options, _ *Login, _ *frontDesk) { o.CA = "" }, "its certificate is of a certificate authority that is not known here"},
		{"away", func(_ *Options, l *Login, _ *frontDesk) { l.URLs = []string{"https://127.0.0.1:1/"} }, "it is out of reach: connect: connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFolder(t)
			o, l, desk := f.loggingIn(t)
			tt.edit(&o, &l, desk)
			before := read(t, o.TokenFile) + read(t, o.SeedFile)
			_, err := LogIn(t.Context(), o, l, noon)
			checkRemote(t, err, tt.want, l.Password)
			if read(t, o.TokenFile)+read(t, o.SeedFile) != before {
				t.Error("the good token or its key is gone")
			}
			checkTidy(t, f)
		})
	}
}

func TestALoginGoesOnToAServiceThatIsThere(t *testing.T) {
	f := newFolder(t)
	o, l, desk := f.loggingIn(t)
	l.URLs = append([]string{"https://127.0.0.1:1/", "https://127.0.0.1:2/"}, l.URLs...)
	if _, err := LogIn(t.Context(), o, l, noon); err != nil {
		t.Error(err)
	}
	l.URLs = l.URLs[:2]
	_, err := LogIn(t.Context(), o, l, noon)
	if err == nil || strings.Count(err.Error(), "out of reach") != 2 {
		t.Errorf("no service: %v", err)
	}
	if desk.count != 1 {
		t.Errorf("asked %d times", desk.count)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	cancel(cause)
	if _, err := LogIn(ctx, o, l, noon); !errors.Is(err, cause) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestALoginFindsItsFiles(t *testing.T) {
	f := newFolder(t)
	o, l, _ := f.loggingIn(t)
	ca := o.CA
	x509 := Options{Provider: "file", Identity: "x", User: "bob", SignerCA: ca, SignerTokenFile: f.path("deep/er/bob.jwt")}
	s, err := LogIn(t.Context(), x509, l, noon)
	if err != nil || s.TokenFile != f.path("deep/er/bob.jwt") || s.SeedFile != f.path("deep/er/bob.key") {
		t.Errorf("session %+v, %v", s, err)
	}
	x509.SignerURL, x509.AnonTLS = "https://signer.example.net", true
	if i := mustOpen(t, x509, noon); i.Version() != choria.V1 || i.Caller() != "up=bob" {
		t.Errorf("opened %v", i)
	}
	for _, tt := range []struct {
		edit func(*Options, *Login)
		want string
	}{
		{func(o *Options, _ *Login) { o.SignerTokenFile = "" }, "there is no place for a token"},
		{func(_ *Options, l *Login) { l.URLs = nil }, "no login service is configured"},
		{func(_ *Options, l *Login) { l.URLs = []string{"http://login.example.net/"} }, "is not encrypted"},
		{func(o *Options, _ *Login) { o.SignerCA = f.path("none.pem") }, "none.pem: CA file does not exist"},
	} {
		o, l := x509, l
		tt.edit(&o, &l)
		_, err := LogIn(t.Context(), o, l, noon)
		if _, ok := errors.AsType[*CredentialError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v (%T), want a CredentialError: %s", err, err, tt.want)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", l, l, l); strings.Contains(text, rightPassword) {
		t.Errorf("a login prints as %s", text)
	}
}
