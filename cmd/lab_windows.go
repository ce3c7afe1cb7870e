//go:build !nolab

package cmd

import (
	"os"
	"os/exec"
)

const executableSuffix = ".exe"

// bindToLab does nothing: this system knows no process groups as they are meant here.
func bindToLab(*exec.Cmd) (release func()) { return func() {} }

// signalCommand signals the command. It may have ended just now.
func signalCommand(c *exec.Cmd, s os.Signal) { _ = c.Process.Signal(s) }
