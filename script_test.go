package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"fleetctl/cmd"
)

// TestMain lets scripts run the real program: the test binary is fleetctl when it is called so.
func TestMain(m *testing.M) {
	programs := map[string]func(){"fleetctl-parse": parseOnly, "fleetctl-race": race}
	for _, name := range programNames {
		programs[name] = func() {
			beforeMain()
			os.Exit(cmd.Main(os.Args[1:]))
		}
	}
	if programs[filepath.Base(os.Args[0])] == nil {
		waitSideBySide()
	}
	testscript.Main(racing{m}, programs)
}

// beforeMain runs in the process of the program, before its Main: the soak takes its samples there.
var beforeMain = func() {}

// programNames are the names of the program.
var programNames = []string{"fleetctl", "choria-fleetctl"}

// waitSideBySide lets more of these tests run at once than there are processors: they wait for fleets that take seconds
// to act, and hardly compute. The flag wins where it is given.
func waitSideBySide() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return
	}
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err) // the testing package has always had this flag
	}
}

// TestScripts runs testdata/script/*.txtar: the whole program against a lab, as an operator or a script would.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, scripts("testdata/script"))
}

// scripts are the scripts of a folder.
func scripts(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		// Programs that hang are ended. The scripts of a folder wait for each other, and under the race detector they
		// take minutes.
		Deadline: time.Now().Add(5 * patience),
		Cmds:     map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(e *testscript.Env) error {
			// Nothing of the machine's own setup may leak in: neither its configuration nor its colors.
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("USER", "operator")
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/config")
			e.Setenv(raceVariable, os.Getenv(raceVariable))
			return nil
		},
	}
}

// exits runs a program and demands an exit code: exits 3 fleetctl req ...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ended with exit code %d, want %d", args[1], got, want)
	}
}
