package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// outputFile is a result on its way to a file: it takes the file's place when it is complete, and leaves what was there
// alone otherwise.
type outputFile struct {
	*os.File
	path string
	mode os.FileMode // of the finished file; zero is 0644
}

// createOutput finds out early whether the file can be written: not after a fleet has been restarted.
func createOutput(path string) (*outputFile, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		return &outputFile{File: f}, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	return &outputFile{File: f, path: path}, nil
}

// commit puts the file in place, unless an error came before.
func (f *outputFile) commit(before error) error {
	err := errors.Join(before, f.Close())
	if f.path == "" {
		return err
	}
	if err == nil {
		err = os.Chmod(f.Name(), cmp.Or(f.mode, 0o644))
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
