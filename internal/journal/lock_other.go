//go:build !unix || solaris || illumos || aix

package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

const lockSuffix = ".lock"

// lockFile takes the run by a second file, where the system has no flock. The
// file stays when a process is killed. It must then be deleted by hand; until then
// ErrBusy is returned.
func lockFile(root folder, id string, _ file) (io.Closer, error) {
	f, err := root.OpenFile(id+lockSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrBusy
	}
	if err != nil {
		return nil, err
	}
	return unlocker{root, f, id}, nil
}

// unlocker needs the folder to stay open.
type unlocker struct {
	root folder
	f    file
	id   string
}

func (u unlocker) Close() error { return errors.Join(u.f.Close(), u.root.Remove(u.id+lockSuffix)) }

func isLocked(root folder, id string, _ file) bool {
	_, err := root.Stat(id + lockSuffix)
	return err == nil
}

// ignoreUnsupported: directories cannot be synced here.
func ignoreUnsupported(error) error { return nil }
