//go:build unix

package hook

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

const shell = "/bin/sh"

// OwnGroup puts a command that has not started into a process group of its own: the end of its context kills the command
// together with its children, and signals of our terminal do not reach it.
func OwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
