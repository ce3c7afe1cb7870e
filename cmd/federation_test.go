package cmd

import (
	"maps"
	"strings"
	"testing"
)

func withVariable(env map[string]string, name, value string) map[string]string {
	out := map[string]string{name: value}
	maps.Copy(out, env)
	return out
}

func TestFederationsComeFromEnvironmentFlagConfiguration(t *testing.T) {
	conf := writeConfig(t, "plugin.choria.federation.collectives = file1,file2,file1", "plugin.choria.federation_middleware_hosts = 127.0.0.1:1", "plugin.choria.middleware_hosts = 127.0.0.1:2")
	plain := writeConfig(t, "plugin.choria.middleware_hosts = 127.0.0.1:2")
	fromEnv := withVariable(unsigned, "CHORIA_FED_COLLECTIVE", "env1, env2")
	for _, tt := range []struct {
		name   string
		env    map[string]string
		args   []string
		want   string // the end of the step's text
		broker string
	}{
		{"none", unsigned, []string{"--config", plain}, "collective mcollective", "127.0.0.1:2"},
		{"file", unsigned, []string{"--config", conf}, "federations file1, file2", "127.0.0.1:1"},
		{"flag", unsigned, []string{"--config", conf, "--federations", "a,b,a"}, "federations a, b", "127.0.0.1:1"},
		{"environment", fromEnv, []string{"--config", conf, "--federations", "a"}, "federations env1, env2", "127.0.0.1:1"},
	} {
		_, doc := examine(t, tt.env, tt.args...)
		detail, _, _ := strings.Cut(step(t, doc, "configuration").Detail, ";")
		if !strings.HasSuffix(detail, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, detail, tt.want)
		}
		if s := step(t, doc, "brokers"); s.Detail != tt.broker {
			t.Errorf("%s: brokers %q, want %q", tt.name, s.Detail, tt.broker)
		}
	}
}

func TestFederationsAreRefusedBeforeAnythingIsSent(t *testing.T) {
	conf := writeConfig(t, "plugin.choria.federation_middleware_hosts = 127.0.0.1:1")
	plain := writeConfig(t, "plugin.choria.middleware_hosts = 127.0.0.1:1")
	restart := []string{"req", "choria_provision", "restart", "token=x", "--config", conf, "-I", "n1"}
	for _, tt := range []struct {
		name, want string
		args       []string
		code       int
	}{
		{"two for a change", "act twice", append(restart, "--federations", "a,b"), exitUsage},
		{"the same twice is one", "no broker answers", append(restart, "--federations", "a,a"), exitNetwork},
		{"two for a question", "no broker answers", []string{"req", "rpcutil", "ping", "--config", conf, "-I", "n1", "--federations", "a,b"}, exitNetwork},
		{"a wildcard", "cannot be the name", []string{"ping", "--config", conf, "--federations", "a,*"}, exitUsage},
		{"a dot", "cannot be the name", []string{"ping", "--config", conf, "--federations", "a.b"}, exitUsage},
		{"no brokers known", "no broker of the federation", []string{"ping", "--config", plain, "--federations", "a"}, exitNetwork},
	} {
		code, out, errs := runApp(t, unsigned, append(tt.args, "--connect-timeout", "0.1s")...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: exit code %d, want %d; %s%s", tt.name, code, tt.code, out, errs)
		}
	}
}
