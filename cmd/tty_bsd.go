//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package cmd

import (
	"os"

	"golang.org/x/sys/unix"
)

// forgetTyped discards input that was typed before the question appeared: it is not an answer.
func forgetTyped(tty *os.File) { _ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCFLUSH, 1) } // 1 is FREAD
