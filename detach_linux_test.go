package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"fleetctl/internal/lab"
)

// runID is how a run is called.
var runID = regexp.MustCompile(`[0-9]{8}-[0-9]{6}-[a-z0-9]{5}`)

// left is what is in the folder of the records.
func (f *fleet) left() []string {
	names, err := filepath.Glob(filepath.Join(f.dir, "state", "runs", "*"))
	if err != nil {
		f.t.Fatal(err)
	}
	return names
}

// read returns the text of a file.
func (f *fleet) read(path string) string {
	f.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// TestABackgroundRunOutlivesItsTerminal asks at a terminal, in a shell, and closes the terminal when the run has begun: the
// shell is hung up, and the run continues.
func TestABackgroundRunOutlivesItsTerminal(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 4, Protocol: 2})
	term := newTerminal(t)
	req := append([]string{"req", "choria_provision", "restart", "splay=1", "--batch", "1", "--canary", "0", "--batch-sleep", "0", "--detach"}, f.all()...)
	fleetctl := f.command(patient(t), req...)
	link := filepath.Join(t.TempDir(), "fleetctl") // the test binary is fleetctl when it is called so
	if err := os.Symlink(fleetctl.Path, link); err != nil {
		t.Fatal(err)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // as after nohup, it may be ignored: what we listen to has its default in the shell
	t.Cleanup(func() { signal.Stop(hangups) })
	shell := f.command(patient(t))
	shell.Path, shell.Args = "/bin/sh", append([]string{"sh", "-c", `program=$0; "$program" "$@"; read -r more`, link}, fleetctl.Args[1:]...)
	shell.Stdin, shell.Stdout, shell.Stderr = term.tty, term.tty, term.tty
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = shell.Wait()
		close(ended)
	}()
	at, ok := term.await("restart 4 nodes? [y/N]", 0, ended)
	if !ok {
		return
	}
	if _, err := term.master.WriteString("y\n"); err != nil {
		t.Fatal(err)
	}
	if at, ok = term.await("outlives this terminal", at, ended); !ok {
		return
	}
	if at, ok = term.await("fleetctl runs wait", at, ended); !ok {
		return
	}
	if _, ok = term.await("\n2", at, ended); !ok { // the id
		return
	}
	id := runID.FindString(term.text())
	// What the terminal's end does to the shell and what it runs: SIGHUP.
	if err := term.tty.Close(); err != nil {
		t.Fatal(err)
	}
	if err := term.master.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if state := shell.ProcessState.Sys().(syscall.WaitStatus); !state.Signaled() || state.Signal() != syscall.SIGHUP {
		t.Errorf("the shell ended with %v: the terminal did not hang up", shell.ProcessState)
	}
	list := f.run("runs", "list", "--json")
	if !strings.Contains(list.out, `"status": "running"`) {
		t.Errorf("the run did not outlive the terminal, or ended too early to show it: %s", list.out)
	}
	waited := f.run("runs", "wait", id)
	if waited.code != 0 || !strings.Contains(waited.out, "Done: 4 verified of 4 nodes") {
		t.Errorf("wait: %+v", waited)
	}
	if got := f.restarts(); got != 4 {
		t.Errorf("%d restarts, want 4", got)
	}
	if log := f.read(filepath.Join(f.dir, "state", "runs", id+".log")); !strings.Contains(log, "Done: 4 verified of 4 nodes") || !strings.Contains(log, "batch 4/4") {
		t.Errorf("its output is\n%s", log)
	}
}

