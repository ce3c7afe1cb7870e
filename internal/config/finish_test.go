package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleetctl/internal/secret"
)

func TestEnvironment(t *testing.T) {
	env := []string{
		"CHORIA_SRV_DOMAIN", "srv.example", "CHORIA_REGISTRY", "/env/registry", "CHORIA_FED_COLLECTIVE", "a, b",
		"MCOLLECTIVE_NATS_USERNAME", "envuser", "MCOLLECTIVE_NATS_PASSWORD", "envpass", "MCOLLECTIVE_NATS_CREDENTIALS", "/env/creds",
		"MCOLLECTIVE_CERTNAME", "me.cert", "USER", "ann",
	}
	values := func(c *Config) []string {
		return []string{c.SRVDomain, c.RegistryCache, strings.Join(c.FederationCollectives, "+"), c.NatsUser, c.NatsPass.Reveal(), c.NatsCredentials, c.Security.CertnameOverride, c.Security.User}
	}
	tests := []struct {
		name  string
		lines []string
		want  []string
	}{
		{"keys absent", nil, []string{"srv.example", "", "a+b", "", "", "", "me.cert", "ann"}},
		{"keys present", []string{
			"plugin.choria.srv_domain = file", "plugin.choria.services.registry.cache = /file", "plugin.choria.federation.collectives = f",
			"plugin.nats.user = file", "plugin.nats.pass = file", "plugin.nats.credentials = /file",
		}, []string{"srv.example", "/env/registry", "a+b", "envuser", "envpass", "/env/creds", "me.cert", "ann"}},
		{"certname only for x509", []string{"plugin.security.provider = choria"}, []string{"srv.example", "", "a+b", "", "", "", "", "ann"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTree(t)
			tr.setenv(env...)
			c := tr.load(tr.write("etc/client.conf", tt.lines...))
			if d := cmp.Diff(tt.want, values(c)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if got := c.Origin("plugin.choria.srv_domain"); got != "environment CHORIA_SRV_DOMAIN" {
				t.Errorf("Origin(srv_domain) = %q", got)
			}
			if got := c.Origin(keyFederations); got != "environment CHORIA_FED_COLLECTIVE" {
				t.Errorf("Origin(federations) = %q", got)
			}
			warned(t, c)
		})
	}
}

func TestInsecureVariables(t *testing.T) {
	type flags struct{ anon, noTLS, insecure bool }
	for _, tt := range []struct {
		name, value string
		want        flags
	}{
		{"INSECURE_ANON_TLS", "true", flags{anon: true}},
		{"INSECURE_DISABLE_TLS", "true", flags{noTLS: true}},
		{"INSECURE_YES_REALLY", "true", flags{noTLS: true, insecure: true}},
		{"INSECURE_YES_REALLY", "1", flags{}},
	} {
		tr := newTree(t)
		tr.setenv(tt.name, tt.value)
		c := tr.load(tr.write("etc/client.conf", ""))
		if got := (flags{c.Security.AnonTLS, c.Security.DisableTLS, c.Security.Insecure}); got != tt.want {
			t.Errorf("%s=%s gives %+v, want %+v", tt.name, tt.value, got, tt.want)
		}
		if tt.want != (flags{}) {
			warned(t, c, []string{tt.name})
		}
	}
}

func TestDerivedValues(t *testing.T) {
	host := func(name string) func() (string, error) { return func() (string, error) { return name, nil } }
	fqdn := func(name string) func() string { return func() string { return name } }
	for _, tt := range []struct {
		host, fqdn, want string
	}{
		{"a.b.c", "never.asked.net", "a.b.c"},
		{"a.b", "a.b.net", "a.b.net"},
		{"short", "short.example.net", "short.example.net"},
		{"short", "localhost", "short"},
		{"short", "", "short"},
	} {
		tr := newTree(t)
		tr.env.Hostname, tr.env.LookupFQDN = host(tt.host), fqdn(tt.fqdn)
		if c := tr.load(tr.write("etc/c.conf", "")); c.Identity != tt.want {
			t.Errorf("host %q, fqdn %q: identity %q, want %q", tt.host, tt.fqdn, c.Identity, tt.want)
		}
	}
	for _, tt := range []struct{ lines, collectives, main string }{
		{"", "mcollective", "mcollective"},
		{"plugin.security.provider = choria", "choria", "choria"},
		{"plugin.security.provider = choria\ncollectives = mcollective", "mcollective", "mcollective"},
		{"collectives = a , b", "a b", "a"},
		{"collectives = a,b\nmain_collective = b", "a b", "b"},
	} {
		tr := newTree(t)
		c := tr.load(tr.write("etc/c.conf", tt.lines))
		if got := strings.Join(c.Collectives, " "); got != tt.collectives || c.MainCollective != tt.main {
			t.Errorf("%q: collectives %q, main %q", tt.lines, got, c.MainCollective)
		}
	}
	tr := newTree(t)
	tr.env.Root = true
	if c := tr.load(tr.write("etc/c.conf", "")); c.Security.SSLDir != "/etc/puppetlabs/puppet/ssl" {
		t.Errorf("ssldir of root is %q", c.Security.SSLDir)
	}
}

func TestProviderChoosesItsFiles(t *testing.T) {
	lines := []string{
		"plugin.security.file.certificate = /f/cert", "plugin.security.file.key = /f/key", "plugin.security.file.ca = ~/f/ca",
		"plugin.security.choria.certificate = /c/cert", "plugin.security.choria.key = /c/key", "plugin.security.choria.ca = /c/ca",
		"plugin.security.choria.token_file = /c/token", "plugin.security.choria.seed_file = /c/seed",
	}
	for provider, want := range map[string][]string{
		"file": {"/f/cert", "/f/key", "HOME/f/ca"}, "choria": {"/c/cert", "/c/key", "/c/ca"},
		"pkcs11": {"", "", "HOME/f/ca"}, "puppet": {"", "", ""}, "certmanager": {"", "", ""},
	} {
		tr := newTree(t)
		s := tr.load(tr.write("etc/c.conf", append(lines, "plugin.security.provider = "+provider)...)).Security
		got := []string{s.Certificate, s.Key, strings.Replace(s.CA, tr.env.Home, "HOME", 1)}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s -want +got:\n%s", provider, d)
		}
		if s.TokenFile != "/c/token" || s.SeedFile != "/c/seed" {
			t.Errorf("%s: token %q seed %q", provider, s.TokenFile, s.SeedFile)
		}
	}
}

