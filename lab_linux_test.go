package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// A lab that is killed takes its command with it, and the next lab removes what it has left.
func TestAKilledLabLeavesNothingForLong(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temporary, ctx := t.TempDir(), patient(t)
	start := func(args ...string) (*exec.Cmd, *bufio.Scanner) {
		c := exec.CommandContext(ctx, self)
		c.Args = append([]string{"fleetctl", "lab", "--nodes", "1", "--streams", "--"}, args...)
		c.Env = append(os.Environ(), "TMPDIR="+temporary, "HOME="+temporary, "USER=operator")
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { context.AfterFunc(ctx, func() { out.Close() }) })
		return c, bufio.NewScanner(out)
	}
	folders := func() int {
		found, err := filepath.Glob(filepath.Join(temporary, "fleetctl-lab-*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	first, lines := start("sh", "-c", "echo ready; while :; do sleep 0.05; done")
	if !lines.Scan() || folders() != 2 {
		t.Fatalf("%q, %d folders", lines.Text(), folders())
	}
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // ends with the last process that has the pipe
	}
	_ = first.Wait() // killed
	if n := folders(); n != 2 {
		t.Errorf("%d folders are left by a lab that was killed, which a second one is to remove", n)
	}
	second, lines := start("true")
	for lines.Scan() {
	}
	if err := second.Wait(); err != nil || folders() != 0 {
		t.Errorf("%v, %d folders", err, folders())
	}
}
