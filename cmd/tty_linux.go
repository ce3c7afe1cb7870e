package cmd

import (
	"os"

	"golang.org/x/sys/unix"
)

// forgetTyped discards input that was typed before the question appeared: it is not an answer.
func forgetTyped(tty *os.File) { _ = unix.IoctlSetInt(int(tty.Fd()), unix.TCFLSH, unix.TCIFLUSH) }
