// Package journal keeps the records of a run in one append-only file.
//
// It knows lines, their order and their durability; it does not know their
// content. The file is named <id>.journal and holds one JSON object a line:
//
//	{"sum":"1a2b3c4d","rec":{...}}    a record, as it was appended
//	{"sum":"5e6f7a8b","own":{...}}    the process that appends from here on
//
// The first line is an "own" line. It also names the format and the run. The sum
// is the CRC-32C of two things: the sum of the line before, and the content of
// this line. So a line that was dropped, repeated, moved or taken from another
// file is found, not only a damaged one.
//
// Invariants:
//
//   - When Append returns nil its lines are on disk, as a group.
//   - One process at a time appends. It holds a lock, which the kernel frees when
//     the process dies.
//   - A last line cut short by a crash was never acknowledged: it is dropped
//     and reported ([Journal.Torn]). Any other damage is a [CorruptError].
//   - Files have mode 0600 and stay inside their directory, whatever the id is.
//     A file of another user is read, never written.
//
// An "own" line names host, boot, process, device and inode, and pairs the wall
// clock with the time since the boot. These show whether the file is a copy that
// may lack later lines ([Journal.Copy]), whether a process is still the one that
// wrote the line ([Owner.Signal]), and how much time has passed since ([Clock]).
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
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

// CorruptError names the place from which a journal is not what was written.
type CorruptError struct {
	Line int // of the file, from 1
	Why  string
}

// Error names the line.
func (e *CorruptError) Error() string { return fmt.Sprintf("line %d is damaged: %s", e.Line, e.Why) }

// Journal is one run's file, held by this process alone until Close. Not safe
// for concurrent use.
type Journal struct {
	m       Machine
	id      string
	dir     folder
	f       file
	lock    io.Closer
	place   place
	sum     string // of the last line
	size    int64  // of what is durable
	torn    int64
	found   int64   // see Found
	copy    string  // why the file may lag; "" when nothing hints at that
	anchors []Owner // of every own line
	last    error   // the first failed Append: nothing is appended after it
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
func (m Machine) Create(dir, id string) (*Journal, error) {
	j, err := m.create(dir, id)
	if err != nil {
		return nil, fmt.Errorf("create journal %q: %w", id, err)
	}
	return j, nil
}

func (m Machine) create(dir, id string) (*Journal, error) {
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
	f, err := root.OpenFile(id+suffix, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, fileMode)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = ErrExists
		}
		return nil, errors.Join(err, root.Close())
	}
	j, err := m.start(root, id, f)
	if err != nil {
		return nil, errors.Join(err, f.Close(), root.Remove(id+suffix), root.Close())
	}
	return j, nil
}

func (m Machine) start(root folder, id string, f file) (*Journal, error) {
	lock, err := lockFile(root, id, f)
	if err != nil {
		return nil, err
	}
	j := &Journal{m: m, id: id, dir: root, f: f, lock: lock}
	info, err := f.Stat()
	if err == nil {
		j.place.Device, j.place.Inode, _ = fileIdentity(info)
		err = errors.Join(j.own(), root.Sync())
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return j, nil
}

// Open takes over the journal of an earlier run: it is checked whole, a torn
// tail is cut off (Torn is its length), and this process becomes its owner.
// ErrNotFound, ErrBusy, ErrForeign, or a *CorruptError.
func (m Machine) Open(dir, id string) (*Journal, error) {
	j, err := m.open(dir, id)
	if err != nil {
		return nil, fmt.Errorf("open journal %q: %w", id, err)
	}
	return j, nil
}

func (m Machine) open(dir, id string) (*Journal, error) {
	root, f, err := m.openFile(dir, id, os.O_RDWR|os.O_APPEND)
	if err != nil {
		return nil, err
	}
	lock, err := lockFile(root, id, f)
	if err != nil {
		return nil, errors.Join(err, f.Close(), root.Close())
	}
	j := &Journal{m: m, id: id, dir: root, f: f, lock: lock}
	if err := j.adopt(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// adopt checks the file, cuts a torn tail and writes this process as its owner.
func (j *Journal) adopt() error {
	info, err := j.f.Stat()
	if err != nil {
		return err
	}
	device, inode, uid := fileIdentity(info)
	if uid != j.m.UID {
		return ErrForeign
	}
	s := newScan(j.f, info.Size(), j.id)
	for range s.lines {
	}
	if s.err != nil {
		return s.err
	}
	j.place = place{device, inode}
	j.sum, j.size, j.torn, j.found = s.sum, s.good, info.Size()-s.good, s.good
	j.anchors = s.anchors
	if j.copy == "" {
		j.copy = s.copied(j.m, info)
	}
	if j.torn > 0 {
		if err := errors.Join(j.f.Truncate(j.size), j.f.Sync()); err != nil {
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
	var tie []Owner
	if j.drifted() {
		o := j.owner()
		group, sum = appendLine(nil, sum, ownerKey, j.ownLine(o))
		tie = []Owner{o}
	}
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
	j.sum, j.anchors = sum, append(j.anchors, tie...)
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

// own appends this process as the owner of the journal.
func (j *Journal) own() error {
	o := j.owner()
	line, sum := appendLine(nil, j.sum, ownerKey, j.ownLine(o))
	if err := j.write(line); err != nil {
		return err
	}
	j.sum, j.anchors = sum, append(j.anchors, o)
	return nil
}

// owner is this process, now.
func (j *Journal) owner() Owner {
	return Owner{PID: j.m.PID, Host: j.m.Host, Since: j.m.Now().UTC().Round(0), Boot: j.m.Boot, Start: j.m.Start, Up: j.m.Uptime()}
}

func (j *Journal) ownLine(o Owner) []byte {
	line, err := json.Marshal(owning{Format: format, ID: j.id, Owner: o, place: j.place, Copy: j.copy})
	if err != nil {
		panic(err) // plain strings and numbers
	}
	return line
}

// Copy reports whether the file that was opened may be a copy, which may lag behind what was sent, and why: its host, device
// or inode are not those of its first line, or it changed more than 5 s after its last line was written. A journal that
// was once opened as a copy stays one.
func (j *Journal) Copy() (bool, string) { return j.copy != "", j.copy }

// Lines yields the records, oldest first. A line is valid until the next one.
func (j *Journal) Lines() iter.Seq2[[]byte, error] { return newScan(j.f, j.size, j.id).records() }

// Torn is how many bytes of a torn last line Open dropped.
func (j *Journal) Torn() int64 { return j.torn }

// Found is the length in bytes of the whole lines that Open found, as Contents.Size has it.
func (j *Journal) Found() int64 { return j.found }

// ID returns the id of the run.
func (j *Journal) ID() string { return j.id }

// Close frees the journal.
func (j *Journal) Close() error { return errors.Join(j.lock.Close(), j.f.Close(), j.dir.Close()) }

// openFile opens a journal inside dir.
func (m Machine) openFile(dir, id string, flag int) (folder, file, error) {
	if err := CheckID(id); err != nil {
		return nil, nil, err
	}
	root, err := m.disk().OpenFolder(dir)
	if err == nil {
		var f file
		if f, err = root.OpenFile(id+suffix, flag, 0); err == nil {
			return root, f, nil
		}
		err = errors.Join(err, root.Close())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, ErrNotFound
	}
	return nil, nil, err
}
