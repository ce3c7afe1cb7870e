package saved

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"fleetctl/internal/atomicfile"
)

// File is a plan with what was signed of it. It is made by New, Read or Parse; Plan is not to be changed.
type File struct {
	Plan      Plan       `json:"plan"`
	Digest    string     `json:"digest"`           // SHA-256 of the plan's canonical JSON, hexadecimal
	Signed    *Signature `json:"signed,omitempty"` // by the owner; nil where the owner has no key of its own
	Approvals []Approval `json:"approvals,omitempty"`
}

const (
	maxFile = 64 << 20 // bytes: 100,000 nodes need some 15 MiB
	// maxApprovals is more than any rule asks for. Each costs a verification.
	maxApprovals = 64
	// skew is how far apart the clocks of two operators' machines may be.
	skew = time.Minute
)

// RefusedError says that a plan is one, and that it must not be applied or approved. Other errors of this package say that
// something is no plan, or that a file cannot be read or written.
type RefusedError struct {
	Problem string
	Hint    string // what to do; may be empty
}

// Error returns the problem. The hint is not part of it.
func (e *RefusedError) Error() string { return e.Problem }

func refused(hint, format string, args ...any) error {
	return &RefusedError{Problem: fmt.Sprintf(format, args...), Hint: hint}
}

const saveAgain = "save the plan again: `fleetctl req ... --save-plan FILE`"

// canonical is the one way to write a value: compact JSON, keys in the order of their types or sorted, no escapes but those
// that JSON needs.
func canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// New makes a file of a plan. Times are cut to whole seconds in UTC. The error says what is wrong with the plan.
func New(p Plan) (*File, error) {
	p.Format, p.Version = planFormat, planVersion
	p.Created, p.Expires = p.Created.UTC().Truncate(time.Second), p.Expires.UTC().Truncate(time.Second)
	nodes := make([]Node, len(p.Nodes))
	for i, n := range p.Nodes {
		if nodes[i] = n; !n.Started.IsZero() {
			nodes[i].Started = n.Started.UTC().Truncate(time.Second)
		}
	}
	p.Nodes = nodes
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("cannot save this plan: %w", err)
	}
	text, err := canonical(p)
	if err != nil {
		return nil, fmt.Errorf("cannot save this plan: %w", err)
	}
	f := &File{Plan: p, Digest: digest(text)}
	encoded, err := f.encode()
	if err != nil {
		return nil, fmt.Errorf("cannot save this plan: %w", err)
	}
	return Parse(encoded) // what would be refused when it is applied is refused now
}

