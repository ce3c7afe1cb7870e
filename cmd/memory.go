package cmd

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// freeHeap is about how much memory, in bytes, is filled between two collections of garbage, and the bounds of that in
	// percent of what is in use: Go's own 100 % collects 30 times in a second in which 20,000 replies come, and lets a run
	// over 100,000 nodes take twice what it needs.
	freeHeap            = 48 << 20
	leastFree, mostFree = 40, 400
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
	watchCollector()
}

// watchCollector sets the pace each time that an object without a user is collected.
func watchCollector() {
	runtime.SetFinalizer(&struct{ _ [16]byte }{}, func(any) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		debug.SetGCPercent(freePercent(live[0].Value.Uint64()))
		watchCollector()
	})
}

// freePercent is what may be filled before the next collection, in percent of what is in use, in bytes.
func freePercent(used uint64) int {
	return int(min(max(100*freeHeap/max(used, 1), leastFree), mostFree))
}