func TestRefusals(t *testing.T) {
	for lines, want := range map[string]string{
		"plugin.security.client_anon_tls = true":                                    "needs a request signer",
		"plugin.choria.network.connect_timeout = 3m":                                "limit is 2m0s",
		"plugin.security.provider = choria\nplugin.security.issuer.names = acme, x": "plugin.security.issuer.acme.public",
	} {
		tr := newTree(t)
		path := tr.write("etc/c.conf", lines)
		_, err := Load(path, tr.env)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: error %v, want %q and the place", lines, err, want)
		}
	}
	tr := newTree(t)
	tr.env.Hostname = func() (string, error) { return "", errors.New("no uname") }
	if _, err := Load(tr.write("etc/c.conf", ""), tr.env); err == nil || !strings.Contains(err.Error(), "no uname") {
		t.Errorf("without a host name: %v", err)
	}
	tr.env.Hostname = nil
	if _, err := Load(filepath.Join(tr.dir, "etc/c.conf"), tr.env); err == nil {
		t.Error("no identity at all is accepted")
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	tr := newTree(t)
	c := tr.load(tr.write("etc/c.conf", "plugin.nats.pass = hunter2", "plugin.choria.network.peer_password = hunter2",
		"plugin.choria.middleware_hosts = tls://me:hunter2@one:4222, two:4222"))
	if c.NatsPass.Reveal() != "hunter2" {
		t.Fatal("the password was not read")
	}
	hidden := struct{ pass secret.Value }{c.NatsPass}
	text, err := c.NatsPass.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{string(text), fmt.Sprintf("%v %+v %#v %s %v %+v %#v %q %x %v", c, c, c, c, c.NatsPass, c.NatsPass, c.NatsPass, c.NatsPass, c.NatsPass, hidden)}
	for _, key := range c.Keys() {
		v, _ := c.Get(key)
		shown = append(shown, v)
	}
	if all := strings.Join(shown, "\n"); strings.Contains(all, "hunter2") || strings.Contains(all, "68756e74657232") {
		t.Errorf("a password is shown:\n%s", all)
	}
	if got, _ := c.Get("plugin.choria.middleware_hosts"); got != "tls://[redacted]@one:4222,two:4222" {
		t.Errorf("hosts are shown as %q", got)
	}
	if j, err := c.NatsPass.MarshalJSON(); err != nil || string(j) != `"[redacted]"` {
		t.Errorf("JSON %s, %v", j, err)
	}
	if !new(secret.Value).Empty() || c.NatsPass.Empty() {
		t.Error("Empty is wrong")
	}
}