// encode is the file's text.
func (f *File) encode() ([]byte, error) {
	text, err := canonical(f)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", " "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// Parse reads the text of a file, and checks everything that needs neither a clock nor keys. Errors are *RefusedError for a
// plan that was edited or that a newer fleetctl wrote.
func Parse(text []byte) (*File, error) {
	var outer struct {
		Plan   json.RawMessage `json:"plan"`
		Digest string          `json:"digest"`
	}
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"schema_version"`
	}
	if json.Unmarshal(text, &outer) != nil || json.Unmarshal(outer.Plan, &head) != nil || head.Format != planFormat {
		return nil, errors.New("it is not a saved plan")
	}
	if head.Version > planVersion {
		return nil, refused("use that fleetctl, or a later one", "a newer fleetctl wrote this plan (version %d, this program reads up to %d)", head.Version, planVersion)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, outer.Plan); err != nil {
		return nil, errors.New("it is not a saved plan")
	}
	if digest(compact.Bytes()) != outer.Digest {
		return nil, refused(saveAgain, "it was edited: its digest is that of another plan")
	}
	f := new(File)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(f); err != nil {
		return nil, refused(saveAgain, "it holds what this program does not know: %v", err)
	}
	again, err := canonical(f)
	if err != nil {
		return nil, err
	}
	compact.Reset()
	if err := json.Compact(&compact, text); err != nil || !bytes.Equal(again, compact.Bytes()) {
		return nil, refused(saveAgain, "it is not written as fleetctl writes it: it was edited, or another version made it")
	}
	switch err := f.Plan.validate(); {
	case err != nil:
		return nil, refused(saveAgain, "it is not a plan that fleetctl makes: %v", err)
	case len(f.Approvals) > maxApprovals:
		return nil, refused(saveAgain, "it has %d approvals, and %d is the most", len(f.Approvals), maxApprovals)
	}
	return f, nil
}

// Read reads a file, which must be a regular one of at most 64 MiB. Errors are those of Parse and of the file system.
func Read(path string) (*File, error) {
	f, _, err := read(path)
	return f, err
}

func read(path string) (*File, fs.FileInfo, error) {
	fault := func(err error) error { return fmt.Errorf("plan %s: %w", path, err) }
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err // names the path
	}
	tooLong := fault(fmt.Errorf("it is longer than %d bytes", maxFile))
	switch {
	case !info.Mode().IsRegular(): // a pipe would wait, a device never ends
		return nil, nil, fault(errors.New("it is not a regular file"))
	case info.Size() > maxFile:
		return nil, nil, tooLong
	}
	from, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer from.Close()
	text, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	switch {
	case err != nil:
		return nil, nil, fault(err)
	case len(text) > maxFile:
		return nil, nil, tooLong
	}
	f, err := Parse(text)
	if r, ok := errors.AsType[*RefusedError](err); ok {
		r.Problem = "plan " + path + ": " + r.Problem
		return nil, nil, r
	}
	if err != nil {
		return nil, nil, fault(err)
	}
	return f, info, nil
}

// Writable reports why a plan could not be written to path: its folder is missing, or is not ours to write. It leaves
// nothing there.
func Writable(path string) error {
	f, err := atomicfile.Create(path)
	if err == nil {
		f.Drop()
		return nil
	}
	if why, ok := errors.AsType[*fs.PathError](err); ok { // it names a temporary file
		err = why.Err
	}
	return fmt.Errorf("no file can be made in folder %s: %w", filepath.Dir(path), err)
}

// Write makes the file, for its owner alone. It never replaces one: the error then matches fs.ErrExist.
func (f *File) Write(path string) error {
	text, err := f.encode()
	if err != nil {
		return fmt.Errorf("save plan %s: %w", path, err)
	}
	to, err := atomicfile.Write(path, text)
	if err != nil {
		return err
	}
	return to.CommitNew(0o600)
}

// AddApproval adds an approval to the file, which must still hold the plan of this digest. Two at the same moment do not
// lose one: the second is refused, and can be added again.
func AddApproval(path, digest string, a Approval) (*File, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	beside := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".approving")
	lock, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, refused("approve it again; if no other approval is at work, remove "+beside, "plan %s: another approval is being added", path)
	}
	if err != nil {
		return nil, err
	}
	_ = lock.Close() // nothing was written: that the file exists is the lock
	f, err := addLocked(path, digest, a)
	return f, errors.Join(err, os.Remove(beside))
}

// addLocked replaces the file by one that has the approval, too.
func addLocked(path, digest string, a Approval) (*File, error) {
	f, info, err := read(path)
	switch {
	case err != nil:
		return nil, err
	case f.Digest != digest:
		return nil, refused("look at it: `fleetctl plan show "+path+"`", "plan %s is another plan now", path)
	case len(f.Approvals) >= maxApprovals:
		return nil, refused("", "plan %s has %d approvals, which is the most", path, maxApprovals)
	}
	f.Approvals = append(f.Approvals, a)
	text, err := f.encode()
	if err != nil {
		return nil, fmt.Errorf("approve plan %s: %w", path, err)
	}
	if _, err := Parse(text); err != nil {
		return nil, fmt.Errorf("approve plan %s: %w", path, err)
	}
	to, err := atomicfile.Write(path, text)
	if err != nil {
		return nil, fmt.Errorf("approve plan: %w", err)
	}
	if err := to.Commit(info.Mode().Perm()); err != nil {
		return nil, fmt.Errorf("approve plan: %w", err)
	}
	return f, nil
}
