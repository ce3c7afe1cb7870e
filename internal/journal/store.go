package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"
)

// Contents is what a journal held when it was read. Nothing is locked: a live
// run may have continued since.
type Contents struct {
	m       Machine
	f       content
	id      string
	size    int64
	torn    int64
	owner   Owner
	anchors []Owner
	copy    string
	entries int
	live    bool
}

// content is where the lines of a journal are read.
type content interface {
	io.ReaderAt
	io.Closer
}

// Read checks a journal whole and returns its contents, without taking it. A
// torn tail is not an error: a live run may be about to finish the line.
// ErrNotFound or a *CorruptError. The caller closes it.
func (m Machine) Read(dir, id string) (*Contents, error) {
	c, err := m.read(dir, id)
	if err != nil {
		return nil, fmt.Errorf("read journal %q: %w", id, err)
	}
	return c, nil
}

func (m Machine) read(dir, id string) (*Contents, error) {
	root, f, err := m.openFile(dir, id, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	live := isLocked(root, id, f) // before the size: what a process wrote before it ended is in a journal that is not live
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s := newScan(f, info.Size(), id)
	for range s.lines {
	}
	if s.err != nil {
		return nil, errors.Join(s.err, f.Close())
	}
	s.owner.owned(m, info)
	return &Contents{
		m: m, f: f, id: id, size: s.good, torn: info.Size() - s.good, owner: s.owner, anchors: s.anchors, copy: s.copied(m, info),
		entries: s.entries, live: live,
	}, nil
}

// Held reports whether a process holds the journal, without reading it. ErrNotFound.
func (m Machine) Held(dir, id string) (bool, error) {
	root, f, err := m.openFile(dir, id, os.O_RDONLY)
	if err != nil {
		return false, fmt.Errorf("look at journal %q: %w", id, err)
	}
	held := isLocked(root, id, f)
	return held, errors.Join(f.Close(), root.Close())
}

// Lines yields the records, oldest first. A line is valid until the next one.
func (c *Contents) Lines() iter.Seq2[[]byte, error] { return newScan(c.f, c.size, c.id).records() }

// Size is the length of the whole lines, in bytes: a journal only grows.
func (c *Contents) Size() int64 { return c.size }

// Torn is how many bytes at the end are not a whole line.
func (c *Contents) Torn() int64 { return c.torn }

// Owner is the process that holds the journal, or held it last. The PID means
// something on its Host only.
func (c *Contents) Owner() Owner { return c.owner }

// Copy reports whether the file may be an outdated copy, and why, as Journal.Copy does.
func (c *Contents) Copy() (bool, string) { return c.copy != "", c.copy }

// Empty reports whether there is no whole record: the run died before its plan
// was durable, and nothing was sent.
func (c *Contents) Empty() bool { return c.entries == 0 }

// Live reports whether a process held the journal when it was read.
func (c *Contents) Live() bool { return c.live }

// Close frees the file.
func (c *Contents) Close() error { return c.f.Close() }

// last returns a copy of the last record, nil when there is none.
func (c *Contents) last() ([]byte, error) {
	var last []byte
	for line, err := range c.Lines() {
		if err != nil {
			return nil, err
		}
		last = append(last[:0], line...)
	}
	return last, nil
}

// First returns a copy of a journal's first record without reading the rest, nil when there is none yet.
func (m Machine) First(dir, id string) ([]byte, error) {
	root, f, err := m.openFile(dir, id, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("read journal %q: %w", id, err)
	}
	defer root.Close()
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read journal %q: %w", id, err)
	}
	s := newScan(f, info.Size(), id)
	for line := range s.lines {
		return bytes.Clone(line), nil
	}
	if s.err != nil {
		return nil, fmt.Errorf("read journal %q: %w", id, s.err)
	}
	return nil, nil
}

// Info is what a listing knows of a run without reading its records.
type Info struct {
	ID       string
	Modified time.Time
	Size     int64 // bytes
	Live     bool  // a process holds it
	Ours     bool  // it belongs to the caller
	Empty    bool  // it has no record: nothing was sent. Large files are not looked into, and have some
}

// emptySize is the size up to which List looks whether there is a record: own lines are short, plans are not.
const emptySize = 64 << 10

// List names the runs in dir, the last written first, without locking any. A
// directory that does not exist holds none.
func (m Machine) List(dir string) ([]Info, error) {
	root, err := m.disk().OpenFolder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	defer root.Close()
	entries, err := root.ReadDir()
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var runs []Info
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || CheckID(id) != nil || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // pruned by another process meanwhile
		}
		f, err := root.OpenFile(e.Name(), os.O_RDONLY, 0)
		if err != nil {
			continue
		}
		_, _, uid := fileIdentity(info)
		runs = append(runs, Info{
			ID: id, Modified: info.ModTime(), Size: info.Size(), Live: isLocked(root, id, f), Ours: uid == m.UID, Empty: isEmpty(f, info.Size(), id),
		})
		f.Close()
	}
	slices.SortFunc(runs, func(a, b Info) int {
		return cmp.Or(b.Modified.Compare(a.Modified), cmp.Compare(b.ID, a.ID))
	})
	return runs, nil
}

func isEmpty(f file, size int64, id string) bool {
	if size > emptySize {
		return false
	}
	s := newScan(f, size, id)
	for range s.lines {
		return false
	}
	return s.err == nil
}

// Retention defines which runs Prune may delete: those last written more than
// MaxAge ago, beyond the newest Keep, that Finished reports as finished by their last record.
type Retention struct {
	MaxAge   time.Duration
	Keep     int
	Finished func(lastLine []byte) bool
}

// emptyAge is how long a run without a record is kept: its process died before it had a plan, and it can neither be resumed
// nor be looked up.
const emptyAge = 24 * time.Hour

// Prune deletes runs as r says, and those without a record after a day, and
// returns their ids. Live, unfinished and damaged runs and those of other
// users are never deleted.
func (m Machine) Prune(dir string, r Retention, now time.Time) ([]string, error) {
	runs, err := m.List(dir)
	if err != nil {
		return nil, err
	}
	var gone []string
	newer := 0 // runs with a record that were written later
	for _, run := range runs {
		age, oldest := now.Sub(run.Modified), r.MaxAge
		if run.Empty {
			oldest = emptyAge
		} else {
			newer++
		}
		if run.Live || !run.Ours || age <= oldest || !run.Empty && newer <= r.Keep {
			continue
		}
		if deleted, err := m.pruneOne(dir, run.ID, r.Finished); err != nil {
			return gone, fmt.Errorf("delete journal %q: %w", run.ID, err)
		} else if deleted {
			gone = append(gone, run.ID)
		}
	}
	return gone, nil
}

// pruneOne deletes a finished or empty run while it holds it, so that no other
// process resumes it meanwhile.
func (m Machine) pruneOne(dir, id string, finished func([]byte) bool) (bool, error) {
	c, err := m.read(dir, id)
	if err != nil {
		return false, nil // damaged, or gone: not ours to judge
	}
	defer c.Close()
	last, err := c.last()
	if err != nil || !c.Empty() && (c.torn > 0 || !finished(last)) {
		return false, nil
	}
	root, f, err := m.openFile(dir, id, os.O_RDWR)
	if err != nil {
		return false, err
	}
	defer root.Close()
	defer f.Close()
	lock, err := lockFile(root, id, f)
	if errors.Is(err, ErrBusy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if info, err := f.Stat(); err != nil || info.Size() != c.size+c.torn {
		return false, err
	}
	return true, errors.Join(root.Remove(id+suffix), root.Sync())
}
