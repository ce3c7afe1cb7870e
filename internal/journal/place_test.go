//go:build linux

package journal

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// elsewhere is a machine in virtual circumstances.
func elsewhere() Machine {
	m := ThisMachine()
	m.Changed = func(fs.FileInfo) time.Time { return time.Time{} }
	return m
}

// begin makes a journal of three records, whose last line was written at a time.
func begin(t *testing.T, m Machine, dir string, at time.Time) string {
	t.Helper()
	m.Now = func() time.Time { return at }
	j, err := m.Create(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	stamp := at.UTC().Format(time.RFC3339Nano)
	if err := j.Append([]byte(`{"n":1}`), []byte(`{"n":2,"t":"`+stamp+`"}`)); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "r1"+suffix)
}

// copied reads the run, and opens it, as m; both must say the same.
func copied(t *testing.T, m Machine, dir string) (bool, string) {
	t.Helper()
	c, err := m.Read(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	is, why := c.Copy()
	j, err := m.Open(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if again, reason := j.Copy(); again != is || reason != why {
		t.Errorf("Read says %v %q, Open %v %q", is, why, again, reason)
	}
	return is, why
}

func TestCopiesAreFound(t *testing.T) {
	at := time.Now().Round(0)
	for name, tc := range map[string]struct {
		change func(t *testing.T, m *Machine, path string)
		want   string // "" is no copy
	}{
		"nothing":         {func(*testing.T, *Machine, string) {}, ""},
		"another boot":    {func(_ *testing.T, m *Machine, _ string) { m.Boot = "another" }, ""},
		"another process": {func(_ *testing.T, m *Machine, _ string) { m.PID, m.Start = 1, "1" }, ""},
		"another host":    {func(_ *testing.T, m *Machine, _ string) { m.Host = "other" }, `"other"`},
		"another inode": {func(t *testing.T, _ *Machine, path string) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.WriteFile(path+".new", text, 0o600), os.Rename(path+".new", path)); err != nil {
				t.Fatal(err)
			}
		}, "another file"},
		"changed in time": {func(_ *testing.T, m *Machine, _ string) {
			m.Changed = func(fs.FileInfo) time.Time { return at.Add(copyLag) }
		}, ""},
		"changed later": {func(_ *testing.T, m *Machine, _ string) {
			m.Changed = func(fs.FileInfo) time.Time { return at.Add(copyLag + time.Second) }
		}, "6s after its last line"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := elsewhere()
			path := begin(t, m, dir, at)
			tc.change(t, &m, path)
			is, why := copied(t, m, dir)
			if is != (tc.want != "") || !strings.Contains(why, tc.want) {
				t.Errorf("a copy: %v %q, want %q", is, why, tc.want)
			}
		})
	}
}

