package run

import (
	"context"
	"testing"
	"testing/synctest"

	"fleetctl/batch"
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
