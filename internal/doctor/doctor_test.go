package doctor

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/bus"
	"fleetctl/internal/config"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lab"
	"fleetctl/internal/security"
)

// steps are all steps to one broker, in their order.
const steps = "configuration settings credentials brokers name tcp tls authentication replies events discovery clocks locks budget"

// walker is a walk by a configuration file.
func walker(t *testing.T, configFile string, env map[string]string) Options {
	t.Helper()
	return Options{
		Fleet: fleet.Options{
			ConfigFile: configFile, Home: t.TempDir(), Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
			Settings: func() (config.Settings, error) { return config.Settings{}, nil }, ConnectTimeout: time.Second,
		},
		Wait: 5 * time.Second, DiscoveryTimeout: 200 * time.Millisecond, SettingsFile: "settings.yaml", Now: time.Now(),
	}
}

// unsigned is a walk by these lines, without credentials.
func unsigned(t *testing.T, lines ...string) Options {
	t.Helper()
	path := filepath.Join(t.TempDir(), "client.conf")
	text := "identity = ops.example.net\nplugin.security.provider = file\nplugin.choria.use_srv = false\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return walker(t, path, map[string]string{"INSECURE_YES_REALLY": "true"})
}

func names(r Report) string {
	var out []string
	for _, s := range r.Steps {
		out = append(out, s.Name)
	}
	return strings.Join(out, " ")
}

