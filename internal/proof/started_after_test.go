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

// TestARequestThatLeftSlowly: requests of a batch left between its intent and its flush. A process that began in between may be
// the work of any of them: its node is neither untouched nor proved, unless its reply says more.
func TestARequestThatLeftSlowly(t *testing.T) {
	sent := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	left := sent.Add(12 * time.Second)
	v := New(Options{Action: Restart})
	b := baseline{start: sent.Add(-time.Hour).Unix(), clock: sent.Add(-time.Second), asked: sent.Add(-time.Second), took: time.Millisecond}
	polled := sent.Add(time.Minute)
	for _, tt := range []struct {
		began   time.Duration // after the intent
		replied bool          // in the first second
		want    order
	}{
		{-time.Minute, false, before},
		{3 * time.Second, false, unclear},
		{3 * time.Second, true, after},
		{20 * time.Second, false, after},
	} {
		target := batch.Target{Node: "a", Baseline: b.text(), Sent: sent, Left: left}
		if tt.replied {
			target.Replied, target.Stamp = sent.Add(time.Second), sent.Add(time.Second+time.Millisecond)
		}
		l := look{start: sent.Add(tt.began).Unix(), clock: polled, asked: polled, received: polled.Add(time.Millisecond)}
		if got := v.began(pastOf(target), l, true); got != tt.want {
			t.Errorf("began %s after the intent, replied %t: %v, want %v", tt.began, tt.replied, got, tt.want)
		}
	}
}
