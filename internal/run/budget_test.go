package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/config"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/proof"
)

// shelf is a bucket whose values stay.
func shelf() *bucket {
	b := newBucket()
	b.life = 0
	return b
}

// racked puts the nodes of a world into racks, in turn.
func racked(w *world, racks ...string) {
	for i, name := range w.finds {
		w.nodes[name].facts = map[string]string{"rack": fmt.Sprintf("%q", racks[i%len(racks)])}
	}
}

// budgeted is a restart with limits.
func budgeted(limits ...string) Request {
	r := restart()
	var err error
	if r.Shared.MaxDown, err = lease.ParseLimits(limits, false); err != nil {
		panic(err)
	}
	return r
}

// bobs has bob's run take nodes down, in the rack a.
func bobs(t *testing.T, b lease.Store, nodes ...string) *lease.Account {
	t.Helper()
	a, err := lease.OpenAccount(t.Context(), b, lease.Budget{
		Collective: "mcollective", Run: "r9", Party: lease.Party{Caller: "choria=bob"}, Facts: []string{"rack"}, Values: func(string, string) string { return "a" },
	})
	if err == nil {
		err = a.Admit(t.Context(), nodes)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// unrecorded makes a run that the settings limit, and that has no record.
func unrecorded(w *world, r *Request) {
	w.bucket, w.settings.MaxDown, r.Record.Off = shelf(), []string{"5"}, true
}

// inCollective makes limits hold in the collective of the runs, and others in another one.
func inCollective(w *world, l config.Limits) {
	w.settings.Collectives = map[string]config.Limits{"mcollective": l, "other": {ReadOnly: true, MaxDown: []string{"1"}, Locks: []string{"other"}, Share: true}}
}

// counted is what the ledger counts of a run.
func counted(t *testing.T, b *bucket, run string) map[string]int {
	t.Helper()
	l, err := lease.ReadLedger(t.Context(), b, "mcollective")
	if err != nil {
		t.Fatal(err)
	}
	return l.Runs[run].Down
}

func TestARunWaitsForRoomInTheBudget(t *testing.T) {
	for _, locked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, b := newWorld(t, "n1", "n2", "n3", "n4"), shelf()
			w.bucket, w.shared = newBucket(), b
			racked(w, "a", "b")
			bob := bobs(t, b, "x1")
			const back = 90 * time.Second
			time.AfterFunc(back, func() {
				if err := bob.Close(t.Context(), nil); err != nil {
					t.Error(err)
				}
			})
			most, began := map[string]int{}, time.Now()
			var first time.Duration // until something was sent
			w.events.hook = func(e Event) {
				if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindIntent {
					if first == 0 {
						first = time.Since(began)
					}
					for what, n := range counted(t, b, w.last().ID) {
						most[what] = max(most[what], n)
					}
				}
			}
			r := budgeted("3", "rack=1")
			if locked {
				r.Shared.Locks = []string{"web"}
			}
			res, err := w.start(t.Context(), r)
			if err != nil || res.Summary.Verdict != batch.Done {
				t.Fatal(res.Summary.Verdict, res.Summary.Reason, err)
			}
			if first < back || first > back+5*time.Second {
				t.Errorf("the first batch was sent after %s", first)
			}
			if want := map[string]int{"*": 2, "rack=a": 1, "rack=b": 1}; !maps.Equal(most, want) {
				t.Errorf("at most %v were down, want %v", most, want)
			}
			if got := counted(t, b, res.ID); got != nil {
				t.Errorf("after the run %v count as down", got)
			}
			var pauses []string
			for _, e := range w.events.seen {
				if e, ok := e.(Recorded); ok && (e.Record.Kind == batch.KindPaused || e.Record.Kind == batch.KindContinued) {
					pauses = append(pauses, string(e.Record.Kind)+" "+e.Record.By)
				}
			}
			what := "budget: no room for 2 nodes: 1 node with rack=a may be down at once, and 1 is: run r9 of choria=bob (1)"
			if want := []string{"paused " + what, "continued " + what}; !slices.Equal(pauses, want) {
				t.Errorf("pauses %q, want %q", pauses, want)
			}
			if got := w.last().Meta.MaxDown; !maps.Equal(got, r.Shared.MaxDown) {
				t.Errorf("the record has %v", got)
			}
		})
	}
}

