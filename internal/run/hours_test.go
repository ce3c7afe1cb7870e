package run

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
)

// nightly are hours that begin one hour after the clock of a synctest bubble does: Saturday, 2000-01-01 00:00 UTC.
const nightly batch.Hours = "Sat 01:00-01:01 UTC; Sat 01:10-05:00 UTC"

// A run waits for its hours, reports until when, and a resume and a retry keep them.
func TestARunKeepsItsHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4")
		begin := time.Now()
		r := ping()
		r.Record.On, r.Policy.Sizes, r.Pace.Sleep = true, batch.Sizes{batch.Number(2)}, Wait{2 * time.Minute, true}
		r.Pace.Hours = Hours{Within: nightly, Set: true}
		ctx, cancel := context.WithCancel(t.Context())
		w.events.hook = func(e Event) {
			if rec, ok := e.(Recorded); ok && rec.Record.Kind == batch.KindHours && !rec.Record.Until.IsZero() && rec.Progress.Counts().Of(batch.Accepted) > 0 {
				if status := w.last().Status(); status != "waiting" {
					t.Errorf("status %q", status)
				}
				cancel()
			}
		}
		res, err := w.start(ctx, r)
		if err != nil || res.Summary.Verdict != batch.Interrupted {
			t.Fatalf("%v, %s", err, res.Summary.Verdict)
		}
		if sent := res.Summary.Batches[0].Sent.Sub(begin); sent < time.Hour || sent >= time.Hour+time.Minute {
			t.Errorf("batch 1 was sent after %v", sent)
		}
		if note := w.last(); note.Progress.Pace().Within != nightly {
			t.Errorf("the record has the hours %q", note.Progress.Pace().Within)
		}
		again, err := Request{}.Reopen(w.last())
		if err != nil {
			t.Fatal(err)
		}
		retry := again
		w.events.hook = nil
		res, err = Resume(t.Context(), w.context(), again, w.last())
		if err != nil || res.Summary.Verdict != batch.Done {
			t.Fatalf("%v, %s", err, res.Summary.Verdict)
		}
		if sent := res.Summary.Batches[1].Sent.Sub(begin); sent < 70*time.Minute || sent >= 71*time.Minute {
			t.Errorf("batch 2 was sent after %v", sent)
		}
		if got := retry.pace(time.Second).Within; got != nightly {
			t.Errorf("a retry has the hours %q", got)
		}
		lifted, err := Request{Pace: Pace{Hours: Hours{Set: true}}}.Reopen(w.last())
		if err != nil || lifted.Pace.Hours.Within != "" {
			t.Errorf("--within always: %q, %v", lifted.Pace.Hours.Within, err)
		}
	})
}

func TestARunStopsOutsideItsHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		r := ping()
		r.Record.On, r.Pace.Hours = true, Hours{Within: nightly, Set: true, Outside: OutsideStop}
		res, err := w.start(t.Context(), r)
		if err != nil || res.Summary.Stop.Rule != batch.RuleHours || len(w.sent()) > 0 {
			t.Fatalf("%v, %+v, sent %q", err, res.Summary.Stop, w.sent())
		}
		again, err := Request{}.Reopen(w.last())
		if err != nil || again.Pace.Hours.Outside != OutsideStop {
			t.Errorf("a resume has %+v, %v", again.Pace.Hours, err)
		}
		waits, err := Request{Pace: Pace{Hours: Hours{Outside: OutsideWait}}}.Reopen(w.last())
		if err != nil || waits.pace(time.Second).StopOutside {
			t.Errorf("a resume with --outside wait stops: %v", err)
		}
	})
}

func TestThePlanReportsTheHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		r := ping()
		r.DryRun, r.Pace.Hours = true, Hours{Within: nightly, Set: true}
		if _, err := w.start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		p := one[Planned](t, w.events)
		if text := strings.Join(p.Guards, "\n"); !strings.Contains(text, "begins batches only within "+string(nightly)+": waits until Sat 2000-01-01 01:00 UTC") {
			t.Errorf("the plan has %q", text)
		}
		if p.Estimate.Typical < time.Hour || p.Estimate.Typical > time.Hour+2*time.Minute {
			t.Errorf("estimate %+v", p.Estimate)
		}
		for _, tt := range []struct {
			pace batch.Pace
			now  time.Duration
			want string
		}{
			{batch.Pace{}, 0, ""},
			{batch.Pace{Within: nightly}, 2 * time.Hour, ", and waits outside"},
			{batch.Pace{Within: nightly, StopOutside: true}, 2 * time.Hour, ", and stops outside"},
			{batch.Pace{Within: nightly, StopOutside: true}, 0, ": it is outside now, and stops at once"},
		} {
			if got := hoursSentence(tt.pace, time.Now().Add(tt.now)); !strings.HasSuffix(got, tt.want) || (tt.want == "") != (got == "") {
				t.Errorf("%q, want %q", got, tt.want)
			}
		}
	})
}

func TestHoursWithoutAMeaningAreRefused(t *testing.T) {
	for _, h := range []Hours{{Within: "at night"}, {Within: nightly, Outside: "sleep"}, {Outside: OutsideStop}, {Set: true, Outside: OutsideWait}} {
		r := ping()
		if r.Pace.Hours = h; r.Validate() == nil {
			t.Errorf("%+v is accepted", h)
		}
	}
}
