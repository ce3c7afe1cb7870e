package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockLinksExcludesOneAnother(t *testing.T) {
	dir := t.TempDir()
	m := ThisMachine()
	lock, err := m.LockLinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.LockLinks(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("a second lock: %v", err)
	}
	written(t, dir, "a", 1) // a journal is another matter
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := m.LockLinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if list, err := m.List(dir); err != nil || len(list) != 1 {
		t.Errorf("%d runs, %v", len(list), err)
	}
	made, err := m.LockLinks(filepath.Join(dir, "missing"))
	if err != nil {
		t.Fatalf("a missing folder: %v", err)
	}
	if err := made.Close(); err != nil {
		t.Error(err)
	}
}

func TestFirstIsTheFirstRecord(t *testing.T) {
	dir := t.TempDir()
	m := ThisMachine()
	written(t, dir, "two", 2)
	written(t, dir, "none", 0)
	damaged := written(t, dir, "damaged", 2)
	data, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), `"n":0`, `"n":7`, 1)
	if err := os.WriteFile(damaged, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if line, err := m.First(dir, "two"); err != nil || string(line) != string(records(1)[0]) {
		t.Errorf("got %s, %v", line, err)
	}
	if line, err := m.First(dir, "none"); err != nil || line != nil {
		t.Errorf("without a record: %s, %v", line, err)
	}
	if _, err := m.First(dir, "damaged"); err == nil {
		t.Error("a damaged line was returned")
	} else if _, ok := errors.AsType[*CorruptError](err); !ok {
		t.Errorf("a damaged line: %v", err)
	}
	if _, err := m.First(dir, "missing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a missing journal: %v", err)
	}
}
