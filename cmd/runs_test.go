package cmd

import (
	"path/filepath"
	"strings"
	"testing"

	"fleetctl/internal/journal"
)

// A process that died before its plan was recorded has sent nothing, and nobody will ever finish its record.
func TestARunThatNeverBeganIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Create(filepath.Join(dir, "runs"), "20260101-000000-aaaaa")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"watch", "show", "resume"} {
		if code, _, said := runApp(t, nil, "runs", command, "last", "--state-dir", dir); code != exitGuard || !strings.Contains(said, "nothing was sent") || !strings.Contains(said, "type the command again") {
			t.Errorf("runs %s: exit %d, %s", command, code, said)
		}
	}
	if code, out, _ := runApp(t, nil, "runs", "list", "--state-dir", dir); code != exitOK || !strings.Contains(out, "nothing was sent") {
		t.Errorf("runs list: exit %d, %s", code, out)
	}
}
