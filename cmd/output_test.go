package cmd

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"fleetctl/batch"
	"fleetctl/internal/lab"
	"fleetctl/internal/run"
	"fleetctl/inventory"
)

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// full is where nothing can be written: /dev/full, where there is one.
func full(t *testing.T) io.Writer {
	t.Helper()
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		return fullDisk{}
	}
	t.Cleanup(func() { _ = f.Close() }) // nothing was written
	return f
}

// silentCommands print nothing on stdout when all goes well, each with what it does.
var silentCommands = map[string]string{
	"fleetctl plan approve": "it reports on stderr",
	"fleetctl runs pause":   "says on stderr that the run is paused", "fleetctl runs continue": "says on stderr that the run continues",
	"fleetctl login": "TestALostTokenMessage", "fleetctl runs stop": "needs a live run; it ends as runs watch does",
	"fleetctl assets":      "writes files",
	"fleetctl runs adopt":  "needs a shared run whose driver is dead (TestALaptopDies); it prints as runs resume does",
	"fleetctl runs drive":  "prints to the file that --detach made for it",
	"fleetctl shared init": "it reports on stderr", "fleetctl runs settle": "it reports on stderr", "fleetctl runs forget": "it reports on stderr",
}

// TestNothingEndsWellWhenItsOutputIsLost runs every command that prints with a full disk behind stdout.
func TestNothingEndsWellWhenItsOutputIsLost(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 2, Streams: true})
	k := newTokens(t)
	first, all := p.names[0], strings.Join(p.names, ",")
	if got := p.run("req rpcutil ping --journal -I nosuch.example.net"); got.code != exitNoReply {
		t.Fatalf("%+v", got)
	}
	absent, err := run.Store{Dir: filepath.Join(p.path("state"), "runs")}.Find("last")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.run("req rpcutil ping --journal -I " + all); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	plan, ping := savedPlan(t, nil), p.path("ping.plan")
	if got := p.run("req rpcutil ping --save-plan " + ping); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	for _, line := range []string{"shared init", "req rpcutil ping --share -I " + all} {
		if got := p.run(line); got.code != 0 {
			t.Fatalf("%s: %+v", line, got)
		}
	}
	lines := []string{
		"", "--version", "--help", "version", "version --json", "help", "help req", "help batches", "req --help", "runs", "jwt",
		"completion bash", "completion zsh", "completion fish", "completion powershell",
		"discover -I " + all, "discover --json -I " + all, "discover --output nodeset -I " + all,
		"ping --expect 2", "ping --names --expect 2", "ping --silent --expect 2", "ping --graph --expect 2",
		"facts country -I " + all, "facts country --json -I " + all, "facts country --table -I " + all, "facts country --chart -I " + all,
		"inventory " + first, "inventory --json " + first, "inventory --collectives -I " + all, "inventory --collectives --json -I " + all,
		"inventory -I " + all, "inventory --output table -I " + all, "inventory --output csv -I " + all, "inventory --output json -I " + all,
		"inventory --output jsonl -I " + all, "inventory --output nodeset -I " + all, "inventory --group-by version -I " + all,
		"doctor --discovery-timeout 0.5", "doctor --json --discovery-timeout 0.5",
		"req rpcutil ping -I " + all, "req rpcutil ping --dry-run -I " + all, "req rpcutil ping --dry-run --json -I " + all,
		"req rpcutil ping --reply-to site.x -I " + all,
		"runs list", "runs list --json", "runs list --shared", "runs list --shared --json", "runs show last", "runs show last --json", "runs report last", "runs report last --output junit", "runs watch last", "runs wait last", "runs diff " + absent + " last", "runs diff --json " + absent + " last",
		"runs resume last", "runs retry " + absent + " --absent --dry-run",
		"jwt view " + k.path("made.jwt"), "jwt view --json " + k.path("made.jwt"), "jwt provisioning " + k.path("lost.jwt") + " " + k.path("issuer.seed") + " --token env:TOKEN --urls nats://a:4222 --default",
		"lab --nodes 1 --protocol 2", "sites", "sites --json", "shared", "shared locks --json", "shared limits --json",
		"plan", "plan show " + plan, "plan show --json " + plan, "plan check " + plan,
		"apply --dry-run " + ping,
	}
	for _, format := range []string{"json", "jsonl", "table", "senders", "csv", "nodeset", "junit", "markdown", "html"} {
		lines = append(lines, "req rpcutil ping --output "+format+" -I "+all)
	}
	if got := k.run("provisioning %made.jwt %issuer.seed --token env:TOKEN --urls nats://a:4222 --default"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	env := withVariable(withVariable(p.env(), "TOKEN", "s3cret"), "FLEETCTL_SETTINGS", writeFile(t, "sites.yaml", "sites: {ams: {config: /etc/ams.conf}}"))
	ran := map[string]bool{}
	for _, line := range lines {
		args := strings.Fields(line)
		if args := strings.Fields(line); !strings.HasPrefix(line, "lab ") { // which stays when it can print
			a, out, errs := newApp(t, "", env)
			if code := a.execute(t.Context(), args); code != exitOK || out.Len() == 0 {
				t.Errorf("%s ends with %d when its output is kept, after %q: %s", line, code, out, errs)
			}
			_ = os.Remove(k.path("lost.jwt")) // made by one of the lines
		}
		a, _, errs := newApp(t, "", env)
		a.io.out = full(t)
		if code := a.execute(t.Context(), args); code != exitFault {
			t.Errorf("%s ends with %d when its output is lost: %s", line, code, errs)
		}
		if !strings.Contains(errs.String(), "no space left on device") {
			t.Errorf("%s does not say why: %s", line, errs)
		}
		if c, _, err := newRoot(a).Find(args); err == nil {
			ran[c.CommandPath()] = true
		}
	}
	a, _, _ := newApp(t, "", env)
	walkCommands(newRoot(a), func(c *cobra.Command) {
		if path := c.CommandPath(); c.Runnable() && !ran[path] && silentCommands[path] == "" {
			t.Errorf("%s is not run with a full disk", path)
		}
	})
}

