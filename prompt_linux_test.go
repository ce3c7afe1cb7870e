package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"fleetctl/internal/lab"
)

// terminal is a pseudo-terminal: what the program writes can be waited for, what a person types can be written.
type terminal struct {
	t           *testing.T
	master, tty *os.File
	ioctl       func(request uintptr, arg unsafe.Pointer) // of the master
	env         []string                                  // of programs at it, besides TERM
	ends        int                                       // marks that were written

	mu     sync.Mutex // guards screen and record
	screen bytes.Buffer
	record recording
	wrote  chan struct{}
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := master.SyscallConn() // not Fd, which would make Close wait for the reader
	if err != nil {
		t.Fatal(err)
	}
	ioctl := func(request uintptr, arg unsafe.Pointer) {
		var errno syscall.Errno
		err := raw.Control(func(fd uintptr) { _, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg)) })
		if err != nil || errno != 0 {
			t.Fatal(err, errno)
		}
	}
	var unlock, number int32
	ioctl(syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(syscall.TIOCGPTN, unsafe.Pointer(&number))
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, master: master, tty: tty, ioctl: ioctl, record: recording{began: time.Now()}, wrote: make(chan struct{}, 1)}
	term.resize(24, 80)
	t.Cleanup(func() {
		tty.Close()
		master.Close()
	})
	go term.read()
	return term
}

// resize gives the terminal another size, which the kernel reports to the program with SIGWINCH.
func (term *terminal) resize(rows, columns uint16) {
	term.ioctl(syscall.TIOCSWINSZ, unsafe.Pointer(&[4]uint16{rows, columns}))
}

func (term *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := term.master.Read(buf)
		term.mu.Lock()
		term.screen.Write(buf[:n])
		term.record.pieces = append(term.record.pieces, piece{time.Since(term.record.began), string(buf[:n])})
		term.mu.Unlock()
		select {
		case term.wrote <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// endMark follows what a process that has ended wrote: the kernel may still have some of it.
const endMark = "\x00the process has ended\x00"

func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return strings.ReplaceAll(term.screen.String(), endMark, "")
}

// drain reads what a process that has ended wrote.
func (term *terminal) drain() {
	term.ends++
	if _, err := io.WriteString(term.tty, endMark); err != nil {
		return // the terminal was closed
	}
	for range term.wrote {
		term.mu.Lock()
		ends := strings.Count(term.screen.String(), endMark)
		term.mu.Unlock()
		if ends == term.ends {
			return
		}
	}
}

// recorded is what was written until now, piece by piece.
func (term *terminal) recorded() recording {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.record
}

// await waits until the program has written the words behind what was awaited before, and returns where they end; false when
// it ended without them. The program ends at the latest when a test's patience does.
func (term *terminal) await(words string, from int, ended <-chan struct{}) (end int, ok bool) {
	term.t.Helper()
	for {
		if at := strings.Index(term.text()[from:], words); at >= 0 {
			return from + at + len(words), true
		}
		select {
		case <-term.wrote:
		case <-ended:
			term.drain()
			if at := strings.Index(term.text()[from:], words); at >= 0 {
				return from + at + len(words), true
			}
			term.t.Errorf("%q never came: %s", words, term.text())
			return from, false
		}
	}
}

// step is words of the program that are waited for, what is done then, and the keys that are pressed after that.
type step struct {
	await string
	do    func() // may be nil
	keys  string
}

// talk runs fleetctl at the terminal, waits for each question and types its answer.
func (f *fleet) talk(term *terminal, dialogue [][2]string, args ...string) result {
	f.t.Helper()
	steps := make([]step, len(dialogue))
	for i, d := range dialogue {
		steps[i] = step{await: d[0], keys: d[1]}
	}
	return f.walk(term, steps, args...)
}

// walk runs fleetctl at the terminal, and takes the steps as the program writes their words.
func (f *fleet) walk(term *terminal, steps []step, args ...string) result {
	f.t.Helper()
	return f.walkAs(f.command(patient(f.t), args...), term, steps)
}

// walkAs walks through a command that is not started yet. It leads a session of its own.
func (f *fleet) walkAs(c *exec.Cmd, term *terminal, steps []step) result {
	f.t.Helper()
	var out bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = term.tty, &out, term.tty
	c.Env = append(append(c.Env, "TERM=xterm"), term.env...) // it knows how to redraw lines, wherever the tests run
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		f.t.Fatal(err)
	}
	var err error
	ended := make(chan struct{})
	go func() {
		err = c.Wait()
		close(ended)
	}()
	at := 0
	for _, s := range steps {
		var ok bool
		if at, ok = term.await(s.await, at, ended); !ok {
			break
		}
		if s.do != nil {
			s.do()
		}
		if _, err := io.WriteString(term.master, s.keys); err != nil {
			f.t.Fatal(err)
		}
	}
	<-ended
	term.drain()
	return result{exitCode(f.t, err), out.String(), term.text()}
}

