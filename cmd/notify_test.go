package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetctl/internal/lab"
	"fleetctl/internal/report"
)

func readAt(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// The flag's command, else the settings' for what changes something; it changes neither the result nor the exit code.
func TestWhichCommandHearsOfARun(t *testing.T) {
	t.Setenv("FLEETCTL_TOKEN", "hidden") // of this process: the app under test has an environment of its own
	p := newPractice(t, lab.Options{Nodes: 4})
	if err := os.MkdirAll(p.path("fleetctl"), 0o700); err != nil {
		t.Fatal(err)
	}
	script := func(name, text string) string {
		p.write(name, "#!/bin/sh\n"+text)
		return p.path(name)
	}
	flag := script("flag", `cat >> "$0.log"; env >> "$0.env"`)
	p.write("fleetctl/config.yaml", "on_event: "+script("settings", `cat >> "$0.log"`)+"\n")
	for i, tt := range []struct {
		line           string
		command        []string // of the flag
		flag, settings int      // events that each hears of
		warns          bool
	}{
		{line: "req rpcutil ping"},
		{line: "req rpcutil ping", command: []string{"--on-event", flag}, flag: 2},
		{line: "req choria_provision restart --no-verify", settings: 2},
		{line: "req choria_provision restart --no-verify", command: []string{"--on-event", flag}, flag: 2},
		{line: "req choria_provision restart --no-verify", command: []string{"--on-event", "none"}},
		{line: "req choria_provision restart --no-verify", command: []string{"--on-event", "echo no such channel; exit 3"}, warns: true},
		{line: "req choria_provision restart --dry-run"},
	} {
		os.Remove(p.path("flag.log"))
		os.Remove(p.path("settings.log"))
		r := p.run(tt.line+" -I "+p.names[i%len(p.names)], tt.command...)
		if r.code != 0 {
			t.Errorf("%s %q: exit code %d: %s", tt.line, tt.command, r.code, r.err)
		}
		if got := strings.Count(readAt(t, p.path("flag.log")), "\n"); got != tt.flag {
			t.Errorf("%s %q: the flag's command heard of %d events", tt.line, tt.command, got)
		}
		if got := strings.Count(readAt(t, p.path("settings.log")), "\n"); got != tt.settings {
			t.Errorf("%s %q: the settings' command heard of %d events", tt.line, tt.command, got)
		}
		if got := strings.Count(r.err, "warning: the command of --on-event failed at the event"); got > 0 != tt.warns || tt.warns && !strings.Contains(r.err, "exit status 3: no such channel") {
			t.Errorf("%s %q: %s", tt.line, tt.command, r.err)
		}
	}
	if env := readAt(t, p.path("flag.env")); !strings.Contains(env, "FLEETCTL_CONFIG="+p.lab.ConfigFile()+"\n") || strings.Contains(env, "FLEETCTL_TOKEN") || strings.Contains(env, "hidden") {
		t.Errorf("environment\n%s", env)
	}
	records, err := filepath.Glob(p.path("state/runs/*.journal"))
	if err != nil || len(records) == 0 {
		t.Fatalf("records %q, %v", records, err)
	}
	for _, record := range records {
		if strings.Contains(readAt(t, record), "on-event") {
			t.Errorf("%s keeps the command", record)
		}
	}
}

// A resume and a retry are runs of their own for the command.
func TestTheCommandHearsOfAResumeAndARetry(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 4, Faults: lab.Faults{Refuse: lab.Amount{N: 2}}})
	for _, tt := range []struct {
		line   string
		code   int
		events string // each with its reason, where it has one
	}{
		{"req choria_provision restart --no-verify --batch 1 --canary 0 --batch-sleep 0s --fail-fast -I " + strings.Join(p.names, ","), exitStopped, "begin; stop; end 5"},
		{"runs resume last --max-failed 4", exitRefused, "begin resumed; end 3"},
		{"runs retry last --failed --batch 2 --max-failed 4", exitRefused, "begin; end 3"},
	} {
		if err := os.RemoveAll(p.path("log")); err != nil {
			t.Fatal(err)
		}
		r := p.run(tt.line, "--on-event", `cat >> `+p.path("log"))
		var got []string
		for line := range strings.Lines(readAt(t, p.path("log"))) {
			var n report.Notice
			if err := json.Unmarshal([]byte(line), &n); err != nil {
				t.Fatal(err)
			}
			switch {
			case n.ExitCode != nil:
				n.Event += fmt.Sprint(" ", *n.ExitCode)
			case n.Reason == "resumed":
				n.Event += " " + n.Reason
			}
			got = append(got, n.Event)
		}
		if strings.Join(got, "; ") != tt.events || r.code != tt.code {
			t.Errorf("%s: events %q, want %q; exit code %d, want %d: %s", tt.line, got, tt.events, r.code, tt.code, r.err)
		}
	}
}
