package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// doorman is an Admitter.
type doorman struct {
	mu        sync.Mutex // guards asked and dismissed
	admit     func(asked int) (after time.Duration, err error)
	asked     [][]string
	dismissed [][]string
}

func (d *doorman) Admit(ctx context.Context, nodes []string, waiting func(string)) error {
	d.mu.Lock()
	d.asked = append(d.asked, nodes)
	after, err := d.admit(len(d.asked))
	d.mu.Unlock()
	if after > 0 {
		waiting("lock web")
	}
	select {
	case <-time.After(after):
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *doorman) Dismiss(nodes []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dismissed = append(d.dismissed, nodes)
}

// pauses are the records of pauses, in words.
func pauses(t *testing.T, tp *tape) (words []string) {
	t.Helper()
	for line, err := range tp.all() {
		r, derr := decodeRecord(line)
		if err != nil || derr != nil {
			t.Fatal(err, derr)
		}
		if r.Kind == KindPaused || r.Kind == KindContinued {
			words = append(words, string(r.Kind)+" "+r.By)
		}
	}
	return words
}

func TestNothingIsSentBeforeItIsAdmitted(t *testing.T) {
	for _, rolling := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, tp := newFleet(), &tape{}
			d := &doorman{admit: func(asked int) (time.Duration, error) {
				if asked == 2 {
					return time.Minute, nil
				}
				return 0, nil
			}}
			r := Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: tp, Pace: calm, Admitter: d}
			r.Pace.SilentHold = time.Minute
			var early atomic.Int64
			time.AfterFunc(50*time.Second, func() { early.Store(int64(f.count("n3"))) })
			s := run(t, r, fleetPlan(4, Policy{Sizes: Sizes{Number(2)}, Rolling: rolling}))
			expect(t, s, Done, map[State]int{Verified: 4})
			if early.Load() != 0 {
				t.Error("sent to before it was admitted")
			}
			if got := pauses(t, tp); !slices.Equal(got, []string{"paused lock web", "continued lock web"}) {
				t.Errorf("pauses %q", got)
			}
			if len(d.dismissed) != 0 {
				t.Errorf("dismissed %v", d.dismissed)
			}
		})
	}
}

func TestARefusedAdmissionStopsTheRun(t *testing.T) {
	for _, proved := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet()
			d := &doorman{admit: func(asked int) (time.Duration, error) {
				if asked == 2 {
					return 0, errors.New("lock web was taken by bob")
				}
				return 0, nil
			}}
			r := Runner{Actor: f, Outcomes: f.outcomes, Journal: &tape{}, Pace: calm, Admitter: d}
			succeeded := Accepted
			if proved {
				r.Verifier, succeeded = f, Verified
			}
			s := run(t, r, fleetPlan(4, Policy{Sizes: Sizes{Number(2)}}))
			expect(t, s, Stopped, map[State]int{succeeded: 2, NotSent: 2})
			if s.Stop.Rule != ruleShared || s.Reason != "lock web was taken by bob" {
				t.Errorf("stop %+v", s.Stop)
			}
		})
	}
}

func TestAPauseTakesTheAdmissionBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		d := &doorman{admit: func(asked int) (time.Duration, error) { return map[int]time.Duration{1: time.Hour}[asked], nil }}
		control := make(chan Control, 1)
		time.AfterFunc(time.Minute, func() { control <- Control{Pause: true, By: "alice"} })
		time.AfterFunc(2*time.Minute, func() { control <- Control{By: "alice"} })
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: &tape{}, Pace: calm, Admitter: d, Control: control}, fleetPlan(2, Policy{}))
		expect(t, s, Done, map[State]int{Verified: 2})
		if len(d.asked) != 2 || len(d.dismissed) != 1 || len(d.dismissed[0]) != 2 {
			t.Errorf("asked %v, dismissed %v", d.asked, d.dismissed)
		}
	})
}

// A budget hears from the observers which nodes are up again, so they must know before it is asked about the next ones,
// however slow the disk is.
func TestWhatLeftIsObservedBeforeTheNextIsAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, seen := newFleet(), make(chan struct{}, 3)
		d := &doorman{admit: func(asked int) (time.Duration, error) {
			synctest.Wait() // the disk takes longer
			if got := len(seen); got != asked-1 {
				t.Errorf("%d nodes are observed to be up when node %d is asked for", got, asked)
			}
			return 0, nil
		}}
		r := Runner{Actor: f, Outcomes: f.outcomes, Journal: &tape{sync: 10 * time.Millisecond}, Pace: calm, Admitter: d, Observer: observing(func(r Record) {
			for range r.Outcomes {
				seen <- struct{}{}
			}
		})}
		r.Pace.Sleep, r.Pace.SilentHold = 0, time.Minute // the next one is asked for at once
		s := run(t, r, fleetPlan(3, Policy{Sizes: Sizes{Number(1)}, Rolling: true}))
		expect(t, s, Done, map[State]int{Accepted: 3})
		if len(d.asked) != 3 {
			t.Errorf("asked %v", d.asked)
		}
	})
}

type observing func(Record)

func (o observing) Observe(r Record) { o(r) }

// again is an actor that cannot send for a while.
type again struct {
	*fleet
	times int
}

func (a *again) Act(ctx context.Context, batch int, nodes []string) error {
	if a.times--; a.times >= 0 {
		return &NotSentError{Err: errors.New("the lock is not confirmed"), Again: true}
	}
	return a.fleet.Act(ctx, batch, nodes)
}

func TestABatchThatWasTooLateIsSentAgain(t *testing.T) {
	for _, rolling := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, tp := &again{newFleet(), 3}, &tape{}
			d := &doorman{admit: func(int) (time.Duration, error) { return time.Second, nil }}
			r := Runner{Actor: a, Outcomes: a.outcomes, Verifier: a, Journal: tp, Pace: calm, Admitter: d}
			r.Pace.SilentHold = time.Minute
			s := run(t, r, fleetPlan(6, Policy{Sizes: Sizes{Number(2)}, Rolling: rolling}))
			expect(t, s, Done, map[State]int{Verified: 6})
			for _, n := range []string{"n1", "n2", "n5"} {
				if got := a.count(n); got != 1 {
					t.Errorf("rolling %v: %s was sent to %d times", rolling, n, got)
				}
			}
			if len(d.asked) < 6 {
				t.Errorf("asked %d times", len(d.asked))
			}
			again, err := Replay(tp.all())
			if err != nil || again.Summary().Verdict != Done {
				t.Errorf("replayed: %+v, %v", again.Summary(), err)
			}
		})
	}
}
