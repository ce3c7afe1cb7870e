package cmd

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestTheCollectorFollowsWhatIsInUse(t *testing.T) {
	for used, want := range map[uint64]int{0: mostFree, 1 << 20: mostFree, 12 << 20: 200, 24 << 20: 100, 48 << 20: 50, 1 << 30: leastFree} {
		if got := freePercent(used); got != want {
			t.Errorf("%d MB in use: %d %%, want %d", used>>20, got, want)
		}
	}
}

// What the operator says counts.
func TestTheOperatorsCollectorIsRespected(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		environment{func(asked string) (string, bool) { return "50", asked == name }}.tuneCollector()
		runtime.GC()
		if got := debug.SetGCPercent(77); got != 77 {
			t.Errorf("with %s: %d %%", name, got)
		}
	}
}
