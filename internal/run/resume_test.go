package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/security"
)

// errSignal is the cause of an interruption.
var errSignal = errors.New("interrupt signal received")

// interrupted is a run over n1 and n2, a node a batch, that a signal has ended after the first.
func interrupted(t *testing.T, w *world) Stored {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	w.events.hook = func(e Event) {
		if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindBatchEnd {
			cancel(errSignal)
		}
	}
	r := restart()
	r.Policy.Sizes = batch.Sizes{batch.Number(1)}
	r.Pace.Sleep = Wait{5 * time.Minute, true}
	res, err := w.start(ctx, r)
	w.events.hook = nil
	if err != nil || res.Summary.Verdict != batch.Interrupted || !errors.Is(res.Signal, errSignal) {
		t.Fatalf("%v, signal %v, %v", res.Summary.Verdict, res.Signal, err)
	}
	if got := w.sent(); len(got) != 1 {
		t.Fatalf("nodes got %q", got)
	}
	return w.last()
}

// again is the request of a recorded run, and a context for it.
func (w *world) again(t *testing.T, given Request, s Stored) (Context, Request) {
	t.Helper()
	given.Inputs = map[string]string{"token": "s3cret"}
	r, err := given.Reopen(s)
	if err != nil {
		t.Fatal(err)
	}
	w.events.seen = nil
	return w.context(), r
}

func TestAnInterruptedRunIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		s := interrupted(t, w)
		if s.Status() != "interrupted" || s.Progress.Open() != 1 {
			t.Fatalf("%s, %d open", s.Status(), s.Progress.Open())
		}
		c, dry := w.again(t, Request{DryRun: true}, s)
		if _, err := Resume(t.Context(), c, dry, s); err != nil {
			t.Fatal(err)
		}
		if p := one[Planned](t, w.events); p.Plan.Nodes() != 1 || len(w.sent()) != 1 || w.last().Progress.Open() != 1 {
			t.Errorf("the dry run plans %d nodes, nodes got %q", p.Plan.Nodes(), w.sent())
		}
		c, r := w.again(t, Request{}, s)
		if r.Pace.Sleep.D != 5*time.Minute {
			t.Errorf("it goes on with a sleep of %s", r.Pace.Sleep.D)
		}
		res, err := Resume(t.Context(), c, r, s)
		if err != nil || res.Summary.Verdict != batch.Done || res.ID != s.ID || res.Summary.Resumes != 1 {
			t.Errorf("%v of run %s, %v", res.Summary.Verdict, res.ID, err)
		}
		want := []string{`n1 choria_provision#restart {"token":"s3cret"}`, `n2 choria_provision#restart {"token":"s3cret"}`}
		if got := w.sent(); len(got) != 2 || !strings.HasPrefix(got[0], want[0][:2]) || !strings.HasPrefix(got[1], want[1][:2]) {
			t.Errorf("nodes got %q", got)
		}
		if names := w.events.names(); names[0] != "SecretTyped" || names[1] != "Prepared" || names[2] != "Began" || slices.Contains(names, "Searching") {
			t.Errorf("events %q", names)
		}
		c, r = w.again(t, Request{}, w.last())
		res, err = Resume(t.Context(), c, r, w.last())
		if err != nil || !strings.Contains(w.events.notes(), "run "+s.ID+" is finished: there is nothing to go on with") || len(w.sent()) != 2 {
			t.Errorf("a finished run: %v, %s", err, w.events.notes())
		}
		if f := one[Finished](t, w.events); f.Summary.Verdict != batch.Done || f.ID != res.ID {
			t.Errorf("%+v", f)
		}
	})
}

