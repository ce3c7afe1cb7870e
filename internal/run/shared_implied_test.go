package run

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/config"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
)

// limiting are the ways by which nodes of a run count in the ledger.
var limiting = map[string]func(t *testing.T, o *operator, r *Request){
	"flag":    func(_ *testing.T, _ *operator, r *Request) { r.Shared.MaxDown = lease.Limits{lease.All: 2} },
	"setting": func(_ *testing.T, o *operator, _ *Request) { o.settings.MaxDown = []string{"2"} },
	"setting of the collective": func(_ *testing.T, o *operator, _ *Request) {
		inCollective(o.world, config.Limits{MaxDown: []string{"2"}})
	},
	"shared limit": func(t *testing.T, o *operator, _ *Request) {
		t.Helper()
		if _, err := lease.SetLimits(t.Context(), o.shared, "mcollective", lease.Limits{lease.All: 2}); err != nil {
			t.Fatal(err)
		}
	},
}

// A run whose nodes count as down shares its record: settling them elsewhere needs their names.
func TestARunThatCountsInTheBudgetIsShared(t *testing.T) {
	for name, limit := range limiting {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3")
			alice := operators(t, w, "alice")[0]
			r := restart()
			limit(t, alice, &r)
			r.DryRun = true
			if _, err := Start(t.Context(), alice.context(), r); err != nil {
				t.Fatal(name, err)
			}
			if p := one[Planned](t, alice.events); !slices.ContainsFunc(p.Guards, func(text string) bool { return strings.Contains(text, "shares its record") }) {
				t.Errorf("%s: the plan says %q", name, p.Guards)
			}
			r.DryRun = false
			res, err := Start(t.Context(), alice.context(), r)
			if err != nil || res.Summary.Verdict != batch.Done {
				t.Fatal(name, res.Summary.Verdict, res.Summary.Reason, err)
			}
			if s, err := find(t, w).Next(t.Context(), nil); err != nil || s.ID != res.ID || s.Progress.Counts() != res.Summary.States || !alice.stored(t).Meta.Share {
				t.Errorf("%s: elsewhere it is %+v, %v", name, s, err)
			}
		})
	}
}

// A run that was begun before a limit held, without a shared record, is shared by its resume.
func TestAResumeThatCountsInTheBudgetIsShared(t *testing.T) {
	for name, limit := range limiting {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3")
			alice := operators(t, w, "alice")[0]
			s := alice.interrupted(t, slowly(restart()))
			var r Request
			limit(t, alice, &r)
			again := alice.again(t, s, func(to *Request) { to.Shared = r.Shared })
			res, err := Resume(t.Context(), alice.context(), again, s)
			if err != nil || res.Summary.Verdict != batch.Done {
				t.Fatal(name, res.Summary.Verdict, res.Summary.Reason, err)
			}
			if s, err := find(t, w).Next(t.Context(), nil); err != nil || s.Progress.Counts() != res.Summary.States {
				t.Errorf("%s: elsewhere it is %+v, %v", name, s, err)
			}
		})
	}
}

// Runs without a limit are not shared, and neither are those that change nothing.
func TestARunThatCountsNowhereIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		alice := operators(t, w, "alice")[0]
		if _, err := Start(t.Context(), alice.context(), restart()); err != nil {
			t.Fatal(err)
		}
		inCollective(w, config.Limits{}) // the other one is strict
		if _, err := Start(t.Context(), alice.context(), restart()); err != nil {
			t.Fatal(err)
		}
		limiting["setting"](t, alice, nil)
		limiting["shared limit"](t, alice, nil)
		if _, err := Start(t.Context(), alice.context(), ping()); err != nil {
			t.Fatal(err)
		}
		if all, err := lease.FindRuns(t.Context(), w.shared); err != nil || len(all) > 0 {
			t.Errorf("shared are %v, %v", all, err)
		}
	})
}

