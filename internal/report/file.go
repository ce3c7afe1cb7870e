package report

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// File is a result on its way to a file: it takes the file's place when it is complete, and leaves what was there
// alone otherwise.
type File struct {
	*os.File
	path string
	Mode os.FileMode // of the finished file; zero is 0644
}

// CreateFile finds out early whether the file can be written: not after a fleet has been restarted.
func CreateFile(path string) (*File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		return &File{File: f}, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	return &File{File: f, path: path}, nil
}

// Kept tells that the file is one that stays, not a device or a pipe.
func (f *File) Kept() bool { return f.path != "" }

// Commit puts the file in place, unless an error came before.
func (f *File) Commit(before error) error {
	err := errors.Join(before, f.Close())
	if f.path == "" {
		return err
	}
	if err == nil {
		err = os.Chmod(f.Name(), cmp.Or(f.Mode, 0o644))
	}
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what went wrong before is what counts
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}
