//go:build unix

package detached

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// orders is the document of the tests.
type orders struct {
	Secret string
	Out    string // a file for what the process does once it may begin
}

// TestMain is the process that is started, when it is asked to be.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "background" {
		os.Exit(m.Run())
	}
	var o orders
	s, err := Inherited(&o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(9)
	}
	if err := s.Ready(); err != nil {
		_ = os.WriteFile(o.Out, []byte("given up"), 0o600)
		s.Last("given up")
		os.Exit(0)
	}
	session, _, _ := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
	_, terminal := os.Open("/dev/tty")
	_ = os.WriteFile(o.Out, fmt.Appendf(nil, "leads its session %t, terminal %t, secret %s", int(session) == os.Getpid(), terminal == nil, o.Secret), 0o600)
	s.Last("began")
	s.Last("not twice")
}

// launch starts a process that writes what it does to a file.
func launch(t *testing.T, args ...string) (p *Process, did func() string) {
	t.Helper()
	p, did, err := tryLaunch(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return p, did
}

func tryLaunch(t *testing.T, args ...string) (p *Process, did func() string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	out := filepath.Join(dir, "out")
	p, err = Start(Options{Path: self, Args: append([]string{"x"}, args...), Env: []string{"A=b"}, Output: log, Document: orders{Secret: strings.Repeat("s3cret", 20_000), Out: out}})
	return p, func() string { text, _ := os.ReadFile(out); return string(text) }, err
}

func TestAProcessBeginsWhenItMay(t *testing.T) {
	p, did := launch(t, "background")
	var word string
	if last, err := p.Await(&word); last || err != nil {
		t.Fatal(last, err)
	}
	if text := did(); text != "" {
		t.Errorf("it began too early: %s", text)
	}
	for _, file := range []string{"cmdline", "environ"} {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID, file)); err == nil && strings.Contains(string(text), "s3cret") {
			t.Errorf("the secret is in %s", file)
		}
	}
	if err := p.Go(); err != nil {
		t.Fatal(err)
	}
	if last, err := p.Await(&word); !last || err != nil || word != "began" {
		t.Fatal(last, err, word)
	}
	if text := did(); !strings.HasPrefix(text, "leads its session true, terminal false, secret s3crets3cret") || len(text) < 120_000 {
		t.Errorf("it did %.60s", text)
	}
	if last, err := p.Await(&word); err == nil {
		t.Errorf("a message behind the last one: %t", last)
	}
	p.Release()
}

// A starter that is gone, or wants no more, before it said the word: nothing may begin.
func TestAProcessWhoseStarterIsGoneDoesNothing(t *testing.T) {
	p, did := launch(t, "background")
	var word string
	if last, err := p.Await(&word); last || err != nil {
		t.Fatal(last, err)
	}
	if err := p.to.Close(); err != nil { // as the end of the starter does
		t.Fatal(err)
	}
	if last, err := p.Await(&word); !last || err != nil || word != "given up" || did() != "given up" {
		t.Errorf("%t, %v, %q; it did %q", last, err, word, did())
	}
	p.Stop()
}

func TestAProcessThatDiesIsReported(t *testing.T) {
	p, _, err := tryLaunch(t, "-test.run=^$")
	if err == nil { // it took the document, and then ended
		var word string
		_, err = p.Await(&word)
		p.Stop()
	}
	if !errors.Is(err, errEnded) {
		t.Errorf("error %v, want %v", err, errEnded)
	}
}

func TestStopEndsAProcess(t *testing.T) {
	p, did := launch(t, "background")
	stopped := make(chan struct{})
	go func() {
		p.Stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(time.Minute):
		t.Fatal("it lives on")
	}
	if text := did(); strings.Contains(text, "session") {
		t.Errorf("it began: %.60s", text)
	}
}
