package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// linksFile is locked by LockLinks. It stays empty.
const linksFile = "links"

// LockLinks locks a folder of runs for a decision that depends on several of its journals. The lock excludes other callers
// of LockLinks only. It waits a second at most, then returns ErrBusy. The caller closes it; the kernel frees it when the
// process ends.
func (m Machine) LockLinks(dir string) (io.Closer, error) {
	if err := makeFolder(m.disk(), dir); err != nil { // the first run of this user may be an adopted one
		return nil, fmt.Errorf("lock the runs: %w", err)
	}
	root, err := m.disk().OpenFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("lock the runs: %w", err)
	}
	f, err := root.OpenFile(linksFile, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the runs: %w", err), root.Close())
	}
	var lock io.Closer
	for range 20 { // lockFile tries for 50 ms
		if lock, err = lockFile(root, linksFile, f); !errors.Is(err, ErrBusy) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the runs: %w", err), f.Close(), root.Close())
	}
	return closers{lock, f, root}, nil
}

// closers are closed in their order.
type closers []io.Closer

// Close closes all of them.
func (c closers) Close() error {
	var errs []error
	for _, one := range c {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}
