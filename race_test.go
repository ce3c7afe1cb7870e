package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The processes that these tests start are this test binary, so `go test -race` looks for races in them, too. A process
// reports a race on stderr, and changes no other exit code than 0: a test that kills it, expects a failure or does not read
// its stderr would pass. So every report goes to a file, and one file fails the whole run.

// raceLogs is a folder that fails a run when a process has left a report in it.
type raceLogs string

// raceVariable holds the settings of the race detector, which processes inherit.
const raceVariable = "GORACE"

// option is the setting that sends the reports of a process there.
func (dir raceLogs) option() string { return "log_path=" + filepath.Join(string(dir), "race") }

// read returns the reports.
func (dir raceLogs) read() (string, error) {
	names, err := filepath.Glob(filepath.Join(string(dir), "race.*"))
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		all.Write(text)
	}
	return all.String(), nil
}

// racing runs the tests of a package, and fails when one of the processes that they start reports a race.
type racing struct{ *testing.M }

func (r racing) Run() int {
	if !raceEnabled {
		return r.M.Run()
	}
	dir, err := os.MkdirTemp("", "races")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	logs := raceLogs(dir)
	if err := os.Setenv(raceVariable, strings.TrimSpace(os.Getenv(raceVariable)+" "+logs.option())); err != nil {
		panic(err)
	}
	code := r.M.Run()
	if text, err := logs.read(); err != nil || text != "" {
		fmt.Fprintf(os.Stdout, "FAIL: a process that was started has a data race: %v\n%s", err, text)
		return 1
	}
	return code
}

// notRaced skips a test under the race detector, which makes everything several times slower. Such a test runs no code of the
// product, or only code that other tests run with the detector, with the same concurrency.
func notRaced(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("runs without the race detector only")
	}
}

// race has a data race, and ends as a program does that has failed.
func race() {
	var wait sync.WaitGroup
	n := 0
	for range 2 {
		wait.Go(func() { n++ })
	}
	wait.Wait()
	os.Exit(3)
}

func TestARaceInAProcessIsFound(t *testing.T) {
	if !raceEnabled {
		t.Skip("only with the race detector")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	logs := raceLogs(t.TempDir())
	c := exec.CommandContext(patient(t), self)
	c.Args = []string{"fleetctl-race"} // the test binary is a program with a race when it is called so
	c.Env = append(os.Environ(), raceVariable+"="+logs.option())
	if exit, ok := errors.AsType[*exec.ExitError](c.Run()); !ok || exit.ExitCode() != 3 {
		t.Errorf("%v, want the exit code of the program", exit)
	}
	if text, err := logs.read(); err != nil || !strings.Contains(text, "WARNING: DATA RACE") {
		t.Errorf("a report is %q, %v", text, err)
	}
}
