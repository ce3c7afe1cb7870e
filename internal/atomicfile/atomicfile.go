// Package atomicfile writes files that readers see whole or not at all.
//
// It writes a temporary file beside the target and renames it. It does not know what it writes. Invariants: until Commit or
// CommitNew succeeds the target is unchanged; the content is on disk before it takes the target's place.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file that is being written beside its target. Before Commit only this user can read it.
type File struct {
	*os.File
	path string
}

// Create makes an empty file beside path. The caller writes to it and then calls Commit, CommitNew or Drop.
func Create(path string) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // its path is that of the file beside
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("folder %s: %w", filepath.Dir(path), err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write %q: %w", path, err)
	}
	return &File{f, path}, nil
}

// Write makes a file beside path with this content.
func Write(path string, data []byte) (*File, error) {
	f, err := Create(path)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(data); err != nil {
		f.Drop()
		return nil, fmt.Errorf("write %q: %w", path, err)
	}
	return f, nil
}

// Commit puts the file in the target's place, with this mode. After an error the target is as it was.
func (f *File) Commit(mode os.FileMode) error {
	err := f.finish(mode)
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	return f.end(err)
}

// CommitNew is Commit where the target does not exist. The error wraps fs.ErrExist when it does. A link never replaces.
func (f *File) CommitNew(mode os.FileMode) error {
	if err := f.finish(mode); err != nil {
		return f.end(err)
	}
	err := os.Link(f.Name(), f.path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return f.end(err)
	}
	// A file system without links: reserve the name with an empty file. A crash before the rename leaves it empty.
	reserved, err := os.OpenFile(f.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return f.end(err)
	}
	_ = reserved.Close() // nothing was written
	return f.Commit(mode)
}

// Drop removes what was not committed. After Commit it does nothing.
func (f *File) Drop() {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// finish sets the mode, writes the content to disk and closes the file. The second call does nothing.
func (f *File) finish(mode os.FileMode) error {
	err := errors.Join(f.Chmod(mode), f.Sync(), f.Close())
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// end removes the temporary file and makes the rename durable.
func (f *File) end(err error) error {
	_ = os.Remove(f.Name()) // it is gone after a rename
	if err != nil {
		return fmt.Errorf("write %q: %w", f.path, err)
	}
	if dir, err := os.Open(filepath.Dir(f.path)); err == nil {
		_ = dir.Sync() // not every file system can
		_ = dir.Close()
	}
	return nil
}
