package run

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/lease"
)

// A driver dies before its head counts a segment: its own record is resumed.
func TestARunThatDiedYoungIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		alice := operators(t, w, "alice")[0]
		dyingAt(t, alice, "n1")
		if h := find(t, w).Found.Head; h.Segments != 0 {
			t.Fatalf("its head counts a segment: %+v", h)
		}
		res, err := alice.resumes(t)
		if err != nil || res.Summary.Verdict != batch.Done || sentOnce(t, w) != 3 {
			t.Errorf("%v, %v, nodes got %q", res.Summary.Verdict, err, w.sent())
		}
	})
}

// The run of a plan that was claimed, and not shared, is shared from its resume on.
func TestAnAppliedPlanIsSharedByItsResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		plan := savedBy(t, w, slowly(restart()))
		alice := operators(t, w, "alice")[0]
		r, err := Request{Inputs: map[string]string{"token": "s3cret"}, Guards: Guards{Yes: true}}.FromPlan(plan, batch.Amount{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		alice.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindBatchEnd {
				cancel(errSignal)
			}
		}
		if res, err := Apply(ctx, alice.context(), r); err != nil || res.Summary.Verdict != batch.Interrupted {
			t.Fatal(res.Summary.Verdict, err)
		}
		alice.events.hook = nil
		s := alice.stored(t)
		again := alice.again(t, s, func(r *Request) { r.Shared.Mirror = true })
		res, err := Resume(t.Context(), alice.context(), again, s)
		if err != nil || res.Summary.Verdict != batch.Done || sentOnce(t, w) != 3 {
			t.Fatalf("%v, %v, nodes got %q", res.Summary.Verdict, err, w.sent())
		}
		if seen, err := find(t, w).Next(t.Context(), nil); err != nil || seen.Progress.Counts() != res.Summary.States {
			t.Errorf("elsewhere it is %+v, %v", seen.Progress.Counts(), err)
		}
	})
}

// What runs share is part of a saved plan: its run does not lose it on the way to another operator.
func TestASavedPlanKeepsWhatRunsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		operators(t, w, "alice")
		want := Shared{Locks: []string{"web"}, Mirror: true, Timeout: Wait{time.Hour, true}, MaxDown: lease.Limits{lease.All: 2}, BudgetWait: Wait{0, true}}
		r := restart()
		r.Shared = want
		plan := savedBy(t, w, r)
		got, err := Request{Inputs: map[string]string{"token": "s3cret"}, Guards: Guards{Yes: true}}.FromPlan(plan, batch.Amount{})
		if err != nil || !reflect.DeepEqual(got.Shared, want) {
			t.Errorf("got %+v, %v; want %+v", got.Shared, err, want)
		}
	})
}

// lockOf is the lock of a run, held by carol.
func lockOf(t *testing.T, w *world, run string) {
	t.Helper()
	if _, err := lease.Take(t.Context(), w.bucket, runLock+run, lease.Holder{Run: "r9", Caller: "up=carol"}, 30*time.Second); err != nil {
		t.Fatal(err)
	}
}

// The lock of a run is asked for by all that could send to its nodes: a dry run, too, and the resume of its retry.
func TestARetryNeedsTheLockOfItsRunOnEveryPath(t *testing.T) {
	for _, dry := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3")
			alice := operators(t, w, "alice")[0]
			first := dying(t, alice)
			s := alice.stored(t)
			lockOf(t, w, first.ID)
			r := alice.again(t, s, func(r *Request) { r.DryRun = dry })
			_, err := Retry(t.Context(), alice.context(), r, s, []batch.State{batch.NotSent})
			if text := refusal(t, err); !strings.Contains(text, "up=carol retries run "+first.ID) {
				t.Errorf("dry run %t: %s", dry, text)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3", "n4")
			alice := operators(t, w, "alice")[0]
			first := dying(t, alice)
			s := alice.stored(t)
			alice.leaves = func(string) { alice.away = true }
			slow := alice.again(t, s, func(r *Request) { *r = slowly(*r) })
			if _, err := Retry(t.Context(), alice.context(), slow, s, []batch.State{batch.NotSent}); err != nil {
				t.Fatal(err)
			}
			alice.leaves, alice.away = nil, false
			<-time.After(5 * time.Minute)
			lockOf(t, w, first.ID)
			before := len(w.sent())
			s = alice.stored(t)
			_, err := Resume(t.Context(), alice.context(), alice.again(t, s, func(r *Request) { r.DryRun = dry }), s)
			if text := refusal(t, err); !strings.Contains(text, "up=carol retries run "+first.ID) || len(w.sent()) != before {
				t.Errorf("the resume of a retry, dry run %t: %s, nodes got %q", dry, text, w.sent())
			}
		})
	}
}

// A dry run with --reply-to meets the lock that the run would be refused for.
func TestRepliesElsewhereAndALockAreRefusedInADryRun(t *testing.T) {
	for _, dry := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1")
			w.bucket, w.settings.Locks = newBucket(), []string{"web"}
			r := restart()
			r.ReplyTo, r.Record.Off, r.DryRun = "site.x", true, dry
			_, err := w.start(t.Context(), r)
			if text := refusal(t, err); !strings.Contains(text, "lock web cannot be held: replies go elsewhere") || len(w.sent()) > 0 {
				t.Errorf("dry run %t: %s", dry, text)
			}
		})
	}
}

// What an adopter asks for stands in the record that it continues.
func TestAnAdoptionRecordsItsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		ops := operators(t, w, "alice", "bob")
		dying(t, ops[0])
		s, err := find(t, w).Dead(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r := ops[1].again(t, s, func(r *Request) {
			r.Shared.MaxDown, r.Shared.BudgetWait, r.Shared.Timeout = lease.Limits{lease.All: 2}, Wait{0, true}, Wait{time.Hour, true}
		})
		if res, err := Adopt(t.Context(), ops[1].context(), r, s); err != nil || res.Summary.Verdict != batch.Done {
			t.Fatal(res.Summary.Verdict, err)
		}
		m := ops[1].stored(t).Meta
		kept := Shared{MaxDown: lease.Limits{lease.All: 9}}
		if kept.keep(m); m.MaxDown[lease.All] != 2 || kept.BudgetWait != (Wait{0, true}) || kept.Timeout != (Wait{time.Hour, true}) || kept.MaxDown[lease.All] != 9 {
			t.Errorf("the record has %v, and a resume takes over %+v", m.MaxDown, kept)
		}
	})
}
