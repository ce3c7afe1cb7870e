package batch

import (
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// An operator's pause is another one than a wait of the run itself, and works in the middle of such a wait. The name of the
// operator does not matter.
func TestAnOperatorPausesARunThatWaits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		holds  func(r *Runner, f *fleet, tp *tape)
		paused bool // it still waits while it is paused
	}{
		{"for a gate", func(r *Runner, f *fleet, tp *tape) {
			*r = gated(f, &keeper{rounds: func(int, Moment) ([]GateRound, error) {
				return append(slices.Repeat([]GateRound{gateWaits}, 200), gatePasses), nil
			}}, tp)
		}, false},
		{"for what operators share", func(r *Runner, _ *fleet, _ *tape) {
			r.Admitter = &doorman{admit: func(int) (time.Duration, error) { return 5 * time.Minute, nil }}
		}, false},
		{"for its hours", func(r *Runner, _ *fleet, _ *tape) { r.Pace.Within = "01:00-02:00 UTC" }, true},
	} {
		for _, by := range []string{"ann", "gate"} {
			for _, rolling := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					f, tp, control := newFleet(), &tape{}, make(chan Control)
					r := Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: tp, Pace: calm}
					tt.holds(&r, f, tp)
					r.Control, r.Pace.SilentHold = control, time.Minute
					look := func(when string, paused, waits bool) {
						<-time.After(time.Minute)
						p, err := Follow(tp.all())
						if err != nil || p.Paused() != paused || p.Summary().Paused != paused || p.Waits() != waits {
							t.Errorf("%s, %s by %q, rolling %v: paused %v, waits %v, %v", when, tt.name, by, rolling, p.Paused(), p.Waits(), err)
						}
					}
					go func() {
						look("at first", false, true)
						control <- Control{Pause: true, By: by}
						look("after the pause", true, tt.paused)
						control <- Control{By: by}
						look("after the continuation", false, true)
					}()
					s := run(t, r, fleetPlan(2, Policy{Rolling: rolling, Sizes: Sizes{Number(2)}}))
					expect(t, s, Done, map[State]int{Verified: 2})
					if p, err := Replay(tp.all()); err != nil || p.Paused() || p.Waits() {
						t.Errorf("%s: the run has ended, and paused %v, waits %v, %v", tt.name, p.Paused(), p.Waits(), err)
					}
				})
			}
		}
	}
}

// Records of earlier programs do not say what a pause comes from.
func TestPausesOfEarlierRecords(t *testing.T) {
	plan, err := NewPlan([]Node{{Identity: "n1"}}, Policy{})
	if err != nil {
		t.Fatal(err)
	}
	begin := Record{Kind: KindPlan, Begin: &Beginning{Plan: &plan}}
	for _, tt := range []struct {
		name          string
		records       []Record
		paused, waits bool
	}{
		{"a gate", []Record{{Kind: KindPaused, By: "gate"}}, false, true},
		{"a gate that passed", []Record{{Kind: KindPaused, By: "gate"}, {Kind: KindContinued, By: "gate"}}, false, false},
		{"an operator after a gate", []Record{{Kind: KindPaused, By: "gate"}, {Kind: KindPaused, By: "ann"}}, true, false},
		{"and continued", []Record{{Kind: KindPaused, By: "gate"}, {Kind: KindPaused, By: "ann"}, {Kind: KindContinued, By: "bob"}}, false, false},
		{"two waits, of which one ended", []Record{{Kind: KindPaused, From: ByGate}, {Kind: KindPaused, From: ByShared}, {Kind: KindContinued, From: ByGate}}, false, true},
		{"resumed", []Record{{Kind: KindPaused, By: "ann"}, {Kind: KindResumed, Begin: &Beginning{}}}, false, false},
	} {
		p, err := Follow(encoded(t, append([]Record{begin}, tt.records...)))
		if err != nil || p.Paused() != tt.paused || p.Waits() != tt.waits {
			t.Errorf("%s: paused %v, waits %v, %v", tt.name, p.Paused(), p.Waits(), err)
		}
	}
}

// encoded are the lines of records.
func encoded(t *testing.T, records []Record) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, r := range records {
			line, err := encodeRecord(r)
			if err != nil {
				t.Fatal(err)
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}