// TestABackgroundRunKeepsItsSecret looks for the token everywhere but in the pipe.
func TestABackgroundRunKeepsItsSecret(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 2, Protocol: 2})
	begun := f.run(append([]string{"req", "choria_provision", "restart", "splay=1", "--batch", "1", "--canary", "0", "--batch-sleep", "0", "--detach"}, f.all()...)...)
	id := strings.TrimSpace(begun.out)
	if begun.code != 0 || runID.FindString(id) != id {
		t.Fatalf("%+v", begun)
	}
	pid := regexp.MustCompile(`driven by process ([0-9]+)`).FindStringSubmatch(begun.stderr)
	if pid == nil {
		t.Fatalf("no process: %s", begun.stderr)
	}
	for _, what := range []string{"cmdline", "environ"} {
		text := f.read("/proc/" + pid[1] + "/" + what)
		if text == "" || strings.Contains(text, "s3cret") {
			t.Errorf("its %s: %q", what, text)
		}
	}
	if waited := f.run("runs", "wait", id); waited.code != 0 {
		t.Errorf("%+v", waited)
	}
	files := f.left()
	if len(files) != 2 {
		t.Errorf("files %q, want the record and the output", files)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
		if strings.Contains(f.read(name), "s3cret") {
			t.Errorf("the secret is in %s", name)
		}
	}
}

// TestABackgroundRunThatDoesNotBeginLeavesNothing: refusals of both processes end the command as if it were not detached.
func TestABackgroundRunThatDoesNotBeginLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 2, Protocol: 2})
	restart := append([]string{"req", "choria_provision", "restart", "splay=1", "--detach"}, f.all()...)
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--max-nodes", "1"}, 7, "limit is 1"},
		{[]string{"--no-journal"}, 2, "--detach excludes --no-journal"},
		{[]string{"--confirm-each", "--batch", "1"}, 2, "--detach excludes --confirm-each"},
		{[]string{"-r", "x"}, 2, "--detach excludes --reply-to"},
		{[]string{"--json"}, 2, "--detach with another format than text needs a file"},
		{[]string{"--expect", "3"}, 7, "expected 3 nodes, found 2"},
		{[]string{"-o", "no/such/folder"}, 2, "no/such/folder"}, // of the background process
	} {
		got := f.run(append(restart, tt.args...)...)
		if got.code != tt.code || !strings.Contains(got.stderr, tt.says) || got.out != "" {
			t.Errorf("%q: %+v, want %d and %q", tt.args, got, tt.code, tt.says)
		}
	}
	if got := f.run("runs", "drive", "x"); got.code != 2 || !strings.Contains(got.stderr, "started by --detach alone") {
		t.Errorf("runs drive by hand: %+v", got)
	}
	if left := f.left(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if got := f.restarts(); got != 0 {
		t.Errorf("%d restarts", got)
	}
}

// TestTheExitCodeOfABackgroundRunIsThatOfWait, and it is stopped, resumed and retried as any other.
func TestTheExitCodeOfABackgroundRunIsThatOfWait(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 3, Protocol: 2})
	detach := func(args ...string) string {
		t.Helper()
		got := f.run(append(args, "--detach")...)
		if got.code != 0 {
			t.Fatalf("%q: %+v", args, got)
		}
		return strings.TrimSpace(got.out)
	}
	wrong := detach(append([]string{"req", "choria_provision", "restart", "token=wrong", "--batch", "3", "--canary", "0", "--no-verify"}, f.all()...)...)
	if got := f.run("runs", "wait", wrong); got.code != 3 {
		t.Errorf("a refused run: %+v, want 3", got)
	}
	first := detach(append([]string{"req", "choria_provision", "restart", "splay=1", "--batch", "1", "--canary", "0", "--batch-sleep", "10m"}, f.all()...)...)
	if got := f.run("runs", "stop", first); got.code != 0 {
		t.Errorf("stop: %+v", got)
	}
	if got := f.run("runs", "wait", first); got.code != 130 || !strings.Contains(got.stderr, "runs resume "+first) {
		t.Errorf("a stopped run: %+v, want 130", got)
	}
	if again := detach("runs", "resume", first, "--batch-sleep", "0"); again != first {
		t.Errorf("resumed as %s, want %s", again, first)
	}
	if got := f.run("runs", "wait", first); got.code != 0 {
		t.Errorf("the resumed run: %+v, want 0", got)
	}
	if log := f.read(filepath.Join(f.dir, "state", "runs", first+".2.log")); !strings.Contains(log, "verified of 3 nodes") {
		t.Errorf("the output of the resume is\n%s", log)
	}
	if got := f.run("runs", "resume", first, "--detach"); got.code != 0 || !strings.Contains(got.stderr, "is finished: nothing is left to resume") {
		t.Errorf("a resume of a finished run: %+v", got)
	}
	retried := detach("runs", "retry", wrong, "--failed", "token=s3cret", "-o", "result.json", "--json")
	if got := f.run("runs", "wait", retried); got.code != 0 {
		t.Errorf("the retry: %+v, want 0", got)
	}
	if text := f.read(filepath.Join(f.dir, "result.json")); !strings.Contains(text, fmt.Sprintf("%q", retried)) {
		t.Errorf("its result is %s", text)
	}
	if got := f.dangerous(); got != 9 {
		t.Errorf("%d requests, want 9", got)
	}
}

