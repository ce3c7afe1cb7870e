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
	cases{
		play: func(t *testing.T, seed uint64) report { return playIn(t, fromSeed(seed)) },
		cost: 1, normal: 200, raced: 20, must: mustHappen,
	}.run(t)
}

// cases are worlds that are made from seeds.
type cases struct {
	play          func(t *testing.T, seed uint64) report
	cost          uint64   // of one case, in those of one operator: so many fewer run for -seeds
	normal, raced uint64   // how many run without -seeds, and with the race detector
	must          []string // what happens at least once in a normal run
}

// run plays the cases, or the one that -seed names.
func (c cases) run(t *testing.T) {
	if *oneSeed >= 0 {
		r := c.play(t, uint64(*oneSeed))
		t.Logf("timeline of seed %d:\n%s", *oneSeed, strings.Join(r.lines, "\n"))
		for _, v := range r.verdicts {
			t.Errorf("seed %d: %s", *oneSeed, v)
		}
		return
	}
	count := *seedCount / c.cost
	if *seedCount == 0 {
		if count = c.normal; raceEnabled {
			count = c.raced
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
						r := c.play(t, seed)
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
	if count >= c.normal {
		for _, what := range c.must {
			if seen[what] == 0 {
				t.Errorf("%q never happened in %d seeds", what, count)
			}
		}
	}
}

func complain(t *testing.T, seed uint64, r report) {
	for _, v := range r.verdicts {
		t.Errorf("seed %d: %s", seed, v)
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	t.Logf("again: go test ./internal/world -run '%s$' -seed %d\n%s", name, seed, strings.Join(r.lines, "\n"))
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
