package world

import (
	"maps"
	"slices"
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

// TestOperators is the world of several operators: every seed is a case, and the judge finds nothing.
func TestOperators(t *testing.T) {
	cases{
		play: func(t *testing.T, seed uint64) report { return playCommonIn(t, commonFromSeed(seed)) },
		cost: 10, normal: 60, raced: 6, must: mustHappenCommonly,
	}.run(t)
}

// mustHappenCommonly are the things without which the cases of several operators would not be varied enough.
var mustHappenCommonly = []string{
	"errand: begin", "errand: resume", "errand: retry", "errand: settle", "errand: adopt", "kill", "a dead process holds a lock", "signal", "settled", "acted: restart", "acted: shutdown",
	"freeze: some nodes", "crash: some nodes", "does not come back", "record: intent", "adopted", "record: probed", "record: proofs", "record: paused",
	"streams: away", "streams: writes are not answered", "streams: no majority", "streams: slow", "streams: rolled back", "the brokers lost writes",
	"streams: cut off from one operator", "suspended: one operator", "waits: budget:", "the budget is full",
	"another process sends for run", "another process sends for web",
}
