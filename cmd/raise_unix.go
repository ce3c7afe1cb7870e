//go:build unix

package cmd

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// raise sends the signal to this process, which ends it.
func raise(s os.Signal) {
	if number, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(os.Getpid(), number)
	}
}

// stopTime is how long a stop may take to begin.
const stopTime = time.Second

// onSuspend calls prepare when Ctrl-Z is to stop this process; prepare calls stop, which returns when the process
// continues. Where no shell could continue it, below ssh or as a container's first process, Ctrl-Z does nothing, as the
// system has it for programs that do not catch the signal.
func onSuspend(prepare func(stop func())) {
	stops, continued := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(stops, syscall.SIGTSTP)
	go func() { // for as long as the process lives
		for range stops {
			if session, err := unix.Getsid(0); err != nil || session == unix.Getpgrp() {
				continue
			}
			prepare(func() {
				signal.Notify(continued, syscall.SIGCONT)
				defer signal.Stop(continued)
				_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
				select { // another thread may get the signal, and this one runs for a moment longer
				case <-continued:
				case <-time.After(stopTime):
				}
			})
		}
	}()
}

// inForeground reports whether this process may draw at a terminal: a shell that has put it in the background uses it now.
func inForeground(tty *os.File) bool {
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp() // another session's terminal has no group of ours
}
