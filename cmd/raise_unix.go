//go:build unix

package cmd

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// raise sends the signal to this process, which ends it.
func raise(s os.Signal) {
	if number, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(os.Getpid(), number)
	}
}

// onSuspend calls prepare when the terminal stops this process; prepare calls stop, which returns when the process
// continues.
func onSuspend(prepare func(stop func())) {
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, syscall.SIGTSTP)
	go func() { // for as long as the process lives
		for range stops {
			prepare(func() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) })
		}
	}()
}

// inForeground reports whether this process may draw at a terminal: a shell that has put it in the background uses it now.
func inForeground(tty *os.File) bool {
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp() // another session's terminal has no group of ours
}
