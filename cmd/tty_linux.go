package cmd

import (
	"os"

	"golang.org/x/sys/unix"
)

// forgetTyped throws away what was typed before a question appeared: it was no answer to it.
func forgetTyped(tty *os.File) { _ = unix.IoctlSetInt(int(tty.Fd()), unix.TCFLSH, unix.TCIFLUSH) }
