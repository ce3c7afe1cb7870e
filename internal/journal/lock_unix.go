//go:build unix && !solaris && !illumos && !aix

package journal

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// lockFile takes the file for this process. The kernel frees it when the process
// ends, however it ends. A reader that checks the lock holds it for a
// moment, so that a refusal is tried again.
func lockFile(_ folder, _ string, f file) (io.Closer, error) {
	for range 5 {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return unlocker{f}, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, os.NewSyscallError("flock", err)
		}
		<-time.After(10 * time.Millisecond)
	}
	return nil, ErrBusy
}

type unlocker struct{ f file }

func (u unlocker) Close() error { return syscall.Flock(int(u.f.Fd()), syscall.LOCK_UN) }

// isLocked looks whether a process holds the file.
func isLocked(_ folder, _ string, f file) bool {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		return errors.Is(err, syscall.EWOULDBLOCK)
	}
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	return false
}

// ignoreUnsupported drops the error of file systems that cannot sync a directory.
func ignoreUnsupported(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
