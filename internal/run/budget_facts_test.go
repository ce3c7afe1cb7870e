package run

import (
	"strings"
	"testing"
	"testing/synctest"

	"fleetctl/batch"
)

// A node that does not answer when it is asked for its rack may be in any: a run that is limited by racks is refused, and
// says how to leave the node out. It is asked twice: brokers may lose an answer. A node that answers, and has no rack, is
// sent to.
func TestABudgetNeedsTheRackOfEachNode(t *testing.T) {
	for _, tt := range []struct {
		name   string
		set    func(*server)
		dry    bool
		window int // 0: batches
		refuse bool
	}{
		{"it answers", func(*server) {}, false, 0, false},
		{"it has no rack", func(s *server) { s.facts = map[string]string{} }, false, 0, false},
		{"its answer is lost", func(s *server) { s.loses = 1 }, false, 0, false},
		{"its answer is lost, in a window", func(s *server) { s.loses = 1 }, false, 2, false},
		{"two answers are lost", func(s *server) { s.loses = 2 }, false, 0, true},
		{"it is silent", func(s *server) { s.frozen = true }, false, 0, true},
		{"it is silent, in a window", func(s *server) { s.frozen = true }, false, 2, true},
		{"it is silent, in a dry run", func(s *server) { s.frozen = true }, true, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1", "n2")
				w.bucket, w.shared = newBucket(), shelf()
				racked(w, "a", "b")
				tt.set(w.nodes["n2"])
				r := budgeted("rack=1")
				r.DryRun = tt.dry
				if tt.window > 0 {
					r.Policy.Rolling, r.Policy.Sizes = true, batch.Sizes{batch.Number(tt.window)}
				}
				res, err := w.start(t.Context(), r)
				if !tt.refuse {
					if err != nil || res.Summary.Verdict != batch.Done {
						t.Errorf("%v, %v", res.Summary.Verdict, err)
					}
					return
				}
				text := refusal(t, err)
				if !strings.Contains(text, "1 node did not answer when asked for rack: n2") || len(w.sent()) > 0 {
					t.Errorf("%s; sent %q", text, w.sent())
				}
			})
		})
	}
}

// A node that is down does not answer when a retry asks for its rack: the record of the earlier run knows it, and the
// retry's record does from then on. It goes on counting.
func TestTheBudgetOfARetryKnowsTheRackOfANodeThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := newWorld(t, "n1", "n2"), shelf()
		w.bucket, w.shared = newBucket(), b
		racked(w, "a", "b")
		r := budgeted("rack=1")
		r.Proof.Timeout = Wait{1, true}
		w.nodes["n1"].stuck = true
		res, err := w.start(t.Context(), r)
		if err != nil || states(res.Summary)[batch.Unverified] != 1 {
			t.Fatal(res.Summary.Verdict, states(res.Summary), err)
		}
		w.nodes["n1"].frozen = true
		if _, err := w.tryRetry(t.Context(), res.ID, batch.Unverified); err != nil {
			t.Fatal(err)
		}
		if s := w.last(); s.ID == res.ID || s.values()["rack"]["n1"] != "a" {
			t.Errorf("run %s records %v", s.ID, s.values())
		} else if n := counted(t, b, s.ID); n["*"] != 1 || n["rack=a"] != 1 || counted(t, b, res.ID) != nil {
			t.Errorf("the retry counts %v, the run %v", n, counted(t, b, res.ID))
		}
	})
}
