//go:build unix && !solaris && !illumos && !aix

package lab

import (
	"io"
	"os"
	"syscall"
)

// hold takes a file for this process, which makes it where there is none. The kernel frees it when the process ends, however
// it ends.
func hold(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return f, nil
}
