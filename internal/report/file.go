package report

import (
	"cmp"
	"errors"
	"os"

	"fleetctl/internal/atomicfile"
)

// File is a result that is being written. A regular file replaces its target when it is complete; until then, and after an
// error, the target is unchanged. A device or a pipe is written to directly.
type File struct {
	*os.File
	pending *atomicfile.File // nil for a device or a pipe
	Mode    os.FileMode      // of the finished file; zero is 0644
}

// CreateFile fails when the file cannot be written: before a fleet is restarted, not after.
func CreateFile(path string) (*File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		return &File{File: f}, err
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	return &File{File: f.File, pending: f}, nil
}

// kept reports whether the file is one that stays, not a device or a pipe.
func (f *File) kept() bool { return f.pending != nil }

// Commit puts the file in place, unless an error came before.
func (f *File) Commit(before error) error {
	switch {
	case f.pending == nil:
		return errors.Join(before, f.Close())
	case before != nil:
		f.pending.Drop()
		return before
	}
	return f.pending.Commit(cmp.Or(f.Mode, 0o644))
}
