// Package journal keeps the records of a run in one append-only file.
//
// It knows lines, their order and their durability; it does not know what they
// say. The file is named <id>.journal and holds one JSON object a line:
//
//	{"sum":"1a2b3c4d","rec":{...}}    a record, as it was appended
//	{"sum":"5e6f7a8b","own":{...}}    the process that holds the file from here on
//
// The first line is an own line, and names the format and the run. The sum is
// the CRC-32C of the line before's sum and of this line's content, so that a
// dropped, repeated, reordered or foreign line is found, not only a damaged one.
//
// Invariants:
//
//   - When Append returns nil its lines are on disk, as a group.
//   - One process at a time appends; the kernel frees the lock when it dies.
//   - A last line cut short by a crash was never acknowledged: it is dropped and
//     said ([Journal.Torn]). Anything else that does not fit is a
//     [CorruptError]: never a guess.
//   - Files have mode 0600 and stay inside their directory, whatever the id says.
package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"
)

const (
	suffix   = ".journal"
	format   = 1
	fileMode = 0o600
	dirMode  = 0o700
)

// ErrBusy: another process holds the journal.
var ErrBusy = errors.New("another process holds it")

// ErrExists: Create met a journal of that id.
var ErrExists = errors.New("it exists already")

// ErrNotFound: there is no journal of that id.
var ErrNotFound = errors.New("no such run")

// CorruptError says where a journal stops being what was written.
type CorruptError struct {
	Line int // of the file, from 1
	Why  string
}

// Error names the line.
func (e *CorruptError) Error() string { return fmt.Sprintf("line %d is damaged: %s", e.Line, e.Why) }

// Owner is a process that held the journal.
type Owner struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// Journal is one run's file, held by this process alone until Close. Not safe
// for concurrent use.
type Journal struct {
	id   string
	f    file
	lock io.Closer
	sum  string // of the last line
	size int64  // of what is durable
	torn int64
	last error // the first failed Append: nothing is appended after it
}

// file is what a journal needs of an *os.File; tests put failing ones in its place.
type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// CheckID refuses ids that are not plain file names: letters, digits, dots,
// dashes and underscores, not beginning with a dot.
func CheckID(id string) error {
	ok := id != "" && len(id) <= 100 && id[0] != '.'
	for _, c := range id {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	}
	if !ok {
		return fmt.Errorf("cannot use %q as a run id", id)
	}
	return nil
}

// Create makes the journal of a new run in dir, and dir itself when missing. It
// is durable when Create returns. ErrExists when the id is taken.
func Create(dir, id string) (*Journal, error) {
	j, err := create(dir, id, syncDir)
	if err != nil {
		return nil, fmt.Errorf("create journal %q: %w", id, err)
	}
	return j, nil
}

// create takes the way to make the directory's entries durable, so that a test sees that it is gone.
func create(dir, id string, syncDir func(*os.Root) error) (*Journal, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(id+suffix, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, fileMode)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrExists
	}
	if err != nil {
		return nil, err
	}
	j, err := start(root, id, f, syncDir)
	if err != nil {
		f.Close()
		return nil, errors.Join(err, root.Remove(id+suffix))
	}
	return j, nil
}

func start(root *os.Root, id string, f *os.File, syncDir func(*os.Root) error) (*Journal, error) {
	lock, err := lockFile(root, id, f)
	if err != nil {
		return nil, err
	}
	j := &Journal{id: id, f: f, lock: lock}
	if err := errors.Join(j.own(), syncDir(root)); err != nil {
		lock.Close()
		return nil, err
	}
	return j, nil
}

// Open takes over the journal of an earlier run: it is checked whole, a torn
// tail is cut off (Torn says how much), and this process becomes its owner.
// ErrNotFound, ErrBusy, or a *CorruptError.
func Open(dir, id string) (*Journal, error) {
	j, err := open(dir, id)
	if err != nil {
		return nil, fmt.Errorf("open journal %q: %w", id, err)
	}
	return j, nil
}

func open(dir, id string) (*Journal, error) {
	root, f, err := openFile(dir, id, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	lock, err := lockFile(root, id, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	j := &Journal{id: id, f: f, lock: lock}
	if err := j.adopt(f); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// adopt checks the file, cuts a torn tail and writes who holds it now.
func (j *Journal) adopt(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s := newScan(f, info.Size(), j.id)
	for range s.lines {
	}
	if s.err != nil {
		return s.err
	}
	j.sum, j.size, j.torn = s.sum, s.good, info.Size()-s.good
	if j.torn > 0 {
		if err := errors.Join(f.Truncate(j.size), f.Sync()); err != nil {
			return fmt.Errorf("cut off a torn line: %w", err)
		}
	}
	if s.noNewline {
		if err := j.write([]byte{'\n'}); err != nil {
			return fmt.Errorf("end the last line: %w", err)
		}
	}
	return j.own()
}

// Append adds lines, which hold no newline and are JSON objects. When it returns
// nil they are durable as a group. After an error the file ends with what was
// durable before, if the disk allows it, and every later Append fails: a disk
// that lost a write once is not trusted with the next.
func (j *Journal) Append(lines ...[]byte) error {
	if j.last != nil {
		return j.last
	}
	var group []byte
	sum := j.sum
	for _, line := range lines {
		if len(line) == 0 || line[0] != '{' || bytes.IndexByte(line, '\n') >= 0 {
			return fmt.Errorf("append to journal %q: a record is not one line of JSON", j.id)
		}
		group, sum = appendLine(group, sum, recordKey, line)
	}
	if err := j.write(group); err != nil {
		j.last = fmt.Errorf("append to journal %q: %w", j.id, err)
		return j.last
	}
	j.sum = sum
	return nil
}

// write makes bytes durable, or takes them back.
func (j *Journal) write(b []byte) error {
	_, err := j.f.Write(b)
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		if cut := j.f.Truncate(j.size); cut != nil {
			err = errors.Join(err, fmt.Errorf("take back a partial line: %w", cut))
		}
		return err
	}
	j.size += int64(len(b))
	return nil
}

// own appends who holds the journal from here on.
func (j *Journal) own() error {
	line, sum := appendLine(nil, j.sum, ownerKey, ownerLine(j.id))
	if err := j.write(line); err != nil {
		return err
	}
	j.sum = sum
	return nil
}

// Lines yields the records, oldest first. A line is valid until the next one.
func (j *Journal) Lines() iter.Seq2[[]byte, error] { return newScan(j.f, j.size, j.id).records() }

// Torn is how many bytes of a torn last line Open dropped.
func (j *Journal) Torn() int64 { return j.torn }

// ID returns the id of the run.
func (j *Journal) ID() string { return j.id }

// Close frees the journal.
func (j *Journal) Close() error { return errors.Join(j.lock.Close(), j.f.Close()) }

// openFile opens a journal inside dir.
func openFile(dir, id string, flag int) (*os.Root, *os.File, error) {
	if err := CheckID(id); err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(dir)
	if err == nil {
		var f *os.File
		if f, err = root.OpenFile(id+suffix, flag, 0); err == nil {
			return root, f, nil
		}
		root.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, ErrNotFound
	}
	return nil, nil, err
}

// syncDir makes the directory's entries durable.
func syncDir(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(ignoreUnsupported(d.Sync()), d.Close())
}