// A resume passes the guards that do not look for nodes.
func TestAResumeIsGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		s := interrupted(t, w)
		for want, set := range map[string]func(w *world, r *Request){
			"only actions that change nothing": func(w *world, _ *Request) { w.settings.ReadOnly = true },
			"the connection has no TLS":        func(w *world, _ *Request) { w.open = true },
			"cannot ask between batches":       func(_ *world, r *Request) { r.Pace.ConfirmEach = true },
		} {
			w.settings.ReadOnly, w.open = false, false
			given := Request{}
			set(w, &given)
			c, r := w.again(t, given, s)
			if _, err := Resume(t.Context(), c, r, s); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		w.settings.ReadOnly, w.open = false, false
		w.asker.away = nil // consent was given when the run began
		c, r := w.again(t, Request{}, s)
		if _, err := Resume(t.Context(), c, r, s); err != nil || len(w.asker.asked) > 0 {
			t.Errorf("%v, asked %q", err, w.asker.asked)
		}
	})
}

// The record's end may be cut short by a crash: that is said, and costs nothing.
func TestATornRecordIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		s := interrupted(t, w)
		f, err := os.OpenFile(filepath.Join(w.dir, s.ID+".journal"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"sum":"12`); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		c, r := w.again(t, Request{}, w.last())
		if _, err := Resume(t.Context(), c, r, w.last()); err != nil || !strings.Contains(w.events.notes(), "warning: the last 10 bytes of the record were cut short") {
			t.Errorf("%v, %s", err, w.events.notes())
		}
		if len(w.sent()) != 2 {
			t.Errorf("nodes got %q", w.sent())
		}
	})
}

// The same command meets its interrupted run: it resumes it where it is told to, asks where it can, and hints elsewhere.
func TestTheSameCommandMeetsItsInterruptedRun(t *testing.T) {
	const question = " of this command was interrupted. Go on with it?"
	for _, tt := range []struct {
		name    string
		set     func(w *world, r *Request)
		resumes bool
		asks    bool
		notes   string
	}{
		{"--resume", func(_ *world, r *Request) { r.Record.Resume = true }, true, false, ""},
		{"no terminal", func(*world, *Request) {}, false, false, "hint: run RUN of this command was interrupted; to go on with it: fleetctl runs resume RUN\n"},
		{"--no-input", func(w *world, r *Request) {
			w.asker.away, r.Guards.NoInput, r.Action = nil, true, "restart"
			r.DryRun = false
		}, false, false, "hint: run RUN of this command"},
		{"yes", func(w *world, _ *Request) { w.asker.away, w.asker.answers = nil, []string{"y"} }, true, true, ""},
		{"no", func(w *world, _ *Request) { w.asker.away, w.asker.answers = nil, []string{"n", "y"} }, false, true, ""},
		{"a dry run", func(_ *world, r *Request) { r.DryRun = true }, false, false, ""},
		{"a dry run with --resume", func(_ *world, r *Request) { r.DryRun, r.Record.Resume = true, true }, true, false, ""},
		{"another command", func(_ *world, r *Request) { r.Inputs["splay"] = "1" }, false, false, ""},
		{"without a record", func(_ *world, r *Request) { r.Record.Off = true }, false, false, "warning: no record is kept"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1", "n2")
				s := interrupted(t, w)
				w.events.seen, w.asker.asked = nil, nil
				r := restart()
				tt.set(w, &r)
				_, err := w.start(t.Context(), r)
				if _, refused := errors.AsType[*GuardError](err); err != nil && !(refused && tt.name == "--no-input") {
					t.Fatal(err)
				}
				if resumed := !slices.Contains(w.events.names(), "Searching"); resumed != tt.resumes {
					t.Errorf("resumed: %t; events %q", resumed, w.events.names())
				}
				if asked := slices.Contains(w.asker.asked, "Run "+s.ID+question); asked != tt.asks {
					t.Errorf("asked %q", w.asker.asked)
				}
				if notes := strings.ReplaceAll(w.events.notes(), s.ID, "RUN"); !strings.HasPrefix(notes, tt.notes) || tt.notes == "" && notes != "" {
					t.Errorf("noted %q, want %q", notes, tt.notes)
				}
			})
		})
	}
}

