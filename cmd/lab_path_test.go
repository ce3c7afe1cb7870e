package cmd

import (
	"os"
	"path/filepath"
	"testing"
)

// With `go run . lab` no folder of the PATH has the program: the lines that the lab prints must work anyway.
func TestTheLabSaysHowToFindTheProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, name := filepath.Dir(self), filepath.Base(self)
	t.Setenv("PATH", t.TempDir())
	if got, want := pathLine(name), "    export PATH="+dir+":$PATH\n"; got != want {
		t.Errorf("not on the PATH: %q, want %q", got, want)
	}
	if got := pathLine("another"); got != "" {
		t.Errorf("a file of another name does not help: %q", got)
	}
	t.Setenv("PATH", dir)
	if got := pathLine(name); got != "" {
		t.Errorf("on the PATH: %q", got)
	}
}
