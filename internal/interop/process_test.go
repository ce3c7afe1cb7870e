//go:build unix

package interop

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a broker or a server that runs until the test ends.
type process struct {
	name string
	dir  string
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended; cmd.ProcessState is readable then
}

// startProcess runs the command in dir, its output going to out.log there, and ends it with the test.
func startProcess(t *testing.T, name, dir string, command ...string) *process {
	t.Helper()
	out, err := os.OpenFile(filepath.Join(dir, "out.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = environment(dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at the terminal is ours to handle
	err = cmd.Start()
	out.Close()
	if err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	p := &process{name: name, dir: dir, cmd: cmd, gone: make(chan struct{})}
	go func() {
		defer close(p.gone)
		_ = cmd.Wait() // the exit code is read from ProcessState
	}()
	t.Cleanup(func() { p.end(t) })
	return p
}

// end terminates the process, asking first.
func (p *process) end(t *testing.T) {
	t.Helper()
	for _, s := range []syscall.Signal{syscall.SIGCONT, syscall.SIGTERM} {
		_ = p.cmd.Process.Signal(s) // it may have ended already
	}
	select {
	case <-p.gone:
	case <-time.After(10 * time.Second):
		t.Logf("%s does not end by itself", p.name)
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %s: %v", p.name, err)
	}
}

// environment is all that a process sees: nothing of the caller's configuration.
func environment(home string, extra ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "USER=admin",
		"XDG_STATE_HOME=" + filepath.Join(home, "state"), "XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
		"XDG_CACHE_HOME=" + filepath.Join(home, "cache"), "LC_ALL=C", "TZ=UTC",
	}, extra...)
}

// result is what a command left behind.
type result struct {
	Stdout, Stderr string
	Code           int
}

// commandLimit is more than any command needs.
const commandLimit = 2 * time.Minute

// run runs a command to its end, without stdin. One that does not end is a failure.
func run(t *testing.T, dir string, env []string, command ...string) result {
	t.Helper()
	res, err := execute(t.Context(), dir, env, command...)
	if err != nil {
		t.Fatalf("run %s: %v\n%s%s", strings.Join(command, " "), err, res.Stdout, res.Stderr)
	}
	return res
}

// execute is run for goroutines other than the test's. A code other than 0 is not an error.
func execute(ctx context.Context, dir string, env []string, command ...string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	res := result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	if ctx.Err() != nil {
		return res, context.Cause(ctx)
	}
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		err = nil
	}
	return res, err
}

// await polls until done returns true, and fails the test when that takes longer than limit.
func await(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for !done() {
		select {
		case <-end:
			t.Fatalf("%s: not within %v", what, limit)
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, context.Cause(t.Context()))
		case <-tick.C:
		}
	}
}

// choriaBinary finds the real thing, or skips the test.
func choriaBinary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("interop: skipped by -short")
	}
	name := os.Getenv("CHORIA")
	if name == "" {
		name = "choria"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("interop: skipped, there is no choria binary on the PATH and none is named in CHORIA")
	}
	path, err = filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var binaries struct {
	sync.Once
	dir string
	err error
}

// fleetctlBinary builds the program once for all tests; the variable FLEETCTL names one that is to be tested instead.
func fleetctlBinary(t *testing.T) string {
	t.Helper()
	if name := os.Getenv("FLEETCTL"); name != "" {
		return name
	}
	binaries.Do(func() {
		if binaries.dir, binaries.err = os.MkdirTemp("", "fleetctl-interop"); binaries.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", filepath.Join(binaries.dir, "fleetctl"), ".")
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			binaries.err = errors.New(err.Error() + "\n" + string(out))
		}
	})
	if binaries.err != nil {
		t.Fatalf("build fleetctl: %v", binaries.err)
	}
	return filepath.Join(binaries.dir, "fleetctl")
}

// fleetctl runs our program without any configuration.
func fleetctl(t *testing.T, args ...string) result {
	t.Helper()
	home := t.TempDir()
	return run(t, home, environment(home), append([]string{fleetctlBinary(t)}, args...)...)
}

func TestMain(m *testing.M) {
	m.Run()
	if binaries.dir != "" {
		os.RemoveAll(binaries.dir)
	}
}