// TestPromptsAskBeforeAnythingIsSent answers the prompts of a terminal in every way.
func TestPromptsAskBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 3, Protocol: 2})
	restart := append([]string{"req", "choria_provision", "restart", "splay=1", "--no-verify"}, f.all()...)
	unnamed := []string{"req", "choria_provision", "restart", "splay=1", "--no-verify", "--discovery-timeout", "1"}
	shutdown := append([]string{"req", "choria_provision", "shutdown", "--no-verify"}, f.all()...)
	tests := []struct {
		name     string
		dialogue [][2]string
		args     []string
		code     int
		sent     bool
	}{
		{"no answer is a no", [][2]string{{"[y/N]", "\n"}}, restart, 7, false},
		{"n", [][2]string{{"[y/N]", "n\n"}}, restart, 7, false},
		{"another word", [][2]string{{"[y/N]", "yess\n"}}, restart, 7, false},
		{"end of input", [][2]string{{"[y/N]", "\x04"}}, restart, 7, false},
		{"Ctrl-C", [][2]string{{"[y/N]", "\x03"}}, restart, 130, false},
		{"no questions wanted", nil, append(append([]string{}, restart...), "--no-input"), 7, false},
		{"the wrong number", [][2]string{{"Type the number of nodes", "2\n"}}, shutdown, 7, false},
		{"y is no number", [][2]string{{"Type the number of nodes", "y\n"}}, shutdown, 7, false},
		{"y and Enter from before the question", [][2]string{{"Discovering nodes", "y\n"}, {"[y/N]", "\n"}}, unnamed, 7, false},
		{"y", [][2]string{{"[y/N]", "y\n"}}, restart, 0, true},
		{"the number", [][2]string{{"Type the number of nodes", "3\n"}}, shutdown, 0, true},
	}
	for i, tt := range tests {
		before, nodes := f.dangerous(), f.lab.Nodes()
		r := f.talk(newTerminal(t), tt.dialogue, tt.args...)
		if r.code != tt.code {
			t.Errorf("%s: exit code %d, want %d: %s", tt.name, r.code, tt.code, r.stderr)
		}
		if asked := len(tt.dialogue) > 0; asked && !tt.sent && !strings.Contains(r.stderr, "nothing was sent") {
			t.Errorf("%s: it does not say that nothing was sent: %s", tt.name, r.stderr)
		}
		if got := f.dangerous() - before; got != map[bool]int{false: 0, true: 3}[tt.sent] {
			t.Errorf("%s: %d nodes got a request", tt.name, got)
		}
		if tt.sent && i+1 < len(tests) {
			f.settle(nodes)
		}
	}
}

// TestAKeyPausesAndContinues presses the key at the run's own terminal, and continues the run from elsewhere between: the key
// does whichever of both changes something.
func TestAKeyPausesAndContinues(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 3, Protocol: 2})
	elsewhere := result{code: -1}
	steps := []step{
		{await: "run 2", keys: " "},
		{await: "paused by operator", do: func() { elsewhere = f.run("runs", "continue", "last") }},
		{await: "continued by operator", keys: "p"},
		{await: "paused by operator", keys: " "},
		{await: "continued by operator", keys: "\x03"},
	}
	r := f.walk(newTerminal(t), steps, append([]string{"req", "rpcutil", "ping", "--journal", "--batch", "1", "--batch-sleep", "5"}, f.all()...)...)
	if elsewhere.code != 0 {
		t.Errorf("runs continue ends with %d: %s", elsewhere.code, elsewhere.stderr)
	}
	if r.code != 130 {
		t.Errorf("exit code %d, want 130: %s", r.code, r.stderr)
	}
}

// TestConfirmEachStopsBetweenBatches says yes to the first question and no to the second.
func TestConfirmEachStopsBetweenBatches(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 3, Protocol: 2})
	steps := [][2]string{
		{"3 nodes? [y/N]", "y\n"}, {"Send batch 2 to 1 node (2 left)? [y/N, d for details] ", "d\n"},
		{"the action succeeded on every node of batch 1\r\n", ""}, {"Send batch 2 to 1 node (2 left)? [y/N, d for details] ", "y\n"}, {"Send batch 3 to 1 node (1 left)? [y/N, d for details] ", "n\n"},
	}
	r := f.talk(newTerminal(t), steps,
		append([]string{"req", "choria_provision", "restart", "splay=1", "--batch", "1", "--batch-sleep", "0", "--confirm-each"}, f.all()...)...)
	if r.code != 5 || !strings.Contains(r.out, "2 verified, 1 not-sent of 3 nodes") {
		t.Errorf("exit code %d, want 5 with two nodes done: %s", r.code, r.out)
	}
	if got := f.restarts(); got != 2 {
		t.Errorf("%d nodes got a request, want 2", got)
	}
}

// TestATokenTypedAtTheTerminalIsNotEchoed types it.
func TestATokenTypedAtTheTerminalIsNotEchoed(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 2, Token: canarySecret})
	term := newTerminal(t)
	r := f.talk(term, [][2]string{{"token: ", canarySecret + "\n"}},
		append([]string{"req", "choria_provision", "restart", "token=-", "splay=1", "--yes", "--no-verify"}, f.all()...)...)
	if r.code != 0 {
		t.Errorf("exit code %d: %s", r.code, r.out)
	}
	noSecret(t, "terminal", []byte(r.stderr))
	r = f.talk(newTerminal(t), [][2]string{{"token: ", "\x03"}}, append([]string{"req", "choria_provision", "restart", "token=-"}, f.all()...)...)
	if r.code != 130 {
		t.Errorf("Ctrl-C at the question: exit code %d, want 130: %s", r.code, r.stderr)
	}
}

// dangerous counts the requests that restart or shut down.
func (f *fleet) dangerous() int {
	total := 0
	for _, n := range f.lab.Nodes() {
		total += f.lab.Received(n.Identity, "choria_provision", "restart") + f.lab.Received(n.Identity, "choria_provision", "shutdown")
	}
	return total
}

// settle waits until every node has acted: a request meanwhile would get no answer.
func (f *fleet) settle(before []lab.NodeInfo) {
	f.t.Helper()
	err := f.lab.AwaitFunc(patient(f.t), func() bool {
		for _, n := range before {
			now, _ := f.lab.Node(n.Identity)
			if now.State != lab.Down && (now.State != lab.Up || !now.Started.After(n.Started)) {
				return false
			}
		}
		return true
	})
	if err != nil {
		f.t.Fatal(err)
	}
}
