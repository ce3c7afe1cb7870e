package cmd

import (
	"runtime"
	"runtime/debug"
)

const (
	// freeHeap is about how much memory, in bytes, is filled between two collections of garbage, and leastFree and mostFree
	// bound that in percent of what is in use. Less collects 30 times in a second in which 20,000 replies come; more lets a
	// run over 100,000 nodes take twice what it needs, and fresh memory is not free either.
	freeHeap            = 24 << 20
	leastFree, mostFree = 40, 200
)

// tuneCollector adapts the pace of collections to what is in use, from now on and after each of them. What the operator
// says (GOGC, GOMEMLIMIT) counts instead.
func (e environment) tuneCollector() {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if _, said := e.getenv(name); said {
			return
		}
	}
	debug.SetGCPercent(mostFree)
	watchCollector(mostFree)
}

// watchCollector sets the pace each time that an object without a user is collected. percent is the pace until then.
func watchCollector(percent int) {
	runtime.SetFinalizer(&struct{ _ [16]byte }{}, func(any) {
		next := freePercent(inUse(percent))
		debug.SetGCPercent(next)
		watchCollector(next)
	})
}

// inUse is how many bytes the last collection found in use. The runtime reports the size at which it collects again, which
// is that and percent of it. (Package runtime/metrics knows it as well, but every start pays for its tables.)
func inUse(percent int) uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.NextGC * 100 / uint64(100+percent)
}

// freePercent is what may be filled before the next collection, in percent of what is in use, in bytes.
func freePercent(used uint64) int {
	return int(min(max(100*freeHeap/max(used, 1), leastFree), mostFree))
}