// TestAFullBudgetHoldsOnEveryPath walks all paths that send, with a budget that stays full.
func TestAFullBudgetHoldsOnEveryPath(t *testing.T) {
	for _, p := range sendingPaths {
		if p.name == "req --reply-to" || p.offered {
			continue // refused; and the path of runs resume
		}
		for _, rule := range []string{"flag", "setting", "setting of the collective", "shared limit"} {
			t.Run(p.name+"/"+rule, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, b := newWorld(t, "n1", "n2", "n3", "n4"), shelf()
					w.bucket, w.shared = newBucket(), b
					if p.shared {
						w.share()
						w.shared = b
					}
					racked(w, "a")
					g := guardPath{guard: budgetGuard}
					var s Stored
					r := slowly(g.request())
					if p.saved {
						plan := savedBy(t, w, r)
						r = Request{Inputs: map[string]string{"token": "s3cret"}}
						var err error
						if r, err = r.FromPlan(plan, batch.Amount{}); err != nil {
							t.Fatal(err)
						}
					}
					if p.again {
						s = interruptedOf(t, w, slowly(g.request()))
						<-time.After(2 * time.Minute) // its locks expire
					}
					if p.stored {
						var err error
						if r, err = (Request{Inputs: map[string]string{"token": "s3cret"}}).Reopen(s); err != nil {
							t.Fatal(err)
						}
					}
					bobs(t, b, "x1")
					switch rule {
					case "flag":
						r.Shared.MaxDown = lease.Limits{"rack": 1}
					case "setting":
						w.settings.MaxDown = []string{"rack=1"}
					case "setting of the collective":
						inCollective(w, config.Limits{MaxDown: []string{"rack=1"}})
					default:
						if _, err := lease.SetLimits(t.Context(), b, "mcollective", lease.Limits{"rack": 1}); err != nil {
							t.Fatal(err)
						}
					}
					if p.set != nil {
						p.set(&r)
					}
					r.Shared.BudgetWait = Wait{30 * time.Second, true}
					sent := len(w.sent())
					res, err := p.send(t.Context(), w.context(), r, s)
					if err != nil || res.Summary.Verdict != batch.Stopped || !strings.Contains(res.Summary.Reason, "budget: no room for 1 node within 30s: 1 node with rack=a may be down at once") {
						t.Errorf("%v, %q, %v", res.Summary.Verdict, res.Summary.Reason, err)
					}
					if got := w.sent()[sent:]; len(got) > 0 {
						t.Errorf("nodes got %q", got)
					}
				})
			})
		}
	}
}

func TestNodesStayInTheBudgetUntilTheyAreProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1", "n2", "n3"), shelf()
		w.bucket, w.shared = newBucket(), b
		w.nodes["n2"].silent = true // it may have acted
		w.nodes["n3"].code = 1      // it refuses
		res, err := w.start(t.Context(), budgeted("5"))
		if err != nil || res.Summary.Verdict != batch.Failed {
			t.Fatal(res.Summary.Verdict, err)
		}
		if got := counted(t, b, res.ID); !maps.Equal(got, map[string]int{"*": 1}) {
			t.Errorf("%v count as down", got)
		}
		if want := "1 node of this run still counts as down; when it is up again: fleetctl runs settle " + res.ID; !strings.Contains(w.events.notes(), want) {
			t.Errorf("notes %q", w.events.notes())
		}
		settle := func(want Settled) {
			t.Helper()
			began := time.Now()
			got, err := Settle(t.Context(), w.context(), w.last())
			if err != nil || !slices.Equal(got.Answered, want.Answered) || !slices.Equal(got.Left, want.Left) {
				t.Errorf("settled %+v, %v, want %+v", got, err, want)
			}
			if waited := time.Since(began); waited > 2*time.Minute {
				t.Errorf("it took %s", waited)
			}
		}
		w.nodes["n2"].frozen = true
		settle(Settled{Left: []string{"n2"}})
		w.nodes["n2"].frozen = false
		settle(Settled{Answered: []string{"n2"}})
		if got := counted(t, b, res.ID); got != nil {
			t.Errorf("after it was settled %v count as down", got)
		}
		settle(Settled{})
		bob := bobs(t, b, "n9")
		if got, err := Forget(t.Context(), w.context(), w.last(), []string{"n2"}, "broken"); err != nil || len(got) != 0 {
			t.Errorf("forgot %q, %v, and nothing counted", got, err)
		}
		if _, err := Forget(t.Context(), w.context(), w.last(), []string{"n1"}, "broken"); err == nil {
			t.Error("a node that is up can be forgotten")
		}
		if got := bob.Down(); !slices.Equal(got, []string{"n9"}) {
			t.Errorf("bob has %q", got)
		}
	})
}

