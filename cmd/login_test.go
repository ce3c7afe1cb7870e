package cmd

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/security"
)

// loginSite is a configuration without a network, and a login service that knows bob.
type loginSite struct{ folder }

func newLoginSite(t *testing.T) *loginSite {
	t.Helper()
	_, issuer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &loginSite{folder{t, t.TempDir()}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		out := map[string]string{}
		if in["username"] != "bob" || in["password"] != "hunter2" {
			out["error"] = "no such user, or not with " + in["password"]
		} else {
			claims := security.ClientClaims{CallerID: "up=bob", Permissions: security.ClientPermissions{FleetManagement: true}}
			claims.PublicKey, claims.ExpiresAt = in["public_key"], security.At(time.Now().Add(time.Hour))
			if out["token"], err = security.IssueClient(claims, issuer); err != nil {
				t.Error(err)
			}
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			t.Error(err)
		}
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	t.Cleanup(server.Close)
	s.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	s.write("password", "hunter2\n")
	s.write("client.conf", strings.Join([]string{
		"identity = ops.example.net", "plugin.security.provider = choria", "plugin.login.aaasvc.login.url = " + server.URL,
		"plugin.security.choria.token_file = " + s.path("bob.jwt"), "plugin.security.choria.seed_file = " + s.path("bob.key"),
		"plugin.security.choria.ca = " + s.path("ca.pem"),
	}, "\n"))
	t.Setenv("PATH", s.dir) // where no choria-login is, until a test writes one
	return s
}

// login runs `fleetctl login`, with variables as NAME=value.
func (s *loginSite) login(stdin string, variables []string, args ...string) result {
	var out, errs bytes.Buffer
	a := &app{name: productName, io: streams{strings.NewReader(stdin), &out, &errs}, env: environment{func(name string) (string, bool) {
		for _, v := range append(variables, "HOME="+s.dir, "USER=bob") {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}}}
	code := a.execute(s.t.Context(), append([]string{"login", "--config", s.path("client.conf")}, args...))
	return result{code, out.String(), errs.String()}
}

func TestLogin(t *testing.T) {
	right := []string{"FLEETCTL_PASSWORD=hunter2", "FLEETCTL_USERNAME=bob"}
	tests := []struct {
		name      string
		stdin     string
		variables []string
		args      []string
		code      int
		said      string
	}{
		{"variables", "", right, nil, 0, "logged in as up=bob, valid until"},
		{"file", "", nil, []string{"--username", "bob", "--password", "@password"}, 0, "Token saved to "},
		{"stdin", "hunter2\n", nil, []string{"--username", "bob", "--password", "-"}, 0, "Token saved to "},
		{"another variable", "", []string{"P=hunter2"}, []string{"--username", "bob", "--password", "env:P"}, 0, "Token saved to "},
		{"insecure", "", right, []string{"--insecure-signer"}, 0, "warning: the login service's certificate is not verified"},
		{"literal", "", right, []string{"--password", "hunter2"}, 2, "cannot take a password from the command line"},
		{"empty", "", nil, []string{"--username", "bob", "--password", "-"}, 2, "it is empty"},
		{"no terminal", "", nil, nil, 2, "set FLEETCTL_USERNAME and FLEETCTL_PASSWORD"},
		{"no password", "", nil, []string{"--username", "bob"}, 2, "there is no terminal to ask at"},
		{"wrong password", "", []string{"FLEETCTL_PASSWORD=hunter3", "FLEETCTL_USERNAME=bob"}, nil, 9, "it refused: no such user, or not with [redacted]"},
		{"unknown authority", "", right, []string{"--signer-ca", "other.pem"}, 9, "its certificate is of a certificate authority that is not known here"},
		{"missing authority", "", right, []string{"--signer-ca", "none.pem"}, 9, "none.pem: CA file does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newLoginSite(t)
			s.write("other.pem", otherAuthority(t))
			t.Chdir(s.dir)
			got := s.login(tt.stdin, tt.variables, tt.args...)
			if got.code != tt.code || !strings.Contains(got.out+got.err, tt.said) {
				t.Errorf("ended with %d, want %d and %q\nstdout: %s\nstderr: %s", got.code, tt.code, tt.said, got.out, got.err)
			}
			if strings.Contains(got.out+got.err, "hunter") {
				t.Errorf("the password is shown: %s%s", got.out, got.err)
			}
			_, err := os.Stat(s.path("bob.jwt"))
			if saved := err == nil; saved != (tt.code == 0) {
				t.Errorf("a token was saved: %t", saved)
			}
		})
	}
}

func TestLoginWithoutAServiceIsWrongConfiguration(t *testing.T) {
	s := newLoginSite(t)
	s.write("client.conf", "identity = x\nplugin.security.provider = choria\n")
	if got := s.login("", nil); got.code != 2 || !strings.Contains(got.err, "plugin.login.aaasvc.login.url") {
		t.Errorf("ended with %d: %s", got.code, got.err)
	}
}

func TestLoginRunsTheSitesOwnProgram(t *testing.T) {
	s := newLoginSite(t)
	program := func(script string) {
		s.write("choria-login", "#!/bin/sh\n"+script+"\n")
		if err := os.Chmod(s.path("choria-login"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	program(`echo "got $*"`)
	got := s.login("", nil)
	if got.code != 0 || got.out != "got login --config "+s.path("client.conf")+"\n" || !strings.Contains(got.err, "running "+s.path("choria-login")) {
		t.Errorf("ended with %d\nstdout: %s\nstderr: %s", got.code, got.out, got.err)
	}
	program("exit 3")
	if got := s.login("", nil); got.code != 9 || !strings.Contains(got.err, "choria-login: exit status 3") {
		t.Errorf("ended with %d: %s", got.code, got.err)
	}
	if got := s.login("", []string{"FLEETCTL_PASSWORD=hunter2", "FLEETCTL_USERNAME=bob"}, "--builtin"); got.code != 0 || !strings.Contains(got.err, "logged in as up=bob") {
		t.Errorf("ended with %d: %s", got.code, got.err)
	}
}

// otherAuthority is the certificate of an authority that issued nothing.
func otherAuthority(t *testing.T) string {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
