package world

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

var (
	seedCount = flag.Uint64("seeds", 0, "how many seeds to run; 0: 200, with the race detector 20")
	firstSeed = flag.Uint64("from", 0, "the first seed")
	oneSeed   = flag.Int64("seed", -1, "run this seed alone and print its timeline")
)

// defaultSeeds is what `go test` runs.
const defaultSeeds = 200

// report is what came of a case.
type report struct {
	verdicts, lines []string
	seen            map[string]int
}

// playIn runs a case in a bubble of its own.
func playIn(t *testing.T, s *spec) report {
	var out report
	synctest.Test(t, func(t *testing.T) {
		w := play(t, s)
		w.mu.Lock()
		defer w.mu.Unlock()
		out = report{slices.Clone(w.verdicts), slices.Clone(w.lines), maps.Clone(w.seen)}
	})
	return out
}

// TestSeeds is the world: every seed is a case, and the judge finds nothing.
func TestSeeds(t *testing.T) {
	if *oneSeed >= 0 {
		r := playIn(t, fromSeed(uint64(*oneSeed)))
		t.Logf("timeline of seed %d:\n%s", *oneSeed, strings.Join(r.lines, "\n"))
		for _, v := range r.verdicts {
			t.Errorf("seed %d: %s", *oneSeed, v)
		}
		return
	}
	count := *seedCount
	if count == 0 {
		if count = defaultSeeds; raceEnabled {
			count = 20
		}
	}
	var mu sync.Mutex // guards what follows
	next, last := *firstSeed, *firstSeed+count
	seen := map[string]int{}
	faulty := map[uint64][]string{}
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
						r := playIn(t, fromSeed(seed))
						mu.Lock()
						defer mu.Unlock()
						for k, n := range r.seen {
							seen[k] += n
						}
						if len(r.verdicts) > 0 {
							faulty[seed] = r.verdicts
							complain(t, seed, r)
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
	if count >= defaultSeeds {
		for _, what := range mustHappen {
			if seen[what] == 0 {
				t.Errorf("%q never happened in %d seeds", what, count)
			}
		}
	}
}

func complain(t *testing.T, seed uint64, r report) {
	if knownFaulty {
		return
	}
	for _, v := range r.verdicts {
		t.Errorf("seed %d: %s", seed, v)
	}
	t.Logf("again: go test ./internal/world -run 'TestSeeds$' -seed %d\n%s", seed, strings.Join(r.lines, "\n"))
}

// mustHappen are the things without which the seeds would not be varied enough.
var mustHappen = []string{
	"freeze", "freeze for good", "crash", "restart by hand", "disconnect", "silent network", "power lost", "clock step", "another operator",
	"broker down", "every broker down", "suspended", "kill", "signal", "second signal", "noise", "killed at an append", "died before the plan",
	"resumed on a lagging copy", "life: begin", "life: resume", "life: retry", "real signatures and files",
	"connection lost", "connection back", "no connection at the start", "pings gave up", "action reaches a frozen node", "action sent to an absent node",
	"too old for a node", "second action while one is pending", "refused", "does not come back", "token expired",
	"reply lost", "reply late", "reply duplicated", "forged reply", "acted: restart", "acted: shutdown", "acted: reprovision", "acted: release_update",
	"update: reply dropped", "update: rolled back", "update: another version",
	"withdrawn", "requeued", "lost while sending", "proofs: acted", "proofs: unproved", "probed: acted", "probed: untouched", "probed: unproved",
	"stopped: rule max-failed", "stopped: rule max-no-reply", "stopped: rule max-failed-batch", "stopped: rule max-no-reply-batch",
	"stopped: rule whole-batch", "stopped: rule in-a-row", "stopped: deadline ", "stopped: signal ", "stopped: gate ", "gates passed", "gates inconclusive", "gates failed",
	"verdict: interrupted", "verdict: stopped", "verdict: uncertain", "verdict: failed", "verdict: silent", "verdict: done",
	"a rolling window", "slots", "hours", "skipped", "last: begun", "window: sent beside others", "window: full", "window: a value is full", "window: resumed beside open nodes",
	"state: verified", "state: refused", "state: unknown", "state: unverified", "state: no-reply",
}
