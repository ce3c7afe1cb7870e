//go:build unix && !solaris && !illumos && !aix

package lab

import (
	"os"
	"path/filepath"
	"testing"
)

// The folders of a lab that was killed are removed by the next one; those of a living one, and those of others, stay.
func TestFoldersOfDeadLabsAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	other := filepath.Join(os.TempDir(), temporary+"of another program")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	living, err := newFolder("streams-")
	if err != nil {
		t.Fatal(err)
	}
	dead, err := newFolder("")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead.path, "operator.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dead.lock.Close(); err != nil { // as the kernel does when a process ends
		t.Fatal(err)
	}
	third, err := newFolder("")
	if err != nil {
		t.Fatal(err)
	}
	for path, stays := range map[string]bool{living.path: true, dead.path: false, third.path: true, other: true} {
		if info, err := os.Stat(path); (err == nil) != stays || stays && info.Mode().Perm() != 0o700 {
			t.Errorf("%s stays: %t, %v", path, err == nil, err)
		}
	}
	for _, f := range []folder{living, third, {}} {
		if err := f.remove(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 1 {
		t.Errorf("%v are left, %v", left, err)
	}
}
