package world

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Sweeps: one kind of trouble, at every moment of a run.

// sweep plays a case and reports what the judge found, and the timeline with it.
func sweep(t *testing.T, name string, s *spec) report {
	t.Helper()
	r := playIn(t, s)
	if len(r.verdicts) > 0 {
		t.Errorf("%s: %s\n%s", name, strings.Join(r.verdicts, "; "), strings.Join(r.lines, "\n"))
	}
	return r
}

func TestDeathAtEveryAppend(t *testing.T) {
	for _, action := range []string{"restart", "shutdown", "reprovision"} {
		walked := 0
		for dieAt, over := 1, false; !over; dieAt++ {
			for keep := range deaths {
				s := healthy(action, 5, 1, 2)
				s.lives = []life{{kind: "begin", dieAt: dieAt, keep: keep}, {kind: "resume", gap: time.Second}}
				if action == "restart" { // of the others, what a silent node did cannot be proved later
					s.open, s.check = true, want("verified", 1, 2, 3, 4, 5)
				}
				r := sweep(t, fmt.Sprintf("%s dies at append %d (%d)", action, dieAt, keep), s)
				if over = r.seen["killed at an append"] == 0; over {
					break
				}
				walked++
			}
		}
		if walked < 30 {
			t.Errorf("%s: walked %d deaths only", action, walked)
		}
	}
}

// TestEndAtEverySend ends the process while a batch leaves, in each way that there is.
func TestEndAtEverySend(t *testing.T) {
	for n := 1; n <= 6; n++ {
		for how, do := range map[string]func(w *world){
			"kill": kill, "signal": func(w *world) { w.current.signal() }, "broker down: 2 s": outage(2 * time.Second),
		} {
			s := healthy("restart", 6, 3)
			s.lives = []life{{kind: "begin", events: []*event{at("send", n, 0, how, do)}}, {kind: "resume", gap: 30 * time.Second}}
			s.open, s.check = true, want("verified", 1, 2, 3, 4, 5, 6)
			sweep(t, fmt.Sprintf("%s at send %d", how, n), s)
		}
	}
}

// TestOutageInEveryPhase takes the broker away for a while; one resume ends with every node verified, where the outage is
// shorter than the looks at a node.
func TestOutageInEveryPhase(t *testing.T) {
	phases := map[string]struct {
		anchor string
		n      int
		delay  time.Duration
	}{
		"at the baseline": {"ask", 1, 0}, "at the second baseline": {"rec:batch-end", 1, 4 * time.Second}, "while sending": {"send", 2, 0},
		"at the replies": {"rec:outcomes", 1, 4 * time.Millisecond}, "at the proof": {"rec:replies", 1, 3 * time.Second},
		"at the first proof": {"rec:proofs", 1, 0}, "in the sleep": {"rec:batch-end", 1, time.Second},
	}
	for name, p := range phases {
		for _, d := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 5 * time.Minute} {
			for _, action := range []string{"restart", "shutdown"} {
				s := healthy(action, 6, 3)
				s.pace.Sleep = 6 * time.Second
				s.lives = []life{
					{kind: "begin", events: []*event{at(p.anchor, p.n, p.delay, "broker down: "+d.String(), outage(d))}},
					{kind: "resume", gap: 6 * time.Minute},
				}
				if action == "restart" && d <= 30*time.Second {
					s.open, s.check = true, want("verified", 1, 2, 3, 4, 5, 6)
				}
				sweep(t, fmt.Sprintf("%s, broker away for %v %s", action, d, name), s)
			}
		}
	}
}

// TestSignalAtEveryRecord interrupts a run at every record; a resume ends with every node verified.
func TestSignalAtEveryRecord(t *testing.T) {
	for _, kind := range []string{"rec:plan", "rec:baseline", "rec:intent", "rec:sent", "rec:outcomes", "rec:replies", "rec:proofs", "rec:batch-end"} {
		for n := 1; n <= 3; n++ {
			for _, d := range []time.Duration{0, 300 * time.Millisecond} {
				s := healthy("restart", 5, 2)
				s.lives = []life{
					{kind: "begin", events: []*event{at(kind, n, d, "signal: the first", func(w *world) {
						if w.current != nil {
							w.current.signal()
						}
					})}},
					{kind: "resume", gap: time.Second},
				}
				s.open, s.check = true, want("verified", 1, 2, 3, 4, 5)
				sweep(t, fmt.Sprintf("signal %v after %s %d", d, kind, n), s)
			}
		}
	}
}
