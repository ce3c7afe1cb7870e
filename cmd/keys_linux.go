package cmd

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fleetctl/batch"
)

// keys reads single keys at the run's own terminal: space or p pauses and continues. Keys are read only while this
// process is in the terminal's foreground, and not while a question is asked. The terminal's mode is restored when the
// process stops, ends, or asks a question.
type keys struct {
	tty   *os.File
	by    string
	out   chan batch.Control
	done  chan struct{}
	wait  sync.WaitGroup
	saved *unix.Termios

	mu     sync.Mutex // guards what follows, and the terminal's mode
	single bool       // keys come one by one, without an echo
	held   int        // how many want the terminal as it was: a question, a stop, the end
}

// keyPace is how often the terminal is read.
const keyPace = 100 * time.Millisecond

// readsKeys reports whether keys are read where there is a terminal.
func readsKeys(a *app) bool { return isTerminal(a.io.err) && !a.flags.noProgress }

// readKeys starts reading. It returns nil when stderr is not a terminal or no terminal can be opened.
func readKeys(a *app) *keys {
	if !readsKeys(a) {
		return nil
	}
	tty, err := os.OpenFile(terminalName, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	saved, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		tty.Close()
		return nil
	}
	k := &keys{tty: tty, by: a.env.user(), out: make(chan batch.Control, 8), done: make(chan struct{}), saved: saved}
	hold := k.hold
	a.holdKeys.Store(&hold)
	a.stopNeatly() // the shell must find the terminal as it was
	k.wait.Go(k.read)
	return k
}

// control delivers what was typed.
func (k *keys) control() <-chan batch.Control {
	if k == nil {
		return nil
	}
	return k.out
}

// close stops reading and puts the terminal back.
func (k *keys) close() {
	if k == nil {
		return
	}
	close(k.done)
	k.wait.Wait()
	k.hold()
	k.tty.Close()
}

// hold puts the terminal back, and no keys are read until release is called.
func (k *keys) hold() (release func()) {
	if k == nil {
		return func() {}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held++
	k.restore()
	return sync.OnceFunc(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.held--
	})
}

// restore puts the terminal back. The caller holds k.mu.
func (k *keys) restore() {
	if k.single {
		_ = unix.IoctlSetTermios(int(k.tty.Fd()), unix.TCSETS, k.saved) // it was a terminal a moment ago
		k.single = false
	}
}

// ready makes keys come one by one, where this process may read them now.
func (k *keys) ready() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	fd := int(k.tty.Fd())
	if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); k.held > 0 || err != nil || group != unix.Getpgrp() {
		return false
	}
	if !k.single {
		mode := *k.saved
		mode.Lflag &^= unix.ICANON | unix.ECHO // signals stay: Ctrl-C is one
		mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 0, 0
		if unix.IoctlSetTermios(fd, unix.TCSETS, &mode) != nil {
			return false
		}
		k.single = true
	}
	return true
}

func (k *keys) read() {
	ticker := time.NewTicker(keyPace)
	defer ticker.Stop()
	for {
		select {
		case <-k.done:
			return
		case <-ticker.C:
			if k.ready() {
				k.take()
			}
		}
	}
}

// take reads the keys that were typed. VMIN 0 makes it return at once.
func (k *keys) take() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.single {
		return
	}
	var buf [64]byte
	n, err := unix.Read(int(k.tty.Fd()), buf[:])
	if err != nil {
		return
	}
	for _, key := range buf[:max(n, 0)] {
		if key != ' ' && key != 'p' && key != 'P' {
			continue
		}
		select {
		case k.out <- batch.Control{Time: time.Now(), Toggle: true, By: k.by}:
		default: // eight pauses at once were not typed on purpose
		}
	}
}
