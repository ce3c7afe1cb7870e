//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package cmd

import (
	"os"

	"golang.org/x/sys/unix"
)

// forgetTyped throws away what was typed before a question appeared: it was no answer to it.
func forgetTyped(tty *os.File) { _ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCFLUSH, 1) } // 1 is FREAD