func stepOf(t *testing.T, r Report, name string) Step {
	t.Helper()
	for _, s := range r.Steps {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no step %s in %q", name, names(r))
	return Step{}
}

func TestTheWayToAHealthyFleet(t *testing.T) {
	l, err := lab.Start(t.Context(), lab.Options{Nodes: 3, Protocol: 2, Dir: filepath.Join(t.TempDir(), "lab"), Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	o := walker(t, l.ConfigFile(), nil)
	o.DiscoveryTimeout = time.Second
	o.Fleet.Settings = func() (config.Settings, error) {
		return config.Settings{MaxNodes: 9, ReadOnly: true, OnEvent: "tell"}, nil
	}
	r := Walk(t.Context(), o)
	if names(r) != steps || r.Failure() != nil || r.Config == nil || len(r.Credentials) == 0 {
		t.Fatalf("steps %q, %s", names(r), r.Verdict())
	}
	if got := r.Verdict(); !strings.HasPrefix(got, "all 12 steps passed") {
		t.Errorf("verdict %q", got)
	}
	for name, want := range map[string]string{
		"configuration": ", collective choria", "settings": "settings.yaml: max_nodes 9, require_filter false, confirm false, read_only true, on_event set",
		"tls": "TLS 1.3, certificate for ", "authentication": "connected to 127.0.0.1:", "replies": "choria.reply.", "events": "lifecycle events can be seen",
		"discovery": "3 nodes answered, the last after ", "clocks": "3 clocks within 2s of ours",
	} {
		if s := stepOf(t, r, name); !strings.Contains(s.Detail, want) || s.Status != Passed && name != "credentials" {
			t.Errorf("%s: %d %q, want %q", name, s.Status, s.Detail, want)
		}
	}
}

// The reply subject says whether the broker is in FIPS mode.
func TestTheHashOfTheReplySubjectIsNamed(t *testing.T) {
	for fips, want := range map[bool]string{false: " (MD5 of the caller id)", true: " (SHA-256 of the caller id: the broker allows no other, it is in FIPS mode)"} {
		l, err := lab.Start(t.Context(), lab.Options{Nodes: 1, Protocol: 2, FIPS: fips, Dir: filepath.Join(t.TempDir(), "lab"), Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		o := walker(t, l.ConfigFile(), nil)
		o.DiscoveryTimeout = time.Second
		r := Walk(t.Context(), o)
		if s := stepOf(t, r, "replies"); r.Failure() != nil || !strings.HasSuffix(s.Detail, want) {
			t.Errorf("FIPS %t: %s, %q", fips, r.Verdict(), s.Detail)
		}
	}
}

// A rule with a name that is unknown protects nothing: the settings step warns.
func TestRulesThatProtectNothingAreNamed(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    config.Settings
		want []string
	}{
		{"known names", config.Settings{Approvals: []config.Approval{{Action: "restart", Need: 1}, {Action: "choria_provision#shutdown", Need: 1}, {NodesOver: 9, Need: 1}},
			Collectives: map[string]config.Limits{"mcollective": {Confirm: true}}}, nil},
		{"misspelled", config.Settings{Approvals: []config.Approval{{Action: "restrat", Need: 1}, {Action: "rpcutil#restart", Need: 1}}, Collectives: map[string]config.Limits{"mcolective": {}}},
			[]string{`approvals are demanded for "restrat", and no known agent has that action`, `approvals are demanded for "rpcutil#restart", and no known agent has that action`,
				`there are limits for the collective "mcolective", and the configuration has none of that name`}},
		{"another site's collective", config.Settings{Sites: map[string]config.Site{"ams": {Config: "/ams"}}, Collectives: map[string]config.Limits{"ams": {}}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := unsigned(t)
			o.Fleet.Settings = func() (config.Settings, error) { return tt.s, nil }
			s := stepOf(t, Walk(t.Context(), o), "settings")
			want := Passed
			if tt.want != nil {
				want = Warned
			}
			if s.Status != want || tt.want != nil && s.Fix != "correct the name in settings.yaml" {
				t.Errorf("%+v", s)
			}
			for _, text := range tt.want {
				if !strings.Contains(s.Detail, text) {
					t.Errorf("it says %q", s.Detail)
				}
			}
		})
	}
}

// A step that fails ends the walk: those after it are skipped, and all are listed.
func TestTheWalkEndsAtTheFirstFailure(t *testing.T) {
	broken := errors.New("broken")
	withSettings := func(o Options, s func() (config.Settings, error)) Options { o.Fleet.Settings = s; return o }
	for _, tt := range []struct {
		name, failed string
		o            Options
		check        func(error) bool
	}{
		{"no configuration", "configuration", walker(t, "/nowhere/f", nil), is[*config.NotFoundError]},
		{"another collective", "configuration", func() Options { o := unsigned(t); o.Collective = "moon"; return o }(), is[*fleet.UsageError]},
		{"settings", "settings", withSettings(unsigned(t), func() (config.Settings, error) { return config.Settings{}, broken }), is[*fleet.UsageError]},
		{"no certificate", "credentials", func() Options {
			o := unsigned(t, "plugin.security.file.certificate = /nowhere/c.pem", "plugin.security.file.key = /k")
			o.Fleet.Getenv = func(string) (string, bool) { return "", false }
			return o
		}(), is[*security.CredentialError]},
		{"no port", "brokers", unsigned(t, "plugin.choria.middleware_hosts = broker"), is[*bus.Problem]},
		{"nothing there", "tcp", unsigned(t, "plugin.choria.middleware_hosts = 127.0.0.1:1"), is[*bus.Problem]},
	} {
		r := Walk(t.Context(), tt.o)
		f := r.Failure()
		if f == nil || f.Name != tt.failed || !tt.check(f.Err) || !strings.HasPrefix(r.Verdict(), "1 of ") || !strings.Contains(r.Verdict(), "steps failed: "+tt.failed) {
			t.Errorf("%s: %+v, %s", tt.name, f, r.Verdict())
			continue
		}
		_, after, _ := strings.Cut(names(r), tt.failed)
		for name := range strings.FieldsSeq(after) {
			if s := stepOf(t, r, name); s.Status != Skipped {
				t.Errorf("%s: %s has status %d", tt.name, name, s.Status)
			}
		}
		if !strings.HasSuffix(names(r), "authentication replies events discovery clocks locks budget") {
			t.Errorf("%s: steps %q", tt.name, names(r))
		}
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// One broker that can be reached is enough: the faults of others are warnings.
func TestOneBrokerIsEnough(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(`INFO {"server_name":"s","version":"2"}` + "\r\n"))
			conn.Close()
		}
	}()
	o := unsigned(t, "plugin.choria.middleware_hosts = 127.0.0.1:1, "+l.Addr().String())
	r := Walk(t.Context(), o)
	if f := r.Failure(); f == nil || f.Name != "authentication" { // it only greets
		t.Errorf("failed at %+v: %q", f, names(r))
	}
	if s := stepOf(t, r, "tcp"); s.Status != Warned || s.Target != "127.0.0.1:1" || s.Detail == "" {
		t.Errorf("the broker that is away: %+v", s)
	}
}

// No step waits longer than it may, be it for a network or for a file server.
func TestNoStepWaitsLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		release := make(chan struct{})
		s := timed(t.Context(), "credentials", 3*time.Second, func(ctx context.Context) finding {
			_, err := patiently(ctx, "read credentials", func() (int, error) { <-release; return 0, nil })
			return finding{err: err}
		})
		if time.Since(start) != 3*time.Second || s.Status != Failed || !errors.Is(s.Err, context.DeadlineExceeded) || !strings.HasPrefix(s.Err.Error(), "read credentials: ") || s.Took != 3*time.Second {
			t.Errorf("after %s: %+v", time.Since(start), s)
		}
		close(release)
		if v, err := patiently(t.Context(), "read", func() (int, error) { return 7, nil }); v != 7 || err != nil {
			t.Errorf("what is there at once: %d, %v", v, err)
		}
	})
}