func walkCommands(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, child := range c.Commands() {
		walkCommands(child, visit)
	}
}

// A token that was saved is there; that it cannot be said is a fault anyway.
func TestALostTokenMessage(t *testing.T) {
	s := newLoginSite(t)
	a, _, errs := newApp(t, "", map[string]string{"FLEETCTL_CONFIG": s.path("client.conf")})
	a.io.out = full(t)
	if code := a.execute(t.Context(), []string{"login", "--username", "bob", "--password", "@" + s.path("password")}); code != exitFault || !strings.Contains(errs.String(), "no space left") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

// hostile is text that would move the cursor, clear the screen, turn text around and begin a line of its own.
const hostile = "a\x1b[2J\x9b1m\u0085\u202e\u2066b\r\nfleetctl: all well\x00"

// harmless checks that a stream got nothing of it raw, and the rest of it on one line.
func harmless(t *testing.T, where, text string, lines int) {
	t.Helper()
	if i := strings.IndexAny(text, "\x00\x1b\r\u0085\u009b\u202e\u2066"); i >= 0 || strings.Contains(text, "\nfleetctl: all well") {
		t.Errorf("%s: %q", where, text)
	}
	if !strings.Contains(text, `\x1b[2J`) || strings.Count(text, "\n") != lines {
		t.Errorf("%s: %d lines: %q", where, strings.Count(text, "\n"), text)
	}
}

// TestWhatOthersSayIsHarmlessOnStderr passes hostile names and messages through the doors of this package.
func TestWhatOthersSayIsHarmlessOnStderr(t *testing.T) {
	for name, tt := range map[string]struct {
		lines int
		print func(a *app)
	}{
		"a line":   {1, func(a *app) { a.say("run %s", hostile) }},
		"warnings": {2, func(a *app) { a.warn([]string{hostile, hostile}) }},
		"a problem": {1, func(a *app) {
			_ = checkMissing(a, []string{"n"}, 0, nil, []inventory.Problem{{Node: "n", Err: hostileError{}}})
		}},
		"absent nodes": {1, func(a *app) { warnOfMissing(a, &inventory.Tally{Absent: []string{hostile}}) }},
		"problems": {1, func(a *app) {
			warnOfMissing(a, &inventory.Tally{Problems: []inventory.Problem{{Node: "n", Err: hostileError{}}}})
		}},
		"a fleet's note": {1, func(a *app) { a.fleetOptions().Tell(hostile) }},
		"a run":          {2, func(a *app) { _ = endWatch(a, run.Stored{ID: hostile}, batch.Summary{Open: 1}) }},
	} {
		a, out, errs := newApp(t, "", nil)
		tt.print(a)
		text := errs.String()
		if name == "a run" {
			text += out.String()
		}
		harmless(t, name, text, tt.lines)
	}
}

type hostileError struct{}

func (hostileError) Error() string { return hostile }

// A question shows what it asks about, and nothing else moves.
func TestAQuestionIsHarmless(t *testing.T) {
	var out bytes.Buffer
	k := asker{out: &out}
	k.question(hostile)
	if text := out.String(); strings.ContainsAny(text, "\x00\x1b\r\u0085\u009b\u202e\u2066") || !strings.Contains(text, `\x1b[2J`) {
		t.Errorf("%q", text)
	}
}

// A log that cannot be written is named without what its name would do.
func TestALostLogIsNamedHarmlessly(t *testing.T) {
	a, _, errs := newApp(t, "", nil)
	f, err := os.CreateTemp(t.TempDir(), "a\x1b[2Jb")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	a.log = &logFile{File: f}
	if code := a.execute(t.Context(), []string{"version"}); code != exitOK || !strings.Contains(errs.String(), "the log is not complete") || strings.Contains(errs.String(), "\x1b") {
		t.Errorf("exit %d, %q", code, errs)
	}
}
