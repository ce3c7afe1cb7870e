package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func records(n int) [][]byte {
	lines := make([][]byte, n)
	for i := range lines {
		lines[i] = fmt.Appendf(nil, `{"v":1,"k":"outcomes","n":%d}`, i)
	}
	return lines
}

func collect(t *testing.T, seq func(func([]byte, error) bool)) []string {
	t.Helper()
	var got []string
	for line, err := range seq {
		if err != nil {
			t.Fatalf("reading lines: %v", err)
		}
		got = append(got, string(line))
	}
	return got
}

func texts(lines [][]byte) []string {
	var out []string
	for _, l := range lines {
		out = append(out, string(l))
	}
	return out
}

// written makes a journal of n records in dir and returns its file.
func written(t testing.TB, dir, id string, n int) string {
	t.Helper()
	j, err := ThisMachine().Create(dir, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range records(n) {
		if err := j.Append(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, id+suffix)
}

func TestJournalKeepsRecordsOverReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "runs")
	path := written(t, dir, "r1", 3)
	j, err := ThisMachine().Open(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	big := append(append([]byte(`{"big":"`), bytes.Repeat([]byte("x"), 200_000)...), `"}`...)
	if err := j.Append(big, []byte(`{"n":4}`)); err != nil {
		t.Fatal(err)
	}
	want := append(texts(records(3)), string(big), `{"n":4}`)
	if diff := cmp.Diff(want, collect(t, j.Lines())); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	c, err := ThisMachine().Read(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !c.Live() || c.Owner().PID != os.Getpid() {
		t.Errorf("read a held journal: live %v, owner %+v", c.Live(), c.Owner())
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, collect(t, c.Lines())); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestJournalIsHeldByOne(t *testing.T) {
	dir := t.TempDir()
	j, err := ThisMachine().Create(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ThisMachine().Create(dir, "r1"); !errors.Is(err, ErrExists) {
		t.Errorf("create twice: %v, want ErrExists", err)
	}
	if _, err := ThisMachine().Open(dir, "r1"); !errors.Is(err, ErrBusy) {
		t.Errorf("open a held journal: %v, want ErrBusy", err)
	}
	j.Close()
	again, err := ThisMachine().Open(dir, "r1")
	if err != nil {
		t.Fatalf("open a freed journal: %v", err)
	}
	again.Close()
	if _, err := ThisMachine().Open(dir, "r2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("open nothing: %v, want ErrNotFound", err)
	}
}

func TestJournalRefusesIdsThatAreNotNames(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"", "../x", "a/b", ".hidden", "a b", "x\x00", "é"} {
		if _, err := ThisMachine().Create(dir, id); err == nil {
			t.Errorf("create %q: no error", id)
		}
		if _, err := ThisMachine().Read(dir, id); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("read %q: %v, want a refusal of the id", id, err)
		}
	}
}

// check reads a damaged file and says whether it is a prefix of want, whole, or
// an error; anything else fails the test.
func check(t testing.TB, dir string, want []string) (n int, torn int64, err error) {
	t.Helper()
	c, err := ThisMachine().Read(dir, "r1")
	if err != nil {
		if _, ok := errors.AsType[*CorruptError](err); !ok {
			t.Fatalf("reading a damaged journal: %v, want a CorruptError", err)
		}
		return 0, 0, err
	}
	defer c.Close()
	for line, err := range c.Lines() {
		if err != nil {
			t.Fatalf("Read passed, Lines did not: %v", err)
		}
		if n >= len(want) || string(line) != want[n] {
			t.Fatalf("line %d is %q", n, line)
		}
		n++
	}
	return n, c.Torn(), nil
}

func TestEveryCutGivesAPrefix(t *testing.T) {
	dir := t.TempDir()
	path := written(t, dir, "r1", 5)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := texts(records(5))
	last := 0
	for cut := range len(text) + 1 {
		if err := os.WriteFile(path, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		n, torn, err := check(t, dir, want)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if n < last {
			t.Fatalf("cut at %d: %d records, %d before", cut, n, last)
		}
		last = n
		atEnd := cut == 0 || text[cut-1] == '\n' || text[cut] == '\n'
		if (torn == 0) != atEnd {
			t.Errorf("cut at %d: torn is %d", cut, torn)
		}
		if !atEnd && cut%9 != 0 {
			continue // each reopening costs three syncs
		}
		j, err := ThisMachine().Open(dir, "r1")
		if err != nil {
			t.Fatalf("cut at %d: open: %v", cut, err)
		}
		if err := j.Append([]byte(`{"after":1}`)); err != nil {
			t.Fatal(err)
		}
		j.Close()
		m, torn, err := check(t, dir, append(slices.Clone(want[:n]), `{"after":1}`))
		if err != nil || m != n+1 || torn != 0 {
			t.Fatalf("cut at %d, reopened: %d records, torn %d, %v", cut, m, torn, err)
		}
	}
	if last != len(want) {
		t.Errorf("the whole file gives %d records", last)
	}
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	dir := t.TempDir()
	path := written(t, dir, "r1", 3)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range text {
		for _, flip := range []byte{1, 0x20, 0x80, text[at], text[at] ^ '\n', text[at] ^ '}'} {
			if flip == 0 {
				continue
			}
			bad := slices.Clone(text)
			bad[at] ^= flip
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if n, torn, err := check(t, dir, texts(records(3))); err == nil {
				t.Errorf("byte %d flipped by %#x: %d records, torn %d, no error", at, flip, n, torn)
			}
		}
	}
}

func TestMovedLinesAreFound(t *testing.T) {
	dir := t.TempDir()
	path := written(t, dir, "r1", 4)
	other := written(t, dir, "r2", 4)
	text, _ := os.ReadFile(path)
	foreign, _ := os.ReadFile(other)
	lines := bytes.SplitAfter(text, []byte{'\n'})[:5]
	theirs := bytes.SplitAfter(foreign, []byte{'\n'})[:5]
	for name, bad := range map[string][][]byte{
		"dropped":   {lines[0], lines[1], lines[3], lines[4]},
		"swapped":   {lines[0], lines[2], lines[1], lines[3]},
		"repeated":  {lines[0], lines[1], lines[1], lines[2]},
		"headless":  {lines[1], lines[2]},
		"foreign":   {lines[0], theirs[1], lines[2]},
		"other run": theirs,
	} {
		if err := os.WriteFile(path, bytes.Join(bad, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, _, err := check(t, dir, texts(records(4))); err == nil {
			t.Errorf("%s: %d records and no error", name, n)
		}
	}
}

// TestZeroedTailIsTorn: a disk may have grown the file before it wrote.
func TestZeroedTailIsTorn(t *testing.T) {
	dir := t.TempDir()
	path := written(t, dir, "r1", 2)
	text, _ := os.ReadFile(path)
	for _, tail := range []string{strings.Repeat("\x00", 4096), `{"sum":"12` + strings.Repeat("\x00", 700), "\x00"} {
		os.WriteFile(path, append(slices.Clone(text), tail...), 0o600)
		n, torn, err := check(t, dir, texts(records(2)))
		if n != 2 || torn != int64(len(tail)) || err != nil {
			t.Errorf("%d records, torn %d of %d, %v", n, torn, len(tail), err)
		}
	}
}

// TestZerosNeverHideAcknowledgedLines: zeros in any place of a file that was acknowledged whole, with anything behind them,
// are damage. Lines between them and the final newline were dropped as one torn line, and their nodes sent to again.
func TestZerosNeverHideAcknowledgedLines(t *testing.T) {
	dir := t.TempDir()
	path := written(t, dir, "r1", 60)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for from := 0; from < len(text)-1; from += 41 {
		for _, to := range []int{from + 1, from + 40, from + 512, from + 600, len(text) - 1, len(text) - 2, len(text) - 30} {
			if to <= from || to >= len(text) {
				continue
			}
			bad := slices.Clone(text)
			clear(bad[from:to])
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if n, torn, err := check(t, dir, texts(records(60))); err == nil {
				t.Fatalf("zeros from %d to %d of %d: %d records, torn %d", from, to, len(text), n, torn)
			}
			if _, err := ThisMachine().Open(dir, "r1"); err == nil {
				t.Fatalf("zeros from %d to %d of %d: it is opened", from, to, len(text))
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, bad) {
				t.Fatalf("zeros from %d to %d: the refused file was changed (%v)", from, to, err)
			}
		}
	}
}

// TestZeroedSectorIsDamage: what was written after a sector that is lost reports that it was no torn tail.
func TestZeroedSectorIsDamage(t *testing.T) {
	dir := t.TempDir()
	path := written(t, dir, "r1", 40)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+1024 < len(text); at += 512 {
		bad := slices.Clone(text)
		clear(bad[at : at+512])
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ThisMachine().Read(dir, "r1")
		if _, ok := errors.AsType[*CorruptError](err); !ok {
			t.Errorf("zeroes at %d of %d: %v, want a *CorruptError", at, len(text), err)
		}
	}
}

// fullDisk takes only so many bytes.
type fullDisk struct {
	file
	room     int
	syncErr  error
	truncErr error
}

func (d *fullDisk) Write(b []byte) (int, error) {
	if len(b) <= d.room {
		d.room -= len(b)
		return d.file.Write(b)
	}
	n, err := d.file.Write(b[:d.room])
	d.room = 0
	return n, errors.Join(err, syscall.ENOSPC)
}

func (d *fullDisk) Sync() error { return errors.Join(d.syncErr, d.file.Sync()) }

func (d *fullDisk) Truncate(size int64) error {
	if d.truncErr != nil {
		return d.truncErr
	}
	return d.file.Truncate(size)
}

func TestFullDiskFailsTheAppendAndLosesNothing(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(*fullDisk)
	}{
		{"partial line taken back", func(d *fullDisk) { d.room = 40 }},
		{"partial line stays", func(d *fullDisk) { d.room = 20; d.truncErr = syscall.EIO }},
		{"no room at all", func(d *fullDisk) { d.room = 0 }},
		{"sync fails", func(d *fullDisk) { d.syncErr = syscall.ENOSPC }},
	} {
		dir := t.TempDir()
		j, err := ThisMachine().Create(dir, "r1")
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Append(records(2)...); err != nil {
			t.Fatal(err)
		}
		d := &fullDisk{file: j.f, room: 1 << 20}
		tc.spoil(d)
		j.f = d
		if err := j.Append([]byte(`{"n":2}`), []byte(`{"n":3}`)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v, want ENOSPC", tc.name, err)
		}
		d.room, d.syncErr = 1<<20, nil
		if err := j.Append([]byte(`{"n":9}`)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: a later append: %v, want the first error", tc.name, err)
		}
		j.Close()
		if n, _, err := check(t, dir, texts(records(2))); n != 2 || err != nil {
			t.Errorf("%s: %d records, %v", tc.name, n, err)
		}
	}
}

func TestAppendRefusesWhatIsNotOneLine(t *testing.T) {
	j, err := ThisMachine().Create(t.TempDir(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, line := range []string{"", "x", "{\"a\":\n1}"} {
		if err := j.Append([]byte(line)); err == nil {
			t.Errorf("append %q: no error", line)
		}
	}
	if err := j.Append([]byte(`{}`)); err != nil {
		t.Errorf("append after a refusal: %v", err)
	}
}

func TestListNamesRunsNewestFirst(t *testing.T) {
	dir := t.TempDir()
	now := time.Now().Truncate(time.Second)
	for i, id := range []string{"a", "b", "c"} {
		path := written(t, dir, id, 1)
		if err := os.Chtimes(path, now, now.Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(dir, "note.txt"), nil, 0o600)
	held, err := ThisMachine().Open(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	os.Chtimes(filepath.Join(dir, "a"+suffix), now, now)
	runs, err := ThisMachine().List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range runs {
		got = append(got, fmt.Sprint(r.ID, r.Live))
	}
	if diff := cmp.Diff([]string{"cfalse", "bfalse", "atrue"}, got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	if runs, err := ThisMachine().List(filepath.Join(dir, "none")); len(runs) > 0 || err != nil {
		t.Errorf("a missing directory: %v, %v", runs, err)
	}
}

func TestPruneKeepsNewLiveUnfinishedAndDamaged(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	age := func(id string, days int) {
		when := now.AddDate(0, 0, -days)
		if err := os.Chtimes(filepath.Join(dir, id+suffix), when, when); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"newest", "young", "old", "older", "live", "open", "damaged", "empty", "bare", "torn", "hours"} {
		path := written(t, dir, id, 1)
		switch id {
		case "open", "empty", "bare", "torn", "hours":
		default:
			j, _ := ThisMachine().Open(dir, id)
			j.Append([]byte(`{"end":true}`))
			j.Close()
		}
		if id == "damaged" {
			text, _ := os.ReadFile(path)
			text[len(text)/2] ^= 1
			os.WriteFile(path, text, 0o600)
		}
		text, _ := os.ReadFile(path)
		first := int64(bytes.IndexByte(text, '\n')) + 1
		switch id { // no whole record: the process was killed before its plan was durable
		case "empty":
			os.Truncate(path, 0)
		case "bare", "hours":
			os.Truncate(path, first)
		case "torn":
			os.Truncate(path, first+30)
		}
	}
	held, _ := ThisMachine().Open(dir, "live")
	defer held.Close()
	for id, days := range map[string]int{"newest": 40, "young": 20, "old": 50, "older": 60, "live": 50, "open": 50, "damaged": 50, "empty": 2, "bare": 2, "torn": 2, "hours": 0} {
		age(id, days)
	}
	gone, err := ThisMachine().Prune(dir, Retention{MaxAge: 30 * 24 * time.Hour, Keep: 2,
		Finished: func(last []byte) bool { return string(last) == `{"end":true}` }}, now)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(gone)
	if diff := cmp.Diff([]string{"bare", "empty", "old", "older", "torn"}, gone); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
}

func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	text, err := os.ReadFile(written(f, dir, "r1", 4))
	if err != nil {
		f.Fatal(err)
	}
	want := texts(records(4))
	f.Add(uint16(0), byte(0), uint16(len(text)))
	f.Add(uint16(30), byte(1), uint16(len(text)))
	f.Add(uint16(100), byte(0x80), uint16(150))
	f.Fuzz(func(t *testing.T, at uint16, flip byte, cut uint16) {
		bad := slices.Clone(text[:min(int(cut), len(text))])
		if int(at) < len(bad) {
			bad[at] ^= flip
		}
		s := newScan(bytes.NewReader(bad), int64(len(bad)), "r1")
		n := 0
		for line, err := range s.records() {
			if err != nil {
				if _, ok := errors.AsType[*CorruptError](err); !ok {
					t.Fatalf("%v, want a CorruptError", err)
				}
				return
			}
			if n >= len(want) || string(line) != want[n] {
				t.Fatalf("record %d is %q", n, line)
			}
			n++
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	j, err := ThisMachine().Create(b.TempDir(), "r1")
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	group := records(100)
	for b.Loop() {
		if err := j.Append(group...); err != nil {
			b.Fatal(err)
		}
	}
}
