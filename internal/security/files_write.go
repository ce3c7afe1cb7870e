package security

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// pending is a file that stands written and synced beside its place, and takes it when
// commit is called: whoever reads the place finds the old content or the new.
type pending struct{ temporary, path string }

// writePending writes data for this user alone.
func writePending(path string, data []byte) (*pending, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("write %q: %w", path, err)
	}
	p := &pending{temporary: f.Name(), path: path}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync())
	if err := errors.Join(err, f.Close()); err != nil {
		p.drop()
		return nil, fmt.Errorf("write %q: %w", path, err)
	}
	return p, nil
}

// commit puts the file in its place.
func (p *pending) commit() error {
	if err := os.Rename(p.temporary, p.path); err != nil {
		return fmt.Errorf("write %q: %w", p.path, err)
	}
	p.syncFolder()
	return nil
}

// commitNew puts the file in its place if nothing is there: a link never replaces. The error wraps fs.ErrExist when
// something is.
func (p *pending) commitNew() error {
	err := os.Link(p.temporary, p.path)
	if err == nil {
		p.drop()
		p.syncFolder()
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write %q: %w", p.path, fs.ErrExist)
	}
	// A file system without links: hold the place with an empty file, which a crash would leave.
	holder, err := os.OpenFile(p.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %q: %w", p.path, err)
	}
	_ = holder.Close() // nothing was written
	return p.commit()
}

func (p *pending) syncFolder() {
	if dir, err := os.Open(filepath.Dir(p.path)); err == nil {
		_ = dir.Sync() // not every file system can
		_ = dir.Close()
	}
}

// drop removes what was not committed; afterwards it does nothing.
func (p *pending) drop() { _ = os.Remove(p.temporary) }
