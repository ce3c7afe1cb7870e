package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var calm = Pace{Sleep: 5 * time.Second, ReplyTimeout: 20 * time.Second}

// run runs to the end and checks that the journal says what the summary says.
func run(t *testing.T, r Runner, from Progress) Summary {
	t.Helper()
	s, err := r.Run(t.Context(), from)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	if tp, ok := r.Journal.(*tape); ok {
		p, err := Replay(tp.all())
		if err != nil {
			t.Fatalf("replay: %v", err)
		}
		again := p.Summary()
		if again.States != s.States || again.Verdict != s.Verdict || again.Stop != s.Stop || again.Ignored != s.Ignored || again.Late != s.Late {
			t.Errorf("replayed: %+v\nrun: %+v", again, s)
		}
		if diff := cmp.Diff(slices.Collect(s.Results()), slices.Collect(again.Results())); diff != "" {
			t.Errorf("results (-run +replayed):\n%s", diff)
		}
	}
	return s
}

func expect(t *testing.T, s Summary, v Verdict, states map[State]int) {
	t.Helper()
	if s.Verdict != v || s.States != CountsOf(states) {
		t.Errorf("got %s: %s (stop %q); want %s: %s", s.Verdict, counts(s.States), s.Stop.Reason, v, counts(CountsOf(states)))
	}
}

func TestRunVerifiesInsideTheSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{}
		w := &watcher{tape: tp}
		begin := time.Now()
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: tp, Observer: w, Pace: calm}, fleetPlan(30, Policy{Sizes: Sizes{Number(10)}}))
		expect(t, s, Done, map[State]int{Verified: 30})
		if took := time.Since(begin); took != 2*(5*time.Second+10*time.Millisecond)+10*time.Millisecond+2*time.Second {
			t.Errorf("took %v", took)
		}
		if w.early > 0 || w.records != len(tp.lines) {
			t.Errorf("%d records seen before they were kept; %d seen, %d kept", w.early, w.records, len(tp.lines))
		}
		if s.Batches[1].Request != "request-2" || s.Batches[2].States.Of(Verified) != 10 {
			t.Errorf("batches: %+v", s.Batches)
		}
		r, _ := resultOf(s.progress, "n7")
		if r.Baseline != "up since n7" || r.Replied.IsZero() || r.Proved.Sub(r.Replied) != 2*time.Second {
			t.Errorf("node: %+v", r)
		}
	})
}

func TestRunCountsLateReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.replyIn["n1"], f.replyIn["n2"], f.replyIn["n4"] = 22*time.Second, -1, 21*time.Second
		f.refuse["n4"] = true
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Journal: &tape{}, Pace: calm}, fleetPlan(6, Policy{Sizes: Sizes{Number(4)}}))
		expect(t, s, Failed, map[State]int{Accepted: 4, Refused: 1, NoReply: 1})
		if r, _ := resultOf(s.progress, "n1"); !r.Late || s.Late != 2 {
			t.Errorf("late: %+v, %d", r, s.Late)
		}
	})
}

func TestRunStopsSendingAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.perNode = 10 * time.Millisecond
		f.refuse["n1"], f.refuse["n2"] = true, true
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Journal: &tape{}, Pace: calm, Rules: Rules{MaxFailed: Number(2)}}, fleetPlan(50, Policy{}))
		expect(t, s, Stopped, map[State]int{Refused: 2, Accepted: len(f.delivered) - 2, NotSent: 50 - len(f.delivered)})
		if len(f.delivered) > 3 {
			t.Errorf("%d nodes saw the request", len(f.delivered))
		}
	})
}

func TestInterruptCollectsRepliesAndSendsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.replyIn["n2"] = 10 * time.Second
		interrupt := make(chan error, 1)
		time.AfterFunc(time.Second, func() { interrupt <- errors.New("interrupt signal received") })
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Journal: &tape{}, Pace: calm, Interrupt: interrupt}, fleetPlan(4, Policy{Sizes: Sizes{Number(2)}}))
		expect(t, s, Interrupted, map[State]int{Accepted: 2, NotSent: 2})
		if s.Stop.Reason != "interrupt signal received" {
			t.Errorf("reason %q", s.Stop.Reason)
		}
	})
}

func TestLostConnectionLeavesUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.replyIn["n2"] = 10 * time.Second
		lost := make(chan Link, 1)
		time.AfterFunc(time.Second, func() { lost <- Link{Gone: true, Err: errors.New("broker gone")} })
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Journal: &tape{}, Pace: calm, Link: lost}, fleetPlan(4, Policy{Sizes: Sizes{Number(2)}}))
		expect(t, s, Stopped, map[State]int{Accepted: 1, Unknown: 1, NotSent: 2})
		<-time.After(10 * time.Second) // the fake's reply must not outlive the bubble
	})
}

func TestDeadlineEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		pace := calm
		pace.Deadline = 7 * time.Second
		begin := time.Now()
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Journal: &tape{}, Pace: pace}, fleetPlan(6, Policy{Sizes: Sizes{Number(2)}}))
		expect(t, s, Stopped, map[State]int{Accepted: 4, NotSent: 2})
		if took := time.Since(begin); took != pace.Deadline || s.Stop.Kind != StopDeadline {
			t.Errorf("took %v, stop %+v", took, s.Stop)
		}
	})
}

func TestConfirmEachAsksBetweenBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		pace := calm
		pace.ConfirmEach = true
		f.refuse["n3"] = true
		var asked []Step
		confirm := func(ctx context.Context, p Step) (bool, error) {
			asked = append(asked, p)
			return p.Next < 3, nil
		}
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Journal: &tape{}, Pace: pace, Confirm: confirm}, fleetPlan(6, Policy{Sizes: Sizes{Number(2)}}))
		expect(t, s, Stopped, map[State]int{Accepted: 3, Refused: 1, NotSent: 2})
		if len(asked) != 2 || asked[0].Done != 1 || asked[0].Next != 2 || asked[0].Nodes != 2 || asked[0].Left != 4 || len(asked[0].Trouble) > 0 ||
			asked[0].Counts != CountsOf(map[State]int{Accepted: 2, Planned: 4}) {
			t.Fatalf("asked %+v", asked)
		}
		second := asked[1]
		if second.Last.Batch != 2 || second.Last.States != CountsOf(map[State]int{Accepted: 1, Refused: 1}) {
			t.Errorf("batch 2 came to %+v", second.Last)
		}
		if len(second.Trouble) != 1 || second.Trouble[0].Identity != "n3" || second.Trouble[0].Reason == "" {
			t.Errorf("trouble in batch 2: %+v", second.Trouble)
		}
	})
}

func TestInterruptEndsAPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		pace := calm
		pace.ConfirmEach = true
		interrupt := make(chan error, 1)
		confirm := func(ctx context.Context, p Step) (bool, error) {
			interrupt <- errors.New("interrupt")
			<-ctx.Done()
			return false, ctx.Err()
		}
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Journal: &tape{}, Pace: pace, Confirm: confirm, Interrupt: interrupt}, fleetPlan(4, Policy{Sizes: Sizes{Number(2)}}))
		expect(t, s, Interrupted, map[State]int{Accepted: 2, NotSent: 2})
	})
}

func TestEndedContextLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{}
		f.replyIn["n2"] = -1
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("no time")
		time.AfterFunc(time.Second, func() { cancel(gone) })
		begin := time.Now()
		s, err := Runner{Actor: f, Outcomes: f.outcomes, Journal: tp, Pace: calm}.Run(ctx, fleetPlan(4, Policy{Sizes: Sizes{Number(2)}}))
		if !errors.Is(err, gone) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		expect(t, s, Interrupted, map[State]int{Accepted: 1, Unknown: 1, NotSent: 2})
	})
}

func TestFailingJournalSendsNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		tp := &tape{dieAt: 3, keep: writeNothing} // plan and intent, sent; then the first replies
		w := &watcher{tape: tp}
		s, err := Runner{Actor: f, Outcomes: f.outcomes, Journal: tp, Observer: w, Pace: calm}.Run(t.Context(), fleetPlan(4, Policy{Sizes: Sizes{Number(2)}}))
		if !errors.Is(err, errDead) {
			t.Errorf("error %v", err)
		}
		expect(t, s, Fault, map[State]int{Unknown: 2, NotSent: 2})
		if want := []Kind{KindPlan, KindIntent, KindSent}; !slices.Equal(w.kinds(), want) {
			t.Errorf("observed %v, want %v: an outcome is shown after it is recorded", w.kinds(), want)
		}
		p, err := Replay(tp.all())
		if err != nil || p.Counts() != s.States {
			t.Errorf("replayed %v, %v", p.Counts(), err)
		}
		<-time.After(time.Second)
	})
}

