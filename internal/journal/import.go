package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// importing is the end of the name of a journal that is being imported.
const importing = ".import"

// Raw returns the bytes of the file from an offset to the end of what is durable.
func (j *Journal) Raw(from int64) ([]byte, error) {
	raw := make([]byte, max(j.size-from, 0))
	if len(raw) == 0 {
		return nil, nil
	}
	if _, err := j.f.ReadAt(raw, from); err != nil {
		return nil, fmt.Errorf("read journal %q: %w", j.id, err)
	}
	return raw, nil
}

// Raw returns the first bytes of the file, n at most.
func (c *Contents) Raw(n int64) ([]byte, error) {
	raw := make([]byte, min(max(n, 0), c.size))
	if len(raw) == 0 {
		return nil, nil
	}
	if _, err := c.f.ReadAt(raw, 0); err != nil {
		return nil, fmt.Errorf("read journal %q: %w", c.id, err)
	}
	return raw, nil
}

// bytesContent is a journal in memory.
type bytesContent struct{ *bytes.Reader }

// Close implements io.Closer.
func (bytesContent) Close() error { return nil }

// Parse reads the bytes of a journal that were kept elsewhere, as Read reads a file. why is why they may lack lines. The
// bytes must not change. The error is a *CorruptError.
func (m Machine) Parse(id string, data []byte, why string) (*Contents, error) {
	r := bytes.NewReader(data)
	s := newScan(r, int64(len(data)), id)
	for range s.lines {
	}
	if s.err != nil {
		return nil, fmt.Errorf("read journal %q: %w", id, s.err)
	}
	s.owner.UID = -1
	return &Contents{
		m: m, f: bytesContent{r}, id: id, size: s.good, torn: int64(len(data)) - s.good, owner: s.owner, anchors: s.anchors, copy: why, entries: s.entries,
	}, nil
}

// Import makes a journal of the bytes of one that was kept elsewhere, with this process as its owner and a record behind them.
// Either all of that is durable in dir when it returns, or nothing is there. The journal is a copy from then on; why is the
// reason. ErrExists when the id is taken.
func (m Machine) Import(dir, id string, data, record []byte, why string) (*Journal, error) {
	j, err := m.imported(dir, id, data, record, why)
	if err != nil {
		return nil, fmt.Errorf("import journal %q: %w", id, err)
	}
	return j, nil
}

func (m Machine) imported(dir, id string, data, record []byte, why string) (*Journal, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if err := makeFolder(m.disk(), dir); err != nil {
		return nil, err
	}
	root, err := m.disk().OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	if err := root.Remove(id + importing); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a process that died
		return nil, errors.Join(err, root.Close())
	}
	f, err := root.OpenFile(id+importing, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, fileMode)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	j, err := m.fill(root, id, f, data, record, why)
	if err != nil {
		return nil, errors.Join(err, f.Close(), root.Remove(id+importing), root.Close())
	}
	return j, nil
}

// fill writes the file of an import, and gives it its name.
func (m Machine) fill(root folder, id string, f file, data, record []byte, why string) (*Journal, error) {
	lock, err := lockFile(root, id, f)
	if err != nil {
		return nil, err
	}
	j := &Journal{m: m, id: id, dir: root, f: f, lock: lock, copy: why}
	if err = j.write(data); err == nil {
		if err = j.adopt(); err == nil {
			err = j.Append(record)
		}
	}
	switch {
	case err != nil:
	case j.torn > 0:
		err = &CorruptError{Line: 0, Why: "the last line is not whole"}
	default:
		if _, serr := root.Stat(id + suffix); serr == nil {
			err = ErrExists
		} else if err = root.Rename(id+importing, id+suffix); err == nil {
			err = root.Sync()
		}
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return j, nil
}

// Discard closes a journal that was imported, and deletes it: nothing was sent on its account.
func (j *Journal) Discard() error {
	err := errors.Join(j.dir.Remove(j.id+suffix), j.dir.Sync())
	return errors.Join(err, j.Close())
}