// A node that answers while its request may still act proves nothing: settle waits until no request can act, which takes
// longer than the lock of the process lives that was interrupted.
func TestADeadRunIsSettledInTheBudgetWhenNothingCanAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1"), shelf()
		w.bucket, w.shared = newBucket(), b
		w.nodes["n1"].silent = true // it may act later
		ctx, interrupt := context.WithCancel(t.Context())
		var sent time.Time
		w.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindSent {
				sent = time.Now()
				time.AfterFunc(time.Second, interrupt)
			}
		}
		r := budgeted("5")
		r.Inputs["splay"] = "60"
		r.Proof.Timeout, r.Pace.ReplyTimeout = Wait{time.Second, true}, Wait{time.Second, true}
		res, err := w.start(ctx, r)
		if err != nil || counted(t, b, res.ID)["*"] != 1 {
			t.Fatal(res.Summary.Verdict, counted(t, b, res.ID), err)
		}
		least := w.last().Meta.TTL + proof.LongestDelay(proof.Restart, time.Minute) + clockMargin
		if took := time.Since(sent); took > least-lockLife-10*time.Second {
			t.Fatalf("the run ended %s after the request: its lock alone is waited for as long", took)
		}
		got, err := Settle(t.Context(), w.context(), w.last())
		if err != nil || !slices.Equal(got.Answered, []string{"n1"}) {
			t.Errorf("settled %+v, %v", got, err)
		}
		if time.Since(sent) < least {
			t.Errorf("its nodes were looked at %s after the request, want %s at least", time.Since(sent), least)
		}
	})
}

func TestANodeThatWasShutDownStaysInTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1", "n2"), shelf()
		w.bucket, w.shared = newBucket(), b
		r := budgeted("1")
		r.Action, r.Guards.Yes, r.Shared.BudgetWait = "shutdown", true, Wait{time.Minute, true}
		res, err := w.start(t.Context(), r)
		if err != nil || res.Summary.Verdict != batch.Stopped || states(res.Summary)[batch.Verified] != 1 {
			t.Fatal(res.Summary.Verdict, states(res.Summary), err)
		}
		if got := counted(t, b, res.ID); !maps.Equal(got, map[string]int{"*": 1}) {
			t.Errorf("%v count as down", got)
		}
		gone, err := Forget(t.Context(), w.context(), w.last(), []string{"n1"}, "retired")
		if err != nil || !slices.Equal(gone, []string{"n1"}) || counted(t, b, res.ID) != nil {
			t.Errorf("forgot %q, %v, and %v count", gone, err, counted(t, b, res.ID))
		}
	})
}

// A retry takes the nodes over that the first run has down: they do not count twice.
func TestARetryKeepsTheBudgetOfItsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1"), shelf()
		w.bucket, w.shared = newBucket(), b
		w.nodes["n1"].silent = true
		first, err := w.start(t.Context(), budgeted("1"))
		if err != nil || first.Summary.Verdict != batch.Silent {
			t.Fatal(first.Summary.Verdict, err)
		}
		w.nodes["n1"].silent = false
		r, err := Request{Inputs: map[string]string{"token": "s3cret"}}.Reopen(w.last())
		if err != nil {
			t.Fatal(err)
		}
		second, err := Retry(t.Context(), w.context(), r, w.last(), []batch.State{batch.NoReply})
		if err != nil || second.Summary.Verdict != batch.Done {
			t.Fatal(second.Summary.Verdict, second.Summary.Reason, err)
		}
		for _, id := range []string{first.ID, second.ID} {
			if got := counted(t, b, id); got != nil {
				t.Errorf("run %s has %v down", id, got)
			}
		}
	})
}

// A retry that finds its node proved has nothing to send, and still the node leaves the budget of the first run.
func TestARetryTakesNodesThatAreProvedOffTheBudgetOfItsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1"), shelf()
		w.bucket, w.shared = newBucket(), b
		w.nodes["n1"].silent = true
		first, err := w.start(t.Context(), budgeted("1"))
		if err != nil || counted(t, b, first.ID)[lease.All] != 1 {
			t.Fatal(first.Summary.Verdict, counted(t, b, first.ID), err)
		}
		w.nodes["n1"].start = time.Now() // the request acted after the run
		<-time.After(time.Minute)
		r, err := Request{Inputs: map[string]string{"token": "s3cret"}}.Reopen(w.last())
		if err != nil {
			t.Fatal(err)
		}
		second, err := Retry(t.Context(), w.context(), r, w.last(), []batch.State{batch.NoReply})
		if err != nil || second.Summary.Verdict != batch.Done || len(w.sent()) != 1 {
			t.Fatal(second.Summary.Verdict, second.Summary.Reason, err, w.sent())
		}
		for _, id := range []string{first.ID, second.ID} {
			if got := counted(t, b, id); got != nil {
				t.Errorf("run %s has %v down", id, got)
			}
		}
	})
}

func TestBatchesFitTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1", "n2", "n3", "n4", "n5", "n6"), shelf()
		w.bucket, w.shared = newBucket(), b
		racked(w, "a", "b", "c")
		if _, err := lease.SetLimits(t.Context(), b, "mcollective", lease.Limits{lease.All: 4}); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			r    Request
			want []int
		}{
			{restart(), []int{4, 2}},
			{budgeted("3"), []int{3, 3}},
			{budgeted("rack=1"), []int{3, 3}},
			{func() Request {
				r := budgeted("2")
				r.Policy.Sizes = batch.Sizes{batch.Number(1), batch.Number(5)}
				return r
			}(), []int{1, 2, 2, 1}},
			{func() Request {
				r := budgeted("2")
				r.Policy.Sizes = batch.Sizes{batch.Number(3)}
				return r
			}(), []int{2, 2, 2}},
		} {
			tt.r.DryRun = true
			if _, err := w.start(t.Context(), tt.r); err != nil {
				t.Fatal(err)
			}
			p := one[Planned](t, w.events)
			var got []int
			for _, b := range p.Plan.Batches {
				got = append(got, len(b.Nodes))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("limits %v: batches %v, want %v", tt.r.Shared.MaxDown, got, tt.want)
			}
		}
		rolling := budgeted("2")
		rolling.Policy = batch.Policy{Rolling: true, Sizes: batch.Sizes{batch.Number(5)}, Canary: batch.CanaryOff}
		most := 0
		w.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindIntent {
				most = max(most, counted(t, b, w.last().ID)["*"])
			}
		}
		res, err := w.start(t.Context(), rolling)
		if err != nil || res.Summary.Verdict != batch.Done || most != 2 {
			t.Errorf("a window: %v, %v, at most %d down", res.Summary.Verdict, err, most)
		}
	})
}

func TestABudgetNeedsAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		for _, tt := range []struct {
			err  error
			says string
		}{
			{lease.ErrNoStreams, "no streams"}, {lease.ErrNoBucket, "no bucket FLEETCTL"}, {&lease.DeniedError{Permission: "streams_user"}, "streams_user"},
		} {
			w.bucket = broken{tt.err}
			_, err := w.start(t.Context(), budgeted("1"))
			e, ok := errors.AsType[*SharedError](err)
			if !ok || !strings.Contains(e.Error(), tt.says) || e.Hint == "" {
				t.Fatalf("%v: %v", tt.err, err)
			}
			if strings.Contains(e.Hint, "--lock") && !strings.Contains(e.Hint, "--max-down") {
				t.Errorf("%v: the hint is about something else: %s", tt.err, e.Hint)
			}
			if res, err := w.start(t.Context(), restart()); err != nil || res.Summary.Verdict != batch.Done {
				t.Errorf("%v: a run without limits: %v, %v", tt.err, res.Summary.Verdict, err)
			}
		}
		w.bucket = broken{context.DeadlineExceeded}
		if _, err := w.start(t.Context(), restart()); err != nil || !strings.Contains(w.events.notes(), "streams do not answer") {
			t.Errorf("brokers that do not answer: %v, %q", err, w.events.notes())
		}
		sent := len(w.sent())
		w.bucket, w.about.Collective = shelf(), fleet.ProvisioningCollective
		if _, err := w.start(t.Context(), budgeted("1")); err == nil || !strings.Contains(err.Error(), "provisioning account") {
			t.Error("in the provisioning account:", err)
		}
		w.about.Collective = "mcollective"
		r := ping()
		r.Shared.MaxDown = lease.Limits{lease.All: 1}
		if _, err := w.start(t.Context(), r); err == nil || !strings.Contains(err.Error(), "changes nothing") {
			t.Error("an action that changes nothing:", err)
		}
		if len(w.sent()) != sent {
			t.Error("something was sent")
		}
	})
	for _, change := range []func(*Request){func(r *Request) { r.Record.Off = true }, func(r *Request) { r.ReplyTo = "x" }} {
		r := budgeted("1")
		if change(&r); r.Validate() == nil {
			t.Error("a budget that cannot be kept is allowed")
		}
	}
}

// broken is a bucket that cannot be used.
type broken struct{ err error }

func (b broken) Status(context.Context) (lease.Status, error)                { return lease.Status{}, b.err }
func (b broken) Get(context.Context, string) (lease.Entry, error)            { return lease.Entry{}, b.err }
func (b broken) Put(context.Context, string, []byte, uint64) (uint64, error) { return 0, b.err }
func (b broken) Delete(context.Context, string, uint64) error                { return b.err }
func (b broken) Keys(context.Context, string) ([]string, error)              { return nil, b.err }