func TestRepliesThatAreInAreKeptAsOneGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{sync: 5 * time.Millisecond}
		from := fleetPlan(400, Policy{})
		for r := range from.Results() {
			f.replyIn[r.Identity] = time.Second
		}
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Journal: tp, Pace: calm}, from)
		expect(t, s, Done, map[State]int{Accepted: 400})
		if tp.appends > 8 {
			t.Errorf("%d appends for 400 replies at once", tp.appends)
		}
	})
}

// A reply that comes alone waits a moment for others, but no longer than groupTime, and nothing else waits for it.
func TestRepliesAndProofsThatTrickleAreKeptInGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{}
		from := fleetPlan(4000, Policy{})
		w := &punctual{}
		begin := time.Now()
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: tp, Observer: w, Pace: calm}, from)
		expect(t, s, Done, map[State]int{Verified: 4000})
		if took := time.Since(begin); took != 4*time.Second+f.proofIn {
			t.Errorf("took %v", took)
		}
		if most := int(2*6*time.Second/groupTime) + 10; tp.appends > most {
			t.Errorf("%d appends, want at most %d", tp.appends, most)
		}
		if w.worst > groupTime || w.worst == 0 {
			t.Errorf("a reply or proof was kept after %v", w.worst)
		}
	})
}

// punctual measures how long replies and proofs waited to be kept.
type punctual struct{ worst time.Duration }

func (p *punctual) Observe(r Record) {
	for _, o := range r.Outcomes {
		p.worst = max(p.worst, time.Since(o.Time))
	}
	for _, o := range r.Proofs {
		p.worst = max(p.worst, time.Since(o.Time))
	}
}

func TestStrangeRepliesAreKeptHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.replyIn["n1"] = -1
		in := make(chan Outcome, 3)
		in <- Outcome{Batch: 1, Node: "n1", OK: true, Reason: "bad \xff", Stamp: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}
		in <- Outcome{Batch: 9, Node: "n1", OK: true}
		in <- Outcome{Batch: 1, Node: "", OK: true}
		s := run(t, Runner{Actor: f, Outcomes: in, Journal: &tape{}, Pace: calm}, fleetPlan(1, Policy{}))
		expect(t, s, Done, map[State]int{Accepted: 1})
		if s.Ignored != 2 {
			t.Errorf("ignored %d, want 2", s.Ignored)
		}
	})
}

func TestRunnerRefusesWhatCannotRun(t *testing.T) {
	from := fleetPlan(1, Policy{})
	confirm := calm
	confirm.ConfirmEach = true
	for name, r := range map[string]Runner{
		"no actor": {Pace: calm}, "no reply timeout": {Actor: newFleet()}, "no way to ask": {Actor: newFleet(), Pace: confirm},
		"bad rule": {Actor: newFleet(), Pace: calm, Rules: Rules{MaxFailed: Number(-1)}},
	} {
		if _, err := r.Run(t.Context(), from); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := (Runner{Actor: newFleet(), Pace: calm}).Run(t.Context(), Progress{}); err == nil {
		t.Error("no plan: no error")
	}
}

func TestIntentIsDurableBeforeTheRequestLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{sync: 5 * time.Millisecond}
		f.recorded = tp.intended
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Journal: tp, Pace: calm}, fleetPlan(6, Policy{Sizes: Sizes{Number(2)}}))
		expect(t, s, Done, map[State]int{Accepted: 6})
		if len(f.unlawful) > 0 {
			t.Errorf("sent before the intent was on disk: %v", f.unlawful)
		}
	})
}

// listening is a fleet that is sent to only once its outcomes have a listener.
type listening struct {
	*fleet
	begun chan struct{}
}

func (l listening) Act(ctx context.Context, batch int, nodes []string) error {
	<-l.begun
	return l.fleet.Act(ctx, batch, nodes)
}

func (l listening) Verify(ctx context.Context, in <-chan []Target) iter.Seq[Proof] {
	close(l.begun)
	return l.fleet.Verify(ctx, in)
}

// A batch may be wholly silent, and its nodes act anyway: what shows that comes long before the silence is certain.
func TestTheVerifierListensFromTheFirstSendingOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listening{newFleet(), make(chan struct{})}
		for i := range 3 {
			l.replyIn[fmt.Sprintf("n%d", i+1)] = -1
		}
		s := run(t, Runner{Actor: l, Outcomes: l.outcomes, Verifier: l, Journal: &tape{}, Pace: calm}, fleetPlan(3, Policy{}))
		expect(t, s, Done, map[State]int{Verified: 3})
	})
}
