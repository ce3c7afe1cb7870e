package run

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
)

// A run that takes longer than it was estimated, here because of the operator, looks at the tokens again before each batch, with proof and without.
func TestATokenThatEndsMeanwhileStopsTheRunBeforeItsBatch(t *testing.T) {
	for _, none := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3")
			w.expiring(time.Hour, 25*time.Minute)
			r := slowly(restart())
			r.Pace.Sleep, r.Proof.None = Wait{time.Second, true}, none
			r.Pace.ConfirmEach = Wish{true, true}
			w.asker.away, w.asker.answers, w.asker.think = nil, []string{"y", "y", "y"}, 8*time.Minute
			res, err := w.start(t.Context(), r)
			if err != nil || res.Summary.Verdict != batch.Stopped || len(w.sent()) != 1 {
				t.Fatalf("without proof %t: %v, %v, nodes got %q", none, res.Summary.Verdict, err, w.sent())
			}
			if got := res.Summary.Stop; none && got.Kind != batch.StopLost || !none && got.Rule != batch.RuleTokens || !strings.Contains(got.Reason, "the token of 1 node") || !strings.HasSuffix(got.Reason, ": n2") {
				t.Errorf("without proof %t: stopped by %s: %s", none, got.Rule, got.Reason)
			}
		})
	}
}

// A node that does not show its token is named in the plan, and is not sent to while it is silent.
func TestANodeWhoseTokenWasNotSeenIsNotSentTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4")
		w.expiring(time.Hour)
		w.nodes["n2"].frozen, w.nodes["n3"].down = true, true
		w.nodes["n4"].ends = time.Time{} // answers without a token
		r := restart()
		r.DryRun = true
		if _, err := w.start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		const note = "the token of 2 nodes was not seen: n[2,4]; a node that is still silent when its batch is sent is left out"
		if p := one[Planned](t, w.events); !slices.Contains(p.Plan.Notes, note) {
			t.Errorf("the plan notes %q", p.Plan.Notes)
		}
		if !slices.Contains(one[Planned](t, w.events).Guards, "stops before a batch with a node whose token ends within 10m11s") {
			t.Errorf("guards %q", one[Planned](t, w.events).Guards)
		}
		r.DryRun = false
		res, err := w.start(t.Context(), r)
		if got := w.sent(); err != nil || len(got) != 2 || res.Summary.Verdict != batch.Silent {
			t.Errorf("%v, %v, nodes got %q", res.Summary.Verdict, err, got)
		}
		for name, want := range map[string]batch.State{"n1": batch.Verified, "n2": batch.NotSent, "n3": batch.Absent, "n4": batch.Verified} {
			if got := result(t, w.last().Progress, name); got.State != want || want == batch.NotSent && !strings.HasPrefix(got.Reason, "token not seen") {
				t.Errorf("%s is %s (%s), want %s", name, got.State, got.Reason, want)
			}
		}
	})
}

// Nothing asks for tokens where they do not matter.
func TestTokensAreOnlyAskedForARestart(t *testing.T) {
	reprovision := restart()
	reprovision.Action = "reprovision"
	for name, r := range map[string]Request{"a question": ping(), "reprovision": reprovision} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1")
				w.expiring(time.Minute)
				r.DryRun = true
				if _, err := w.start(t.Context(), r); err != nil {
					t.Error(err)
				}
				client, _ := w.Dial(t.Context()) // never an error
				if _, seen := client.Token("n1"); seen {
					t.Error("the token is kept")
				}
			})
		})
	}
}
