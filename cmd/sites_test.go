package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetctl/internal/lab"
)

func TestASiteIsAConfigurationAndItsLimits(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 3})
	if err := os.MkdirAll(p.path("fleetctl"), 0o700); err != nil {
		t.Fatal(err)
	}
	away := writeConfig(t, "plugin.choria.middleware_hosts = 127.0.0.1:1")
	p.write("fleetctl/config.yaml", "max_nodes: 100\nsites:\n  ams: {config: "+p.lab.ConfigFile()+"}\n  look: {config: "+p.lab.ConfigFile()+", read_only: true}\n  few: {config: "+p.lab.ConfigFile()+
		", max_nodes: 2}\n  away: {config: "+away+"}\n")
	env := p.env()
	delete(env, "FLEETCTL_CONFIG")
	link := filepath.Join(p.dir, "link.conf")
	if err := os.Symlink(p.lab.ConfigFile(), link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line string
		env  map[string]string
		code int
		says []string
	}{
		{"ping --expect 3 --site ams", nil, 0, nil},
		{"ping --expect 3", map[string]string{"FLEETCTL_SITE": "ams"}, 0, nil},
		{"ping --expect 3 --site ams", map[string]string{"FLEETCTL_SITE": "away", "FLEETCTL_CONFIG": away}, 0, nil}, // flags win
		{"ping --expect 3 --site ams --config " + p.lab.ConfigFile(), nil, 0, nil},
		{"ping --expect 3 --site ams --config " + link, nil, 0, nil},
		{"ping --expect 3 --config " + p.lab.ConfigFile(), map[string]string{"FLEETCTL_SITE": "ams"}, 0, nil},
		{"req choria_provision restart --dry-run --site look", nil, exitGuard, []string{"read_only"}},
		{"req choria_provision restart --dry-run --site few", nil, exitGuard, []string{"limit is 2"}},
		{"req choria_provision restart --dry-run --site ams", nil, 0, []string{"  site ams\n", "at most 100 nodes"}},
		{"req choria_provision restart --site few --no-verify -I " + p.names[0] + " --np", nil, 0, nil},
		{"runs retry last --unknown --dry-run", nil, exitNoNodes, nil},
		{"runs show last --json", nil, 0, []string{p.names[0]}},
		{"runs show last", nil, 0, []string{"Site: few\n"}},
		{"doctor --site look", nil, 0, []string{"site look: max_nodes 100", "read_only true"}},
		{"ping --site moon", nil, exitUsage, []string{`there is no site "moon" in the settings`, "there are ams, away, few, look"}},
		{"ping --site amz", nil, exitUsage, []string{"did you mean ams?"}},
		{"ping", map[string]string{"FLEETCTL_SITE": "moon"}, exitUsage, []string{"no site"}},
		{"ping --site", nil, exitUsage, nil},
		{"ping --site=", nil, exitUsage, []string{"--site has an empty value"}},
		{"ping --site ams --config " + away, nil, exitUsage, []string{"is not the configuration of site ams"}},
		{"ping --config " + away, map[string]string{"FLEETCTL_SITE": "ams"}, exitUsage, []string{"is not the configuration of site ams"}},
		{"ping", map[string]string{"FLEETCTL_SITE": "ams", "FLEETCTL_CONFIG": away}, exitUsage, []string{"FLEETCTL_CONFIG names " + away, "unset one of them"}},
		{"ping --connect-timeout 1 --site away", nil, exitNetwork, nil},
		{"sites", map[string]string{"FLEETCTL_SITE": "few"}, 0, []string{"ams", p.lab.ConfigFile(), "few (chosen)", "max_nodes 2", "read_only, max_nodes 100"}},
		{"sites", map[string]string{"FLEETCTL_SITE": "moon"}, 0, []string{"ams"}}, // it shows what there is
		{"sites x", nil, exitUsage, []string{"unexpected argument"}},
	} {
		with := env
		for name, value := range tt.env {
			with = withVariable(with, name, value)
		}
		code, out, errs := runApp(t, with, append(append([]string{}, patient...), strings.Fields(tt.line)...)...)
		if strings.Contains(tt.line, "--connect-timeout") {
			code, out, errs = runApp(t, with, strings.Fields(tt.line)...)
		}
		if code != tt.code {
			t.Errorf("%s %v: exit %d, want %d\n%s%s", tt.line, tt.env, code, tt.code, out, errs)
		}
		for _, piece := range tt.says {
			if !strings.Contains(out+errs, piece) {
				t.Errorf("%s %v lacks %q:\n%s%s", tt.line, tt.env, piece, out, errs)
			}
		}
	}
	s := loadSchemas(t)
	for _, args := range [][]string{{"sites", "--json"}, {"sites", "--json", "--site", "few"}} {
		code, out, errs := runApp(t, env, args...)
		if s.check(t, "sites", out); code != 0 || !strings.Contains(out, `"read_only": true`) || strings.Contains(out, `"chosen": true`) != (len(args) > 2) {
			t.Errorf("%q: exit %d\n%s%s", args, code, out, errs)
		}
	}
	if code, out, _ := runApp(t, env, "__complete", "ping", "--site", ""); code != 0 || !strings.Contains(out, "ams\t") || !strings.Contains(out, "look\t") {
		t.Errorf("completed: %s", out)
	}
}

func TestWithoutSites(t *testing.T) {
	code, out, errs := runApp(t, map[string]string{"XDG_CONFIG_HOME": t.TempDir()}, "sites")
	if code != 0 || out != "" || !strings.Contains(errs, "no sites in ") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	code, _, errs = runApp(t, map[string]string{"XDG_CONFIG_HOME": t.TempDir()}, "ping", "--site", "ams")
	if code != exitUsage || !strings.Contains(errs, "the settings have no sites") {
		t.Errorf("exit %d, %q", code, errs)
	}
}
