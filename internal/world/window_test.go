package world

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"fleetctl/batch"
)

var large = flag.Bool("large", false, "time 10,000 nodes, 1 % of them frozen, in batches and in a window of 100")

// rolling is a case of healthy nodes in three racks, in a window.
func rolling(action string, nodes int, sizes ...int) *spec {
	s := healthy(action, nodes, sizes...)
	s.policy.Rolling, s.racks = true, 3
	return s
}

// TestWindowDeathAtEveryAppend kills a rolling run at each of its appends; a resume continues it.
func TestWindowDeathAtEveryAppend(t *testing.T) {
	for _, action := range []string{"restart", "shutdown"} {
		walked := 0
		for dieAt, over := 1, false; !over; dieAt++ {
			for keep := range deaths {
				s := rolling(action, 6, 1, 3)
				s.policy.MaxPer = []batch.MaxPer{{Fact: "rack", N: 1}}
				s.lives = []life{{kind: "begin", dieAt: dieAt, keep: keep}, {kind: "resume", gap: time.Second}}
				if action == "restart" {
					s.open, s.check = true, want("verified", 1, 2, 3, 4, 5, 6)
				}
				r := sweep(t, fmt.Sprintf("window: %s dies at append %d (%d)", action, dieAt, keep), s)
				if over = r.seen["killed at an append"] == 0; over {
					break
				}
				walked++
			}
		}
		if walked < 40 {
			t.Errorf("%s: walked %d deaths only", action, walked)
		}
	}
}

// TestWindowEndAtEverySend ends or holds up a rolling run while it sends.
func TestWindowEndAtEverySend(t *testing.T) {
	hold := func(w *world) {
		p := w.current
		p.hold(true)
		w.after(20*time.Second, func() { p.hold(false) })
	}
	for n := 1; n <= 8; n++ {
		for how, do := range map[string]func(w *world){
			"kill": kill, "signal": func(w *world) { w.current.signal() }, "broker down: 2 s": outage(2 * time.Second), "pause: 20 s": hold,
		} {
			for _, delay := range []time.Duration{0, 3 * time.Second} {
				s := rolling("restart", 8, 3)
				s.policy.Canary, s.policy.SpreadBy = 1, "rack"
				s.lives = []life{{kind: "begin", events: []*event{at("send", n, delay, how, do)}}, {kind: "resume", gap: 30 * time.Second}}
				s.open, s.check = true, want("verified", 1, 2, 3, 4, 5, 6, 7, 8)
				sweep(t, fmt.Sprintf("window: %s %v after send %d", how, delay, n), s)
			}
		}
	}
}

// TestWindowSilentNodes: frozen nodes hold slots and not the run, and their slots come back.
func TestWindowSilentNodes(t *testing.T) {
	s := rolling("restart", 12, 3)
	s.pace.Sleep, s.open = 0, true
	s.lives = []life{{kind: "begin", events: []*event{at("life", 1, 0, "freeze for good: three nodes", of((*node).freeze, 1, 2, 3))}}}
	s.check = func(c *caseRun) {
		want("no-reply", 1, 2, 3)(c)
		want("verified", 4, 5, 6, 7, 8, 9, 10, 11, 12)(c)
		for i, r := range c.last.Batches {
			if waited := r.Sent.Sub(c.w.begin); i > 0 && waited < s.pace.SilentHold {
				c.w.violated("batch %d is sent after %v: the slots of silent nodes are kept for %v", r.Batch, waited, s.pace.SilentHold)
			}
		}
	}
	sweep(t, "window: silent nodes", s)
}

// TestWindowOfTenThousand prints how long a large run takes in each mode. -large asks for it: it takes a minute or two.
func TestWindowOfTenThousand(t *testing.T) {
	if !*large {
		t.Skip("-large")
	}
	for _, mode := range []string{"in a window", "in batches"} {
		for _, c := range []struct {
			frozen int
			mute   bool
			what   string
		}{{0, false, "healthy"}, {100, false, "1 % frozen, and absent when their broker gives up"}, {100, true, "1 % silent for good"}} {
			frozen := c.frozen
			s := healthy("restart", 10_000, 100)
			s.mute503 = c.mute
			s.policy.Rolling = mode == "in a window"
			s.open, s.unjudged, s.verifyTimeout = true, true, time.Minute
			s.pace.VerifyTimeout, s.pace.ReplyTimeout, s.pace.SilentHold = time.Minute, 22*time.Second, 101*time.Second
			s.lives = []life{{kind: "begin", events: []*event{at("life", 1, 0, "freeze for good: some", func(w *world) {
				for i := range frozen {
					w.nodes[i*100+i%100].freeze()
				}
			})}}}
			what := c.what
			s.check = func(c *caseRun) {
				sum := c.last
				t.Logf("10,000 nodes %s of 100, %s: %v, %d requests, %s", mode, what, sum.Ended.Sub(sum.Started).Round(time.Second),
					len(sum.Batches), statesOf(sum.States))
				if sum.States.Of(batch.Verified) != 10_000-frozen {
					c.w.violated("%d of 10,000 nodes are verified", sum.States.Of(batch.Verified))
				}
			}
			sweep(t, mode, s)
		}
	}
}
