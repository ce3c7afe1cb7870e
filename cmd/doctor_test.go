package cmd

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/render"
)

// silentBroker accepts connections and says nothing.
func silentBroker(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func examine(t *testing.T, env map[string]string, args ...string) (int, render.Checkup) {
	t.Helper()
	code, out, errs := runApp(t, env, append([]string{"doctor", "--json"}, args...)...)
	var doc render.Checkup
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v in %q, stderr %q", err, out, errs)
	}
	if doc.ExitCode != code {
		t.Errorf("the document says exit code %d, the program ended with %d", doc.ExitCode, code)
	}
	return code, doc
}

func step(t *testing.T, doc render.Checkup, name string) render.Step {
	t.Helper()
	for _, s := range doc.Steps {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no step %q in %+v", name, doc.Steps)
	return render.Step{}
}

func TestDoctorIsNotHeldUpByASilentBroker(t *testing.T) {
	start := time.Now()
	conf := writeConfig(t, "plugin.choria.middleware_hosts = "+silentBroker(t))
	code, doc := examine(t, unsigned, "--config", conf, "--connect-timeout", "0.2s")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if s := step(t, doc, "tls"); code != exitNetwork || s.Status != render.StepFailed || s.Fix == "" || !strings.Contains(s.Detail, "sends nothing") {
		t.Errorf("exit code %d, step %+v", code, s)
	}
	for _, name := range []string{"authentication", "replies", "events", "discovery", "clocks", "locks", "budget"} {
		if s := step(t, doc, name); s.Status != render.StepSkipped {
			t.Errorf("%s is %s", name, s.Status)
		}
	}
}

func TestDoctorIsNotHeldUpByAFileThatNeverEnds(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := makePipe(pipe); err != nil {
		t.Skip("no named pipes here")
	}
	conf := writeConfig(t, "plugin.security.file.certificate = "+pipe, "plugin.security.file.key = /k", "plugin.choria.middleware_hosts = 127.0.0.1:1")
	code, doc := examine(t, nil, "--config", conf, "--connect-timeout", "0.2s")
	if s := step(t, doc, "credentials"); code != exitNetwork || s.Status != render.StepFailed {
		t.Errorf("exit code %d, step %+v", code, s)
	}
}

func TestDoctorGivesEveryFaultItsCode(t *testing.T) {
	away := "plugin.choria.middleware_hosts = 127.0.0.1:1"
	for _, tt := range []struct {
		name, step string
		env        map[string]string
		args       []string
		want       int
	}{
		{"no configuration", "configuration", nil, []string{"--config", "/nowhere/client.conf"}, exitUsage},
		{"another collective", "configuration", nil, []string{"--config", writeConfig(t, away), "-T", "moon"}, exitUsage},
		{"bad settings", "settings", map[string]string{"FLEETCTL_SETTINGS": "/nowhere/settings.yaml"}, []string{"--config", writeConfig(t, away)}, exitUsage},
		{"no certificate", "credentials", nil, []string{"--config", writeConfig(t, away, "plugin.security.file.certificate = /nowhere/c.pem", "plugin.security.file.key = /k")}, exitNetwork},
		{"no port", "brokers", unsigned, []string{"--config", writeConfig(t, "plugin.choria.middleware_hosts = broker")}, exitNetwork},
		{"no broker", "tcp", unsigned, []string{"--config", writeConfig(t, away)}, exitNetwork},
	} {
		code, doc := examine(t, tt.env, tt.args...)
		if s := step(t, doc, tt.step); code != tt.want || s.Status != render.StepFailed || s.Fix == "" {
			t.Errorf("%s: exit code %d, want %d; %+v", tt.name, code, tt.want, s)
		}
	}
}

func TestDoctorShowsOriginsAndNoSecrets(t *testing.T) {
	conf := writeConfig(t, "plugin.nats.user = me", "plugin.nats.pass = hunter2", "plugin.choria.middleware_hosts = nats://me:hunter2@127.0.0.1:1", "plugin.x.token = hunter2")
	_, text, errs := runApp(t, unsigned, "doctor", "-v", "--config", conf, "--debug")
	if all := text + errs; strings.Contains(all, "hunter2") {
		t.Errorf("a secret is in %s", all)
	}
	_, doc := examine(t, unsigned, "--config", conf)
	origins := map[string]string{}
	for _, s := range doc.Settings {
		origins[s.Key] = s.Origin
		if strings.Contains(s.Value, "hunter2") {
			t.Errorf("%s shows its secret", s.Key)
		}
	}
	if got, want := origins["identity"], conf+":1"; got != want {
		t.Errorf("identity comes from %q, want %q", got, want)
	}
	if got := origins["ttl"]; got != "default" {
		t.Errorf("ttl comes from %q", got)
	}
}
