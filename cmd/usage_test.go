package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What cannot be meant is refused before any network, and before a configuration is looked for.
func TestNonsenseIsRefusedAtOnce(t *testing.T) {
	restart := []string{"req", "choria_provision", "restart", "token=t0ken"}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--nodes", ""}, "--nodes is given nothing"},
		{[]string{"--limit", ""}, "--limit is given nothing"},
		{[]string{"--batch", ""}, "--batch is given nothing"},
		{[]string{"--expect-file", ""}, "--expect-file is given nothing"},
		{[]string{"--max-failed", ""}, "--max-failed"},
		{[]string{"--max-nodes", ""}, "--max-nodes"},
		{[]string{"--target", ""}, "--target is given nothing"},
		{[]string{"-I", ""}, "every node would be meant"},
		{[]string{"--limit", "0"}, "leaves no nodes"},
		{[]string{"--limit", "5%%"}, "neither a number nor a percentage"},
		{[]string{"--max-nodes", "0"}, "allows no run"},
		{[]string{"--expect", "-1"}, "not a number of nodes"},
		{[]string{"--discovery-timeout", "0"}, "finds no node"},
		{[]string{"--batch-sleep", "1e30"}, "no time to wait"},
	} {
		code, _, said := runApp(t, nil, append(restart, tt.args...)...)
		if code != exitUsage || !strings.Contains(said, tt.want) {
			t.Errorf("%q: exit %d, %s, want %d and %q", tt.args, code, said, exitUsage, tt.want)
		}
	}
}

// A folder in place of a configuration is no empty configuration.
func TestAFolderIsNoConfiguration(t *testing.T) {
	if code, _, said := runApp(t, nil, "discover", "--config", t.TempDir()); code != exitUsage || !strings.Contains(said, "directory") {
		t.Errorf("exit %d, %s", code, said)
	}
}

// Without HOME, as under a system's timer, records and settings are the user's all the same, not the present folder's.
func TestHomeIsKnownWithoutItsVariable(t *testing.T) {
	a := &app{getenv: func(string) (string, bool) { return "", false }}
	if dir := a.runsDir(recordOptions{}); !filepath.IsAbs(dir) {
		t.Errorf("records go to %q", dir)
	}
	if path := a.settingsPath(); !filepath.IsAbs(path) {
		t.Errorf("settings come from %q", path)
	}
}

func TestALostLogIsTold(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	if code, _, said := runApp(t, nil, "version", "--log-file", "/dev/full"); code != exitOK || !strings.Contains(said, "the log is not complete") {
		t.Errorf("exit %d, %s", code, said)
	}
}
