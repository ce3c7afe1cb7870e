//go:build unix

package gate

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

const shell = "/bin/sh"

// ownGroup makes the end of the context kill the command together with its children, and keeps the signals of our
// terminal from it: a first Ctrl-C collects, and the gate is not the run.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
