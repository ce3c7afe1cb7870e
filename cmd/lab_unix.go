//go:build !windows && !nolab

package cmd

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

const executableSuffix = ""

// bindToLab prepares a command that has not started: without a terminal at which it could read or be interrupted it gets a
// process group of its own, and where the system can do that it is ended together with us. release is called after its end.
func bindToLab(c *exec.Cmd) (release func()) {
	c.SysProcAttr = &syscall.SysProcAttr{}
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err != nil {
		c.SysProcAttr.Setpgid = true
	} else {
		tty.Close()
	}
	endWithParent(c.SysProcAttr)
	runtime.LockOSThread() // the parent of a process is the thread that started it
	return runtime.UnlockOSThread
}

// signalCommand signals the command, and its children where they are its group. It may have ended just now.
func signalCommand(c *exec.Cmd, s os.Signal) {
	if number, ok := s.(syscall.Signal); ok && c.SysProcAttr.Setpgid {
		_ = syscall.Kill(-c.Process.Pid, number)
		return
	}
	_ = c.Process.Signal(s)
}