// A run that another process is doing is not taken over, and not begun a second time unseen.
func TestTheSameCommandMeetsALiveRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		s := interrupted(t, w)
		file, _, err := w.store().take(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		r := restart()
		r.Record.Resume = true
		_, err = w.start(t.Context(), r)
		if e, ok := errors.AsType[*GuardError](err); !ok || !strings.Contains(err.Error(), "cannot take over run "+s.ID) || !strings.Contains(e.Hint, "runs watch "+s.ID) {
			t.Errorf("--resume: %v", err)
		}
		if _, err := w.start(t.Context(), restart()); err != nil || !strings.Contains(w.events.notes(), "is doing this very command, as run "+s.ID) {
			t.Errorf("%v, %s", err, w.events.notes())
		}
	})
}

func TestRetryBeginsALinkedRunOverTheNodesOfTheStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		w.nodes["n2"].code, w.nodes["n2"].says = 1, "no"
		w.nodes["n3"].silent = true
		if _, err := w.start(t.Context(), restart()); err != nil {
			t.Fatal(err)
		}
		s := w.last()
		c, r := w.again(t, Request{}, s)
		_, err := Retry(t.Context(), c, r, s, []batch.State{batch.NotSent})
		if e, ok := errors.AsType[*fleet.NoNodesError](err); !ok || !strings.Contains(e.Hint, "fleetctl runs show "+s.ID) {
			t.Errorf("no such nodes: %v", err)
		}
		if _, err := Retry(t.Context(), c, r, s, []batch.State{batch.Verified}); err == nil || !strings.Contains(err.Error(), "cannot retry nodes that are verified") {
			t.Errorf("nodes that are done: %v", err)
		}
		c, dry := w.again(t, Request{DryRun: true}, s)
		if _, err := Retry(t.Context(), c, dry, s, []batch.State{batch.Refused, batch.NoReply}); err != nil {
			t.Fatal(err)
		}
		if p := one[Planned](t, w.events); p.Plan.Nodes() != 2 || len(w.sent()) != 3 {
			t.Errorf("the dry run plans %d nodes, nodes got %q", p.Plan.Nodes(), w.sent())
		}
		w.nodes["n2"].code, w.nodes["n2"].says = 0, ""
		c, r = w.again(t, Request{Guards: Guards{Expect: Count{1, true}}}, s)
		<-time.After(time.Second) // ids are in seconds
		res, err := Retry(t.Context(), c, r, s, []batch.State{batch.Refused})
		if err != nil || res.Summary.Verdict != batch.Done || res.Summary.Parent != s.ID || res.ID == s.ID {
			t.Errorf("%v, run %s of %s, %v", res.Summary.Verdict, res.ID, res.Summary.Parent, err)
		}
		if got := w.sent(); len(got) != 4 || !strings.HasPrefix(got[3], "n2 ") {
			t.Errorf("nodes got %q", got)
		}
	})
}

// What did not leave is known not to have left.
func TestABrokerThatIsAwayLeavesNodesUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		r := ping()
		w.away = true
		res, err := w.start(t.Context(), r)
		if err != nil || states(res.Summary)[batch.NotSent] != 2 || res.NothingSent() {
			t.Errorf("%v, %v", states(res.Summary), err)
		}
		if !strings.Contains(res.Summary.Stop.Reason, errAway.Error()) {
			t.Errorf("the reason is %q", res.Summary.Stop.Reason)
		}
	})
}

// A signer that does not sign lets nothing out; what it quotes of the request is scrubbed.
func TestASignerThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		w.seal = &security.RemoteError{Service: "request signer", Problem: "not with token s3cret", Hint: "ask the site"}
		res, err := w.start(t.Context(), func() Request { r := restart(); r.Proof.None = true; return r }())
		if err != nil || !res.NothingSent() || res.Fix != "ask the site" || states(res.Summary)[batch.NotSent] != 2 {
			t.Errorf("%+v, %v", res, err)
		}
		if text := res.Unsigned.Error() + res.Summary.Stop.Reason; strings.Contains(text, "s3cret") || !strings.Contains(text, "not with token [redacted]") {
			t.Errorf("it says %q", text)
		}
	})
}
