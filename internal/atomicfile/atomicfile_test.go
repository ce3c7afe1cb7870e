package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder is a folder with the file "target", and its names afterwards.
func folder(t *testing.T) (path string, names func() []string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, func() (names []string) {
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The name of the file beside the target means nothing to the operator.
func TestAnErrorNamesTheTargetAndTheMissingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "no")
	_, err := Create(filepath.Join(dir, "report"))
	if !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), ".report.") || !strings.Contains(err.Error(), `report": folder `+dir+": ") {
		t.Errorf("got %v", err)
	}
}

func TestTheTargetIsOldUntilCommit(t *testing.T) {
	path, names := folder(t)
	f, err := Write(path, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "old" || len(names()) != 2 {
		t.Errorf("before Commit: %q, %q", got, names())
	}
	if err := f.Commit(0o644); err != nil {
		t.Fatal(err)
	}
	f.Drop()
	info, err := os.Stat(path)
	if got := content(t, path); got != "new" || len(names()) != 1 || err != nil || info.Mode().Perm()&0o600 != 0o600 {
		t.Errorf("after Commit: %q, %q, %v", got, names(), err)
	}
}

func TestDropAndErrorsLeaveNothingBehind(t *testing.T) {
	path, names := folder(t)
	f, err := Write(path, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	f.Drop()
	if f, err = Write(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := f.CommitNew(0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("CommitNew over a file: %v, want ErrExist", err)
	}
	if got := content(t, path); got != "old" || len(names()) != 1 {
		t.Errorf("the folder has %q, the target %q", names(), got)
	}
	if _, err := Create(filepath.Join(path, "no folder")); err == nil {
		t.Error("Create below a file gives no error")
	}
}

func TestCommitNewMakesTheFile(t *testing.T) {
	path, names := folder(t)
	fresh := filepath.Join(filepath.Dir(path), "fresh")
	f, err := Write(fresh, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.CommitNew(0o600); err != nil {
		t.Fatal(err)
	}
	if got := content(t, fresh); got != "new" || len(names()) != 2 {
		t.Errorf("%q, folder %q", got, names())
	}
}