// TestASavedPlanIsAppliedInTheBackground, once: the run has the id of the plan.
func TestASavedPlanIsAppliedInTheBackground(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 2, Protocol: 2})
	save := append([]string{"req", "choria_provision", "restart", "splay=1", "--batch", "1", "--canary", "0", "--batch-sleep", "0", "--save-plan", "restart.plan"}, f.all()...)
	if got := f.run(save...); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	applied := f.run("apply", "restart.plan", "--detach")
	id := strings.TrimSpace(applied.out)
	if applied.code != 0 || !strings.Contains(f.read(filepath.Join(f.dir, "restart.plan")), fmt.Sprintf("%q", id)) {
		t.Fatalf("%+v", applied)
	}
	if got := f.run("apply", "restart.plan", "--detach"); got.code != 7 || !strings.Contains(got.stderr, "it was applied already, as run "+id) {
		t.Errorf("applied again: %+v", got)
	}
	if got := f.run("runs", "wait", id); got.code != 0 || !strings.Contains(got.out, "Done: 2 verified of 2 nodes") {
		t.Errorf("wait: %+v", got)
	}
	if got := f.restarts(); got != 2 {
		t.Errorf("%d restarts, want 2", got)
	}
}

// TestABackgroundRunIsPausedWhileAGateWaits: the pause of the operator is another one than that of the gate.
func TestABackgroundRunIsPausedWhileAGateWaits(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 2, Protocol: 2})
	open := filepath.Join(t.TempDir(), "open")
	begun := f.run(append([]string{"req", "rpcutil", "ping", "--batch", "1", "--batch-sleep", "0", "--gate", "test -f " + open + " || exit 75", "--gate-every", "1s", "--detach"}, f.all()...)...)
	id := strings.TrimSpace(begun.out)
	if begun.code != 0 || runID.FindString(id) != id {
		t.Fatalf("%+v", begun)
	}
	for range 2 {
		for _, tt := range []struct{ command, state string }{{"pause", "paused"}, {"continue", ""}} {
			if got := f.run("runs", tt.command, id); got.code != 0 {
				t.Fatalf("runs %s: %+v", tt.command, got)
			}
			if list := f.run("runs", "list", "--json"); tt.state != "" && !strings.Contains(list.out, `"status": "`+tt.state+`"`) || tt.state == "" && strings.Contains(list.out, `"status": "paused"`) {
				t.Errorf("after runs %s: %s", tt.command, list.out)
			}
		}
	}
	if err := os.WriteFile(open, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if waited := f.run("runs", "wait", id); waited.code != 0 {
		t.Errorf("wait: %+v", waited)
	}
	if log := f.read(filepath.Join(f.dir, "state", "runs", id+".log")); !strings.Contains(log, "continued by ") {
		t.Errorf("its output is\n%s", log)
	}
}