// TestARestoredRecordIsACopy asks the file system itself: the same inode, an earlier content.
func TestARestoredRecordIsACopy(t *testing.T) {
	dir := t.TempDir()
	m := ThisMachine()
	path := begin(t, m, dir, time.Now())
	if is, why := copied(t, m, dir); is {
		t.Fatalf("a new record is a copy: %s", why)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	path = begin(t, m, dir, time.Now().Add(-time.Minute)) // its last line is a minute old, the file is not
	if is, why := copied(t, m, dir); !is || !strings.Contains(why, "after its last line") {
		t.Errorf("a copy: %v %q", is, why)
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := m.Read(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.last(); err != nil {
		t.Error(err)
	}
}

// TestOpeningACopyDoesNotCleanseIt: the refused resume writes an own line, which makes host, time and file fit.
func TestOpeningACopyDoesNotCleanseIt(t *testing.T) {
	dir := t.TempDir()
	at := time.Now()
	m := elsewhere()
	begin(t, m, dir, at)
	m.Changed = func(fs.FileInfo) time.Time { return at.Add(time.Minute) }
	if is, _ := copied(t, m, dir); !is {
		t.Fatal("it is no copy")
	}
	m.Changed = func(fs.FileInfo) time.Time { return time.Time{} }
	if is, why := copied(t, m, dir); !is || !strings.Contains(why, "after its last line") {
		t.Errorf("after one opening, a copy: %v %q", is, why)
	}
}

// TestOldRecordsAreNoCopies: they name neither device nor boot.
func TestOldRecordsAreNoCopies(t *testing.T) {
	dir := t.TempDir()
	m := elsewhere()
	line, sum := appendLine(nil, "", ownerKey, []byte(`{"journal":1,"id":"r1","pid":7,"host":"`+m.Host+`","since":"2026-01-02T03:04:05Z"}`))
	more, _ := appendLine(nil, sum, recordKey, []byte(`{"n":1}`))
	if err := os.WriteFile(filepath.Join(dir, "r1"+suffix), append(line, more...), 0o600); err != nil {
		t.Fatal(err)
	}
	if is, why := copied(t, m, dir); is {
		t.Errorf("an old record is a copy: %s", why)
	}
}

func TestRecordsOfOthersAreReadAndNeverDriven(t *testing.T) {
	dir := t.TempDir()
	me := elsewhere()
	path := begin(t, me, dir, time.Now())
	before, _ := os.ReadFile(path)
	other := me
	other.UID = me.UID + 1
	c, err := other.Read(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if o := c.Owner(); o.Ours || o.UID != me.UID {
		t.Errorf("owner %+v", o)
	}
	if err := c.Owner().signal(other, syscall.Signal(0)); !errors.Is(err, ErrForeign) {
		t.Errorf("signal: %v", err)
	}
	if _, err := other.Open(dir, "r1"); !errors.Is(err, ErrForeign) {
		t.Errorf("open: %v", err)
	}
	if runs, err := other.List(dir); err != nil || len(runs) != 1 || runs[0].Ours {
		t.Errorf("list: %+v, %v", runs, err)
	}
	gone, err := other.Prune(dir, Retention{Finished: func([]byte) bool { return true }}, time.Now().AddDate(1, 0, 0))
	if err != nil || len(gone) > 0 {
		t.Errorf("pruned %q, %v", gone, err)
	}
	if after, _ := os.ReadFile(path); !cmp.Equal(before, after) {
		t.Error("the file was changed")
	}
	if c, err := me.Read(dir, "r1"); err != nil || !c.Owner().Ours {
		t.Errorf("our own: %v", err)
	}
}

// TestOnlyTheProcessThatWroteIsSignaled: a pid is used again by the system.
func TestOnlyTheProcessThatWroteIsSignaled(t *testing.T) {
	child := exec.CommandContext(t.Context(), "cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	m := ThisMachine()
	o := Owner{PID: child.Process.Pid, Host: m.Host, Boot: m.Boot, Start: processStart(child.Process.Pid), UID: m.UID, Ours: true}
	if o.Start == "" || o.Start == processStart(os.Getpid()) && child.Process.Pid == os.Getpid() {
		t.Fatalf("the child began at %q", o.Start)
	}
	for name, change := range map[string]struct {
		o    func(*Owner)
		want error
	}{
		"itself":         {func(*Owner) {}, nil},
		"another start":  {func(o *Owner) { o.Start += "1" }, ErrGone},
		"another boot":   {func(o *Owner) { o.Boot = "other" }, ErrGone},
		"an old record":  {func(o *Owner) { o.Boot, o.Start = "", "" }, ErrGone},
		"another host":   {func(o *Owner) { o.Host = "other" }, ErrElsewhere},
		"another user's": {func(o *Owner) { o.Ours = false }, ErrForeign},
		"every process":  {func(o *Owner) { o.PID = -1 }, ErrGone},
		"our own group":  {func(o *Owner) { o.PID = 0 }, ErrGone},
	} {
		changed := o
		change.o(&changed)
		if err := changed.Signal(syscall.Signal(0)); !errors.Is(err, change.want) {
			t.Errorf("%s: %v, want %v", name, err, change.want)
		}
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := o.Signal(syscall.Signal(0)); !errors.Is(err, ErrGone) {
		t.Errorf("a process that ended: %v", err)
	}
}

func TestARunWithoutARecordIsEmpty(t *testing.T) {
	dir := t.TempDir()
	path := begin(t, elsewhere(), dir, time.Now())
	text, _ := os.ReadFile(path)
	first := strings.IndexByte(string(text), '\n') + 1
	for cut, want := range map[int]bool{0: true, 20: true, first: true, first + 10: true, len(text): false} {
		if err := os.WriteFile(path, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := ThisMachine().Read(dir, "r1")
		if err != nil {
			t.Fatal(err)
		}
		runs, err := ThisMachine().List(dir)
		if err != nil || len(runs) != 1 || c.Empty() != want || runs[0].Empty != want {
			t.Errorf("%d bytes: empty %v, list %+v, %v; want %v", cut, c.Empty(), runs, err, want)
		}
		c.Close()
	}
}

// forgetful is a disk that reports what was done, in order.
type forgetful struct {
	disk
	did *[]string
	bad map[string]error
}

func (d forgetful) note(what string) error {
	*d.did = append(*d.did, what)
	return d.bad[what]
}

func (d forgetful) Mkdir(path string) error {
	return errors.Join(d.note("mkdir "+filepath.Base(path)), d.disk.Mkdir(path))
}

func (d forgetful) SyncFolder(path string) error {
	return errors.Join(d.note("sync folder "+filepath.Base(path)), d.disk.SyncFolder(path))
}

func (d forgetful) OpenFolder(path string) (folder, error) {
	f, err := d.disk.OpenFolder(path)
	return forgetfulFolder{f, d}, err
}

type forgetfulFolder struct {
	folder
	d forgetful
}

func (f forgetfulFolder) OpenFile(name string, flag int, perm fs.FileMode) (file, error) {
	if flag&os.O_CREATE != 0 {
		if err := f.d.note("create " + name); err != nil {
			return nil, err
		}
	}
	opened, err := f.folder.OpenFile(name, flag, perm)
	return forgetfulFile{opened, f.d}, err
}

func (f forgetfulFolder) Remove(name string) error {
	return errors.Join(f.d.note("remove "+name), f.folder.Remove(name))
}

func (f forgetfulFolder) Sync() error { return errors.Join(f.d.note("sync entries"), f.folder.Sync()) }

type forgetfulFile struct {
	file
	d forgetful
}

func (f forgetfulFile) Write(b []byte) (int, error) {
	if err := f.d.note("write"); err != nil {
		return 0, err
	}
	return f.file.Write(b)
}

func (f forgetfulFile) Sync() error { return errors.Join(f.d.note("sync"), f.file.Sync()) }

// TestEntriesAreDurable: a journal whose folder was not synced is gone after a power cut, with all that it recorded; so are
// folders that were made for it. What is deleted stays deleted.
func TestEntriesAreDurable(t *testing.T) {
	var did []string
	base := t.TempDir()
	dir := filepath.Join(base, "fleetctl", "runs")
	m := elsewhere()
	m.files = forgetful{did: &did}
	j, err := m.Create(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"mkdir fleetctl", "sync folder " + filepath.Base(base), "mkdir runs", "sync folder fleetctl", "create r1.journal", "write", "sync", "sync entries"}
	if d := cmp.Diff(want, did); d != "" {
		t.Errorf("create: -want +got:\n%s", d)
	}
	did = nil
	if err := errors.Join(j.Append([]byte(`{"n":1}`)), j.Close()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"write", "sync"}, did); d != "" {
		t.Errorf("append: -want +got:\n%s", d)
	}
	did = nil
	gone, err := m.Prune(dir, Retention{Finished: func([]byte) bool { return true }}, time.Now().AddDate(1, 0, 0))
	if err != nil || len(gone) != 1 {
		t.Fatalf("pruned %q, %v", gone, err)
	}
	if d := cmp.Diff([]string{"remove r1.journal", "sync entries"}, did); d != "" {
		t.Errorf("prune: -want +got:\n%s", d)
	}
}

// TestAFolderThatCannotBeSyncedRefusesTheRun: nothing may be sent on the account of a record that is not durable.
func TestAFolderThatCannotBeSyncedRefusesTheRun(t *testing.T) {
	for _, what := range []string{"sync entries", "sync", "write", "create r1.journal", "mkdir runs"} {
		var did []string
		m := elsewhere()
		m.files = forgetful{did: &did, bad: map[string]error{what: syscall.EIO}}
		dir := filepath.Join(t.TempDir(), "runs")
		if _, err := m.Create(dir, "r1"); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s fails: %v", what, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "r1"+suffix)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s fails: the file stays (%v)", what, err)
		}
	}
}
