package world

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// playCommonIn runs a case of several operators in a bubble of its own.
func playCommonIn(t *testing.T, s *commonSpec) report {
	var out report
	synctest.Test(t, func(t *testing.T) {
		w := playCommon(t, s)
		w.mu.Lock()
		defer w.mu.Unlock()
		out = report{slices.Clone(w.verdicts), slices.Clone(w.lines), maps.Clone(w.seen)}
	})
	return out
}

// defaultCommon is how many cases of several operators `go test` runs.
const defaultCommon = 60

// TestOperators is the world of several operators: every seed is a case, and the judge finds nothing.
func TestOperators(t *testing.T) {
	if *oneSeed >= 0 {
		r := playCommonIn(t, commonFromSeed(uint64(*oneSeed)))
		t.Logf("timeline of seed %d:\n%s", *oneSeed, strings.Join(r.lines, "\n"))
		for _, v := range r.verdicts {
			t.Errorf("seed %d: %s", *oneSeed, v)
		}
		return
	}
	count := *seedCount / 10 // a case costs as much as ten of one operator
	if *seedCount == 0 {
		if count = defaultCommon; raceEnabled {
			count = 6
		}
	}
	var mu sync.Mutex // guards what follows
	next, last := *firstSeed, *firstSeed+count
	seen, faulty := map[string]int{}, map[uint64][]string{}
	t.Run("cases", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for {
					mu.Lock()
					seed := next
					next++
					mu.Unlock()
					if seed >= last {
						return
					}
					t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
						r := playCommonIn(t, commonFromSeed(seed))
						mu.Lock()
						defer mu.Unlock()
						for k, n := range r.seen {
							seen[k] += n
						}
						if len(r.verdicts) > 0 {
							faulty[seed] = r.verdicts
							for _, v := range r.verdicts {
								t.Errorf("seed %d: %s", seed, v)
							}
							t.Logf("again: go test ./internal/world -run 'TestOperators$' -seed %d\n%s", seed, strings.Join(r.lines, "\n"))
						}
					})
				}
			})
		}
	})
	t.Logf("%d seeds, %d of them faulty; what happened:\n%s", count, len(faulty), describe(seen))
	for _, seed := range slices.Sorted(maps.Keys(faulty)) {
		t.Logf("seed %d: %s", seed, strings.Join(faulty[seed], "; "))
	}
	if count >= defaultCommon {
		for _, what := range mustHappenCommonly {
			if seen[what] == 0 {
				t.Errorf("%q never happened in %d seeds", what, count)
			}
		}
	}
}

// mustHappenCommonly are the things without which the cases of several operators would not be varied enough.
var mustHappenCommonly = []string{
	"errand: begin", "errand: resume", "errand: retry", "errand: settle", "errand: adopt", "kill", "signal", "settled", "acted: restart", "acted: shutdown",
	"freeze: some nodes", "crash: some nodes", "does not come back", "record: intent", "adopted", "record: probed", "record: proofs", "record: paused",
	"streams: away", "streams: writes are not answered", "streams: no majority", "streams: slow", "streams: rolled back", "the brokers lost writes",
	"streams: cut off from one operator", "suspended: one operator", "waits: budget:", "the budget is full",
	"another process sends for run", "another process sends for web",
}
