package lab

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// temporary begins the names of the folders of labs. One that is being made has a dot before it.
const temporary = "fleetctl-lab-"

// lockName is a file in each of them that its lab holds, so that another one can see whether it lives.
const lockName = ".lock"

// folder is a temporary folder of a lab. The zero value is none. A lab that is killed leaves it behind; the next one removes
// it.
type folder struct {
	path string
	lock io.Closer
}

// newFolder makes one, of mode 0700, and removes those that dead labs have left.
func newFolder(kind string) (f folder, err error) {
	sweep()
	made, err := os.MkdirTemp("", "."+temporary+kind)
	if err != nil {
		return f, err
	}
	if f.lock, err = hold(filepath.Join(made, lockName)); err != nil {
		return folder{}, errors.Join(err, os.RemoveAll(made))
	}
	f.path = filepath.Join(filepath.Dir(made), strings.TrimPrefix(filepath.Base(made), "."))
	if err := os.Rename(made, f.path); err != nil {
		return folder{}, errors.Join(err, f.lock.Close(), os.RemoveAll(made))
	}
	return f, nil
}

func (f folder) remove() error {
	if f.path == "" {
		return nil
	}
	return errors.Join(os.RemoveAll(f.path), f.lock.Close())
}

// sweep removes the folders of labs of ours that have died. It is tidying: what fails is left.
func sweep() {
	found, _ := filepath.Glob(filepath.Join(os.TempDir(), temporary+"*", lockName)) // the pattern is well-formed
	for _, path := range found {
		lock, err := hold(path)
		if err != nil {
			continue // it lives, or is another user's
		}
		_ = folder{filepath.Dir(path), lock}.remove()
	}
}
