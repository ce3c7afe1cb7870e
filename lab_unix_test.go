//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Whatever signal ends a lab, its keys do not stay behind.
func TestSignalsEndTheLabAndRemoveItsKeys(t *testing.T) {
	t.Parallel()
	// Where these tests were started with hangups ignored, as by nohup, the programs would inherit that.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) })
	command := []string{"--", "sh", "-c", `trap 'exit 7' INT TERM HUP; echo ready; while :; do sleep 0.05; done`}
	parent := []string{"--", "sh", "-c", `sleep 1000 & echo ready; wait`} // its child keeps our pipe open, as long as it lives
	for _, tt := range []struct {
		name    string
		signal  syscall.Signal
		command []string
		code    int
	}{
		{"hangup", syscall.SIGHUP, nil, 129},
		{"terminate", syscall.SIGTERM, nil, 143},
		{"interrupt", syscall.SIGINT, nil, 0},
		{"hangup with a command", syscall.SIGHUP, command, 7},
		{"terminate with a command", syscall.SIGTERM, command, 7},
		{"interrupt with a command", syscall.SIGINT, command, 7},
		{"terminate with a child of a command", syscall.SIGTERM, parent, 143},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			temporary := t.TempDir()
			ctx := patient(t)
			c := exec.CommandContext(ctx, self)
			c.Args = append([]string{"fleetctl", "lab", "--nodes", "1"}, tt.command...)
			c.Env = append(os.Environ(), "TMPDIR="+temporary, "HOME="+temporary, "USER=operator")
			c.Stderr = os.Stderr
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as in CI: there is no terminal
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer context.AfterFunc(ctx, func() { out.Close() })() // the command may outlive a lab that was killed
			lines := bufio.NewScanner(out)
			for lines.Scan() && lines.Text() != "ready" && !strings.Contains(lines.Text(), "fleetctl req") {
			}
			if keys, err := filepath.Glob(filepath.Join(temporary, "*", "operator.key")); err != nil || len(keys) != 1 {
				t.Fatalf("keys while it runs: %v, %v, want one", keys, err)
			}
			if err := c.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			for lines.Scan() {
			}
			code := 0
			if exit, ok := errors.AsType[*exec.ExitError](c.Wait()); ok {
				code = exit.ExitCode()
			}
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			left, err := filepath.Glob(filepath.Join(temporary, "*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v, want nothing", left, err)
			}
		})
	}
}