// A time to live that was typed is too long for any lock, wherever the lock comes from. One that was configured or recorded is
// lowered.
func TestATypedTimeToLiveIsTooLongForEachLock(t *testing.T) {
	for name, hold := range map[string]func(t *testing.T, o *operator, r *Request){
		"--lock": func(_ *testing.T, _ *operator, r *Request) { r.Shared.Locks = []string{"web"} }, "lock": func(_ *testing.T, o *operator, _ *Request) { o.settings.Locks = []string{"web"} },
		"--share": func(_ *testing.T, _ *operator, r *Request) { r.Shared.Mirror = true }, "share": func(_ *testing.T, o *operator, _ *Request) { o.settings.Share = true },
		"--max-down": limiting["flag"], "max_down": limiting["setting"], "shared limits": limiting["shared limit"],
	} {
		for _, dry := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1")
				alice := operators(t, w, "alice")[0]
				r := restart()
				hold(t, alice, &r)
				typed := r
				typed.DryRun, typed.Pace.TTL = dry, Wait{time.Minute, true}
				err := typed.Validate()
				if err == nil {
					_, err = Start(t.Context(), alice.context(), typed)
				}
				if e, ok := errors.AsType[*fleet.UsageError](err); !ok || !strings.Contains(e.Error(), "--ttl 1m0s is too long for a lock") || len(w.sent()) > 0 {
					t.Errorf("%s, dry run %t: %v", name, dry, err)
				}
				w.about.TTL = time.Minute
				r.DryRun = dry
				if _, err := Start(t.Context(), alice.context(), r); err != nil || !dry && alice.stored(t).Meta.TTL != 30*time.Second {
					t.Errorf("%s, dry run %t: a configured ttl: %v", name, dry, err)
				}
			})
		}
	}
}

// A recorded time to live was not typed now: a lock lowers it, in the run of a saved plan, too.
func TestARecordedTimeToLiveIsLoweredByALock(t *testing.T) {
	long := slowly(restart())
	long.Pace.TTL = Wait{time.Minute, true}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		alice := operators(t, w, "alice")[0]
		s := alice.interrupted(t, long)
		if s.Meta.TTL != time.Minute {
			t.Fatalf("the record has %s", s.Meta.TTL)
		}
		again := alice.again(t, s, func(r *Request) { r.Shared.Locks = []string{"web"} })
		if res, err := Resume(t.Context(), alice.context(), again, s); err != nil || res.Summary.Verdict != batch.Done {
			t.Error(res.Summary.Verdict, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		plan := savedBy(t, w, long)
		alice := operators(t, w, "alice")[0]
		typed := Request{Inputs: map[string]string{"token": "s3cret"}, Guards: Guards{Yes: true}}
		typed.Shared.Locks = []string{"web"}
		r, err := typed.FromPlan(plan, batch.Amount{})
		if err != nil {
			t.Fatal(err)
		}
		if res, err := Apply(t.Context(), alice.context(), r); err != nil || res.Summary.Verdict != batch.Done || alice.stored(t).Meta.TTL != 30*time.Second {
			t.Error(res.Summary.Verdict, err)
		}
	})
}

// interrupted is a run that a signal has ended after its first batch.
func (o *operator) interrupted(t *testing.T, r Request) Stored {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	o.events.hook = func(e Event) {
		if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindBatchEnd {
			cancel(errSignal)
		}
	}
	res, err := Start(ctx, o.context(), r)
	o.events.hook = nil
	if err != nil || res.Summary.Verdict != batch.Interrupted {
		t.Fatal(res.Summary.Verdict, err)
	}
	return o.stored(t)
}

// The lock that is waited for may be known to the record alone.
func TestAResumeWaitsForTheLockOfItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		alice := operators(t, w, "alice")[0]
		alice.interrupted(t, slowly(locked("web")))
		taken(t, w.bucket.(*bucket))
		for _, wait := range []time.Duration{0, 10 * time.Minute} {
			r := slowly(restart()) // as typed again, without its lock
			r.Record.Resume, r.Shared.Wait, r.Guards.Yes = true, Wait{wait, wait > 0}, true
			res, err := Start(t.Context(), alice.context(), r)
			if wait == 0 && !strings.Contains(refusal(t, err), "lock web is held") || wait > 0 && (err != nil || res.Summary.Verdict != batch.Done) {
				t.Errorf("--lock-wait %s: %v, %v", wait, res.Summary.Verdict, err)
			}
		}
		r := restart()
		r.Record.Resume, r.Shared.Wait = true, Wait{time.Minute, true}
		if _, err := Start(t.Context(), alice.context(), r); err == nil || !strings.Contains(err.Error(), "--lock-wait without a lock") {
			t.Error("without a run to resume:", err)
		}
	})
}
