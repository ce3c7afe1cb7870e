package main

import (
	"os/exec"
	"syscall"
	"testing"
	"unsafe"

	"fleetctl/internal/lab"
)

// mode is how the terminal treats keys.
func (term *terminal) mode() (m syscall.Termios) {
	term.ioctl(syscall.TCGETS, unsafe.Pointer(&m))
	return m
}

// pinged are the arguments of a run of three batches that has time to be paused.
func (f *fleet) pinged() []string {
	return append([]string{"req", "rpcutil", "ping", "--journal", "--batch", "1", "--batch-sleep", "5"}, f.all()...)
}

// TestCtrlZLeavesTheTerminalAsItWas stops a run that reads single keys, and continues it, in a shell.
func TestCtrlZLeavesTheTerminalAsItWas(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 3, Protocol: 2})
	term := newTerminal(t)
	before := term.mode()
	running := func() {
		if term.mode() == before {
			t.Error("the terminal's mode is that from before the run: no keys are read")
		}
	}
	stopped := func() {
		if now := term.mode(); now != before {
			t.Errorf("stopped, the terminal has the mode %+v, want %+v", now, before)
		}
	}
	steps := []step{
		{await: "run 2", keys: " "}, {await: "paused by operator", do: running, keys: "\x1a"}, {await: "the shell is back", do: stopped, keys: "\n"},
		{await: "the run continues", keys: " "}, {await: "continued by operator", keys: "\x03"},
	}
	c := f.command(patient(t), f.pinged()...)
	script := `set -m; "$@"; echo "the shell is back" >/dev/tty; read enter; echo "the run continues" >/dev/tty; fg >/dev/null`
	shell := exec.CommandContext(patient(t), "sh", append([]string{"-c", script, "sh"}, c.Args...)...)
	shell.Dir, shell.Env = c.Dir, c.Env
	if r := f.walkAs(shell, term, steps); r.code != 130 {
		t.Errorf("exit code %d, want 130: %s", r.code, r.stderr)
	}
}

// TestCtrlZWhereNoShellCouldContinueTheRun: the run leads its session, as it does below ssh and in a container. It is not
// stopped, and reads keys.
func TestCtrlZWhereNoShellCouldContinueTheRun(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 3, Protocol: 2})
	steps := []step{{await: "run 2", keys: " "}, {await: "paused by operator", keys: "\x1a "}, {await: "continued by operator", keys: "\x03"}}
	if r := f.walk(newTerminal(t), steps, f.pinged()...); r.code != 130 {
		t.Errorf("exit code %d, want 130: %s", r.code, r.stderr)
	}
}
