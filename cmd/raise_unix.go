//go:build unix

package cmd

import (
	"os"
	"syscall"
)

// raise sends the signal to this process, which ends it.
func raise(s os.Signal) {
	if number, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(os.Getpid(), number)
	}
}
