//go:build unix

package cmd

import (
	"os"
	"syscall"
)

// raise has the signal, whose default is to end a process, end this one.
func raise(s os.Signal) {
	if number, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(os.Getpid(), number)
	}
}
