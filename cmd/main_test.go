package cmd

import (
	"flag"
	"os"
	"runtime/debug"
	"slices"
	"testing"
)

// raced is true under the race detector, which makes fleets, too, several times slower.
var raced = func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()

// large is how many nodes a test has that wants so many: fewer under the race detector.
func large(nodes int) int {
	if raced {
		return nodes * 2 / 5
	}
	return nodes
}

// TestMain lets more of these tests run at once than there are processors: they wait for fleets that take seconds to
// act, and hardly compute, but under the race detector. The flag wins where it is given. A process that a test starts as a
// broker is one.
func TestMain(m *testing.M) {
	if text := os.Getenv(peerVariable); text != "" {
		os.Exit(runPeer(text))
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		side := "12"
		if raced {
			side = "6"
		}
		if err := flag.Set("test.parallel", side); err != nil {
			panic(err) // the testing package has always had this flag
		}
	}
	os.Exit(m.Run())
}
