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

// interrupted is a run over the nodes, one a batch, that a signal has ended after the first.
func interrupted(t *testing.T, w *world) Stored {
	t.Helper()
	return interruptedOf(t, w, slowly(restart()))
}

// slowly is a request that sends to a node every five minutes.
func slowly(r Request) Request {
	r.Policy.Sizes = batch.Sizes{batch.Number(1)}
	r.Pace.Sleep = Wait{5 * time.Minute, true}
	return r
}

func interruptedOf(t *testing.T, w *world, r Request) Stored {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	w.events.hook = func(e Event) {
		if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindBatchEnd {
			cancel(errSignal)
		}
	}
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
			t.Errorf("it resumes with a sleep of %s", r.Pace.Sleep.D)
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
		if err != nil || !strings.Contains(w.events.notes(), "run "+s.ID+" is finished: nothing is left to resume") || len(w.sent()) != 2 {
			t.Errorf("a finished run: %v, %s", err, w.events.notes())
		}
		if f := one[Finished](t, w.events); f.Summary.Verdict != batch.Done || f.ID != res.ID {
			t.Errorf("%+v", f)
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

// The same command meets its interrupted run: it resumes it with --resume, asks at a terminal, and prints a hint elsewhere.
func TestTheSameCommandMeetsItsInterruptedRun(t *testing.T) {
	const hint = "hint: run RUN of this command was interrupted; to resume it: fleetctl runs resume RUN token=@FILE\n"
	const left = ": Run RUN of this command was interrupted: 1 node left to be sent to, 1 open in all.\n"
	for _, tt := range []struct {
		name    string
		set     func(w *world, r *Request)
		resumes bool
		asks    string // between strokes
		notes   string
	}{
		{"--resume", func(_ *world, r *Request) { r.Record.Resume = true }, true, "", ""},
		{"no terminal", func(*world, *Request) {}, false, "", hint},
		{"--no-input", func(w *world, r *Request) { w.asker.away, r.Guards.NoInput = nil, true }, false, "", hint},
		{"yes", func(w *world, _ *Request) { w.asker.away, w.asker.answers = nil, []string{"y", "y"} }, true, "Resume it?|restart 1 node?", left},
		{"other flags", func(w *world, r *Request) {
			w.asker.away, w.asker.answers = nil, []string{"y", "y"}
			r.Pace.Sleep, r.Rules.MaxFailed = Wait{0, true}, batch.Number(2)
		}, true, "Resume it?|restart 1 node?", strings.TrimSuffix(left, "\n") + "\n  --batch-sleep is now 0s, and was 5m0s\n  --max-failed is now 2, and was none\n"},
		{"no", func(w *world, _ *Request) { w.asker.away, w.asker.answers = nil, []string{"n", "y"} }, false, "Resume it?|restart 2 nodes?", left},
		{"other batches", func(w *world, r *Request) {
			w.asker.away, w.asker.answers, r.Policy.Sizes = nil, []string{"y"}, batch.Sizes{batch.Number(2)}
		}, false, "restart 2 nodes?", hint},
		{"a dry run", func(_ *world, r *Request) { r.DryRun = true }, false, "", ""},
		{"a dry run with --resume", func(_ *world, r *Request) { r.DryRun, r.Record.Resume = true, true }, true, "", ""},
		{"another command", func(_ *world, r *Request) { r.Inputs["splay"] = "1" }, false, "", ""},
		{"without a record", func(_ *world, r *Request) { r.Record.Off = true }, false, "", "warning: no record is kept: this run cannot be resumed, retried or looked up\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1", "n2")
				s := interrupted(t, w)
				w.events.seen, w.asker.asked = nil, nil
				r := slowly(restart())
				tt.set(w, &r)
				_, err := w.start(t.Context(), r)
				if _, refused := errors.AsType[*GuardError](err); err != nil && !(refused && tt.name == "--no-input") {
					t.Fatal(err)
				}
				if resumed := !slices.Contains(w.events.names(), "Searching"); resumed != tt.resumes {
					t.Errorf("resumed: %t; events %q", resumed, w.events.names())
				}
				if asked := strings.Join(w.asker.asked, "|"); asked != tt.asks {
					t.Errorf("asked %q, want %q", asked, tt.asks)
				}
				if notes := strings.ReplaceAll(w.events.notes(), s.ID, "RUN"); notes != tt.notes {
					t.Errorf("noted %q, want %q", notes, tt.notes)
				}
			})
		})
	}
}

// What a rule stopped is not offered: it would be stopped again.
func TestARunThatARuleStoppedIsNotOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		w.nodes["n1"].code = 1
		r := slowly(restart())
		r.Rules.FailFast = true
		if res, err := w.start(t.Context(), r); err != nil || res.Summary.Verdict != batch.Stopped {
			t.Fatalf("%v, %v", res.Summary.Verdict, err)
		}
		w.nodes["n1"].code = 0
		w.asker.away, w.asker.answers = nil, []string{"y"}
		if _, err := w.start(t.Context(), r); err != nil || !slices.Equal(w.asker.asked, []string{"restart 2 nodes?"}) || !strings.Contains(w.events.notes(), "of this command was stopped by a rule; to resume it: ") {
			t.Errorf("%v, asked %q, noted %q", err, w.asker.asked, w.events.notes())
		}
	})
}

// A retry is about some nodes of another run: the command typed again does not mean it.
func TestARetryIsNotTheSameCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		s := interrupted(t, w)
		_, r := w.again(t, slowly(Request{Typed: Typed{Words: []string{"runs", "retry", "last"}, Flags: []string{"--not-sent"}}}), s)
		ctx, cancel := context.WithCancelCause(t.Context())
		w.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindBatchEnd {
				cancel(errSignal)
			}
		}
		<-time.After(time.Second) // ids are in seconds
		res, err := Retry(ctx, w.context(), r, s, []batch.State{batch.NotSent})
		if err != nil || res.Summary.Verdict != batch.Interrupted {
			t.Fatalf("%v, %v", res.Summary.Verdict, err)
		}
		if got, want := w.last().Meta.Command, []string{"runs", "retry", "last", "token=[redacted]", "--not-sent"}; !slices.Equal(got, want) {
			t.Errorf("the record has the command %q", got)
		}
		if run, found := w.store().unfinished(s.Meta.Mark); !found || run.ID != s.ID {
			t.Errorf("the unfinished run is %s, %t, want %s", run.ID, found, s.ID)
		}
	})
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

// A resume that would be refused, because a retry has sent to the nodes that are left, is neither offered nor in a hint: that
// run is named, before the plan asks.
func TestARunWhoseRetryWentOnIsNotOffered(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2")
			s := interrupted(t, w)
			retry := w.retry(s.ID, batch.NotSent)
			if nodes := w.nodesSent(); nodes != "n1 n2" {
				t.Fatalf("sent to %s", nodes)
			}
			if terminal {
				w.asker.away = nil
			}
			asked := len(w.asker.asked)
			if _, err := w.start(t.Context(), slowly(restart())); err != nil && !terminal {
				t.Fatal(err)
			}
			want := "hint: run " + s.ID + " of this command was interrupted, and run " + retry.ID + ", a retry of it, has sent to its nodes; see `fleetctl runs show " + retry.ID + "`\n"
			if notes := w.events.notes(); !strings.Contains(notes, want) || strings.Contains(notes, "runs resume") {
				t.Errorf("noted %q", notes)
			}
			if questions := w.asker.asked[asked:]; slices.Contains(questions, "Resume it?") || terminal != (len(questions) > 0) {
				t.Errorf("asked %q", questions)
			}
		})
	}
}
