package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"
)

// Contents is what a journal held when it was read. Nothing is locked: a live
// run may have gone on since.
type Contents struct {
	f     *os.File
	id    string
	size  int64
	torn  int64
	owner Owner
	live  bool
}

// Read checks a journal whole and returns its contents, without taking it. A
// torn tail is not an error: a live run may be about to finish the line.
// ErrNotFound or a *CorruptError. The caller closes it.
func Read(dir, id string) (*Contents, error) {
	c, err := read(dir, id)
	if err != nil {
		return nil, fmt.Errorf("read journal %q: %w", id, err)
	}
	return c, nil
}

func read(dir, id string) (*Contents, error) {
	root, f, err := openFile(dir, id, os.O_RDONLY)
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
	return &Contents{f: f, id: id, size: s.good, torn: info.Size() - s.good, owner: s.owner, live: live}, nil
}

// Lines yields the records, oldest first. A line is valid until the next one.
func (c *Contents) Lines() iter.Seq2[[]byte, error] { return newScan(c.f, c.size, c.id).records() }

// Torn is how many bytes at the end are not a whole line.
func (c *Contents) Torn() int64 { return c.torn }

// Owner is the process that holds the journal, or held it last. The PID means
// something on its Host only.
func (c *Contents) Owner() Owner { return c.owner }

// Live reports whether a process held the journal when it was read.
func (c *Contents) Live() bool { return c.live }

// Close frees the file.
func (c *Contents) Close() error { return c.f.Close() }

// Last returns a copy of the last record, nil when there is none.
func (c *Contents) Last() ([]byte, error) {
	var last []byte
	for line, err := range c.Lines() {
		if err != nil {
			return nil, err
		}
		last = append(last[:0], line...)
	}
	return last, nil
}

// Info is what a listing knows of a run without reading its records.
type Info struct {
	ID       string
	Modified time.Time
	Size     int64 // bytes
	Live     bool  // a process holds it
}

// List names the runs in dir, the last written first, without locking any. A
// directory that does not exist holds none.
func List(dir string) ([]Info, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
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
		f, err := root.Open(e.Name())
		if err != nil {
			continue
		}
		runs = append(runs, Info{ID: id, Modified: info.ModTime(), Size: info.Size(), Live: isLocked(root, id, f)})
		f.Close()
	}
	slices.SortFunc(runs, func(a, b Info) int {
		return cmp.Or(b.Modified.Compare(a.Modified), cmp.Compare(b.ID, a.ID))
	})
	return runs, nil
}

// Retention says which runs Prune may delete: those last written more than
// MaxAge ago, beyond the newest Keep, whose last record is Finished.
type Retention struct {
	MaxAge   time.Duration
	Keep     int
	Finished func(lastLine []byte) bool
}

// Prune deletes runs as r says, and returns their ids. Live, unfinished and
// damaged runs are never deleted.
func Prune(dir string, r Retention, now time.Time) ([]string, error) {
	runs, err := List(dir)
	if err != nil {
		return nil, err
	}
	var gone []string
	for i, run := range runs {
		if i < r.Keep || run.Live || now.Sub(run.Modified) <= r.MaxAge {
			continue
		}
		if deleted, err := pruneOne(dir, run.ID, r.Finished); err != nil {
			return gone, fmt.Errorf("delete journal %q: %w", run.ID, err)
		} else if deleted {
			gone = append(gone, run.ID)
		}
	}
	return gone, nil
}

// pruneOne deletes a finished run while it holds it, so that nobody resumes it
// meanwhile.
func pruneOne(dir, id string, finished func([]byte) bool) (bool, error) {
	c, err := read(dir, id)
	if err != nil {
		return false, nil // damaged, or gone: not ours to judge
	}
	defer c.Close()
	last, err := c.Last()
	if err != nil || last == nil || c.torn > 0 || !finished(last) {
		return false, nil
	}
	root, f, err := openFile(dir, id, os.O_RDWR)
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
	if info, err := f.Stat(); err != nil || info.Size() != c.size {
		return false, err
	}
	return true, errors.Join(root.Remove(id+suffix), syncDir(root))
}
