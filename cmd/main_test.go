package cmd

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets more of these tests run at once than there are processors: they wait for fleets that take seconds to
// act, and hardly compute. The flag wins where it is given. A process that a test starts as a broker is one.
func TestMain(m *testing.M) {
	if text := os.Getenv(peerVariable); text != "" {
		os.Exit(runPeer(text))
	}
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
