package cmd

import (
	"flag"
	"os"
	"runtime/debug"
	"testing"
)

// TestMain lets more of these tests run at once than there are processors: they wait for fleets that take seconds to
// act, and hardly compute. The flag wins where it is given.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "12"); err != nil {
			panic(err) // the testing package has always had this flag
		}
	}
	os.Exit(m.Run())
}

// TestGOGCOfTheOperatorWins is not parallel: the setting belongs to the process.
func TestGOGCOfTheOperatorWins(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	with := func(set bool) environment {
		return environment{func(name string) (string, bool) { return "200", set && name == "GOGC" }}
	}
	with(true).limitMemory()
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("with GOGC set: %d%%, want 77 unchanged", got)
	}
	with(false).limitMemory()
	if got := debug.SetGCPercent(77); got != 50 {
		t.Errorf("without GOGC: %d%%, want 50", got)
	}
}
