package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"fleetctl/internal/lab"
)

// canarySecret is a token that no other text holds; its quoted form differs from it.
const canarySecret = `cAnArY-5ecret"<&>`

// TestASecretAppearsNowhere sends a canary token through every way in, every format and every kind of end, and looks for
// it in all that is printed and in every file that is left.
func TestASecretAppearsNowhere(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 4, Token: canarySecret, Protocol: 2, Faults: lab.Faults{Refuse: lab.Amount{N: 1}}})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(canarySecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	restart := []string{"req", "choria_provision", "restart", "splay=1", "--canary", "0", "--no-verify", "--reply-timeout", "1", "--allow-expiring"}
	restart = append(restart, f.all()...)
	with := func(more ...string) []string { return append(append([]string{}, restart...), more...) }
	log := filepath.Join(f.dir, "debug.log")
	tests := []struct {
		name  string
		args  []string
		stdin string
		env   string
		codes []int
	}{
		{name: "argv", args: with("token=" + canarySecret), codes: []int{3}},
		{name: "argv with @@", args: with("token=@@" + canarySecret), codes: []int{3, 5}},
		{name: "file", args: with("token=@"+file, "--debug", "--log-file", log), codes: []int{3, 4}},
		{name: "stdin", args: with("token=-", "--json"), stdin: canarySecret, codes: []int{3, 4}},
		{name: "variable", args: with("token=env:MY_TOKEN", "--jsonl"), env: "MY_TOKEN=" + canarySecret, codes: []int{3, 4}},
		{name: "fleetctl's own variable", args: with("--table", "-v"), env: "FLEETCTL_TOKEN=" + canarySecret, codes: []int{3, 4}},
		{name: "dry run", args: with("token="+canarySecret, "--dry-run", "--json"), codes: []int{0}},
		{name: "wrong type beside it", args: with("token="+canarySecret, "splay=x"), codes: []int{2}},
		{name: "mistyped key", args: []string{"req", "choria_provision", "restart", "Token=" + canarySecret, "tokn=x"}, codes: []int{2}},
		{name: "mistyped action", args: []string{"req", "choria_provision", "restrat", "token=" + canarySecret}, codes: []int{2}},
		{name: "unknown agent", args: []string{"req", "nosuch", "restart", "token=" + canarySecret}, codes: []int{2}},
		{name: "too long", args: with("token=" + strings.Repeat(canarySecret, 40)), codes: []int{2}},
		{name: "no broker", args: with("token="+canarySecret, "--config", "nobroker.conf", "--connect-timeout", "1"), codes: []int{9}},
		{name: "jwt, which the server quotes", args: []string{"req", "choria_provision", "jwt", "token=" + canarySecret, "--json", "--discovery-window", "--reply-timeout", "2"}, codes: []int{3, 5}},
		{name: "runs", args: []string{"runs", "show", "last", "--json"}, codes: []int{0}},
		{name: "resume", args: []string{"runs", "resume", "last", "token=" + canarySecret, "--reply-timeout", "1"}, codes: []int{0, 3, 4, 5}},
		{name: "retry", args: []string{"runs", "retry", "last", "--failed", "token=" + canarySecret, "--no-verify", "--ttl", "1s", "--reply-timeout", "1"}, codes: []int{3, 4, 5, 8}},
	}
	conf, err := os.ReadFile(f.lab.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(f.lab.URL(), "nats://")
	if err := os.WriteFile(filepath.Join(f.dir, "nobroker.conf"), bytes.ReplaceAll(conf, []byte(address), []byte("127.0.0.1:1")), 0o600); err != nil {
		t.Fatal(err)
	}
	// Those that reach the fleet one after another are few: a node that is about to restart replies to nothing else.
	var wait sync.WaitGroup
	for i, tt := range tests {
		try := func() {
			var out bytes.Buffer
			c := f.command(patient(t), tt.args...)
			c.Stdout, c.Stderr, c.Stdin = &out, &out, strings.NewReader(tt.stdin)
			for i, v := range c.Env {
				if strings.HasPrefix(v, "FLEETCTL_TOKEN=") {
					c.Env[i] = "FLEETCTL_TOKEN="
				}
			}
			c.Env = append(c.Env, tt.env)
			code := exitCode(t, c.Run())
			if !slices.Contains(tt.codes, code) {
				t.Errorf("%s: exit code %d, want one of %v: %s", tt.name, code, tt.codes, out.String())
			}
			noSecret(t, tt.name, out.Bytes())
		}
		if i == 0 || strings.HasPrefix(tt.args[0], "runs") {
			wait.Wait()
			try()
			continue
		}
		wait.Go(try)
	}
	wait.Wait()
	noSecretFiles(t, f.dir)
	logged, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"connected to the broker", "discovery", "guard", "request", "reply", "record", "state", "ended"} {
		if !bytes.Contains(logged, []byte(`"msg":"`+message+`"`)) {
			t.Errorf("the log has no %q: %s", message, logged)
		}
	}
}

// TestACrashShowsNoSecret lets the program dump its goroutines while it holds a secret.
func TestACrashShowsNoSecret(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 2, Token: canarySecret, Faults: lab.Faults{Silent: lab.Amount{N: 2}}})
	c := f.command(patient(t), append([]string{"req", "choria_provision", "restart", "--canary", "0"}, f.all()...)...)
	c.Env = append(c.Env, "FLEETCTL_TOKEN="+canarySecret, "GOTRACEBACK=all")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for _, n := range f.lab.Nodes() {
		if err := f.lab.AwaitReceived(patient(t), n.Identity, "choria_provision", "restart", 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it dies, that is the point
	if !strings.Contains(out.String(), "goroutine ") {
		t.Errorf("no dump: %s", out.String())
	}
	noSecret(t, "crash", out.Bytes())
	noSecretFiles(t, f.dir)
}

func noSecret(t *testing.T, where string, data []byte) {
	t.Helper()
	for _, form := range []string{canarySecret, `cAnArY-5ecret\"`, `cAnArY-5ecret`, "5ecret"} {
		if bytes.Contains(data, []byte(form)) {
			t.Errorf("%s: the secret appears: %.400s", where, data)
			return
		}
	}
}

func noSecretFiles(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		noSecret(t, path, data)
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("looked at %d files: %v", files, err)
	}
}