func TestAFindingBecomesAStep(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		f      finding
		status Status
		detail string
	}{
		{finding{detail: "d"}, Passed, "d"}, {finding{detail: "d", warnings: []string{"a", "b"}, fix: "f"}, Warned, "d; a; b"}, {finding{warnings: []string{"a"}}, Warned, "a"},
		{finding{detail: "d", err: broken, warnings: []string{"a"}}, Failed, "d"}, {finding{detail: "d", skipped: true}, Skipped, "d"},
	} {
		s := timed(t.Context(), "n", time.Second, func(context.Context) finding { return tt.f })
		if s.Status != tt.status || s.Detail != tt.detail || s.Fix != tt.f.fix || !errors.Is(s.Err, tt.f.err) {
			t.Errorf("%+v became %+v", tt.f, s)
		}
	}
}

func TestTheVerdictSumsUp(t *testing.T) {
	for want, steps := range map[string][]Step{
		"all 2 steps passed":                                {{Status: Passed}, {Status: Passed}, {Status: Skipped}},
		"all 2 steps passed, 1 with a warning":              {{Status: Passed}, {Status: Warned}},
		"2 of 3 steps failed: tcp broker:1, discovery":      {{Name: "tcp", Target: "broker:1", Status: Failed}, {Status: Skipped}, {Name: "discovery", Status: Failed}},
		"1 of 2 steps failed: configuration":                {{Name: "configuration", Status: Failed}, {Status: Warned}},
		"all 0 steps passed":                                nil,
		"all 1 steps passed, 1 with a warning":              {{Status: Warned}},
		"all 1 steps passed":                                {{Status: Passed}},
		"1 of 1 steps failed: tls":                          {{Name: "tls", Status: Failed}},
		"2 of 2 steps failed: name broker:1, name broker:2": {{Name: "name", Target: "broker:1", Status: Failed}, {Name: "name", Target: "broker:2", Status: Failed}},
		"all 3 steps passed, 2 with a warning":              {{Status: Warned}, {Status: Warned}, {Status: Passed}},
	} {
		if got := (Report{Steps: steps}).Verdict(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The broker's greeting is worded, its certificate looked at.
func TestGreetings(t *testing.T) {
	now := time.Now()
	c := &checkup{o: Options{Now: now}}
	secure := &tls.ConnectionState{Version: tls.VersionTLS13}
	broken := errors.New("broken")
	for _, tt := range []struct {
		name         string
		g            bus.Greeting
		err          error
		detail, fix  string
		skip, failed bool
	}{
		{name: "a web socket", err: bus.ErrWebSocket, detail: "web sockets are not looked into", skip: true},
		{name: "without TLS", detail: "without TLS, as configured", skip: true},
		{name: "a good one", g: bus.Greeting{TLS: secure, Certificates: certificate(t, now.Add(100*24*time.Hour), "broker", "alias")},
			detail: "TLS 1.3, certificate for broker, alias, 127.0.0.1, issued by ca, valid until "},
		{name: "soon expired", g: bus.Greeting{TLS: secure, Certificates: certificate(t, now.Add(24*time.Hour), "broker")}, detail: "TLS 1.3, certificate for broker", fix: "renew the broker's certificate"},
		{name: "one that does not verify", g: bus.Greeting{Certificates: certificate(t, now.Add(-time.Hour), "broker")}, err: broken, detail: "certificate for broker", failed: true},
	} {
		f := c.greeted(tt.g, tt.err)
		if !strings.HasPrefix(f.detail, tt.detail) || f.fix != tt.fix || (f.fix != "") != (len(f.warnings) > 0) || f.skipped != tt.skip || (f.err != nil) != tt.failed {
			t.Errorf("%s: %+v", tt.name, f)
		}
	}
	if got := certificateNames(&x509.Certificate{Subject: pkix.Name{CommonName: "cn"}}); len(got) != 1 || got[0] != "cn" {
		t.Errorf("an old certificate is for %q", got)
	}
}

// certificate is one for these names and this machine, valid until then.
func certificate(t *testing.T, until time.Time, names ...string) []*x509.Certificate {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: until, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{cert}
}
