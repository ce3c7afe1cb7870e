package proof

import (
	"testing"
	"time"

	"fleetctl/batch"
)

// Virtual time stands still while the code runs, so two readings of the clock that ought to be one look equal there. Here
// the clock is the real one, and every proof needs several looks in a row.
func TestProofsHoldOnARealClock(t *testing.T) {
	t.Parallel()
	const settle = 1500 * time.Millisecond
	for _, a := range []Action{Shutdown, Restart} {
		t.Run(a.String(), func(t *testing.T) {
			t.Parallel()
			f := newFleet("a", "b", "c")
			var targets []batch.Target
			for name := range f.nodes {
				targets = append(targets, f.accepted(name, 0))
				if a == Shutdown {
					f.node(name, stop)
				} else {
					f.node(name, func(s *server) { s.start = time.Now().Add(3 * time.Second) })
				}
			}
			o := f.options(a)
			o.Settle, o.Timeout, o.LongestDelay = settle, 6*time.Second, time.Millisecond
			for name, p := range first(verify(t, o, group{targets: targets})) {
				if len(p) != 1 || p[0].Found != batch.Acted {
					t.Errorf("%s: %+v", name, p)
				}
			}
		})
	}
}

func first(p map[string][]batch.Proof, _ time.Duration) map[string][]batch.Proof { return p }
