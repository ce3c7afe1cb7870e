package run

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
)

// What nodes accepted is proved, in the time that the request gives; what is not proved is not called done.
func TestNodesAreProved(t *testing.T) {
	shutdown, expression := restart(), ping()
	shutdown.Action, shutdown.Guards.Yes = "shutdown", true
	expression.Proof = Proof{Verify: "rpcutil#daemon_stats", Expr: `data("version") == "0.29.4"`}
	short := func(r Request) Request { r.Proof.Timeout = Wait{3 * time.Second, true}; return r }
	wrong := short(expression)
	wrong.Proof.Expr = `data("version") == "0.1.0"`
	version := short(restart())
	version.Proof.Version = "0.1.0"
	believed := restart()
	believed.Proof.None = true
	for _, tt := range []struct {
		name    string
		r       Request
		set     func(s *server) // n3
		want    map[batch.State]int
		verdict batch.Verdict
	}{
		{"restarts", restart(), func(*server) {}, map[batch.State]int{batch.Verified: 3}, batch.Done},
		{"one that does not restart", short(restart()), func(s *server) { s.stuck = true }, map[batch.State]int{batch.Verified: 2, batch.Unverified: 1}, batch.Failed},
		{"one that is silent", restart(), func(s *server) { s.silent, s.stuck = true, true }, map[batch.State]int{batch.Verified: 2, batch.NoReply: 1}, batch.Silent},
		{"one that refuses", restart(), func(s *server) { s.code, s.says = 1, "no" }, map[batch.State]int{batch.Verified: 2, batch.Refused: 1}, batch.Failed},
		{"another version", version, func(*server) {}, map[batch.State]int{batch.Unverified: 3}, batch.Failed},
		{"shutdowns", shutdown, func(*server) {}, map[batch.State]int{batch.Verified: 3}, batch.Done},
		{"one that stays", short(shutdown), func(s *server) { s.stuck = true }, map[batch.State]int{batch.Verified: 2, batch.Unverified: 1}, batch.Failed},
		{"an expression", expression, func(*server) {}, map[batch.State]int{batch.Verified: 3}, batch.Done},
		{"one that does not hold", wrong, func(*server) {}, map[batch.State]int{batch.Unverified: 3}, batch.Failed},
		{"nothing", believed, func(s *server) { s.stuck = true }, map[batch.State]int{batch.Accepted: 3}, batch.Done},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1", "n2", "n3")
				tt.set(w.nodes["n3"])
				res, err := w.start(t.Context(), tt.r)
				if err != nil || res.Summary.Verdict != tt.verdict || !maps.Equal(states(res.Summary), tt.want) {
					t.Errorf("%s, %v, %v; want %s, %v", res.Summary.Verdict, states(res.Summary), err, tt.verdict, tt.want)
				}
			})
		})
	}
}

// A wrong token reaches the first batch only: the rest is not sent to.
func TestABatchWithoutSuccessEndsAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		for _, s := range w.nodes {
			s.code, s.says = 1, "Incorrect provision token supplied"
		}
		r := restart()
		r.Policy.Sizes = batch.Sizes{batch.Number(2)}
		res, err := w.start(t.Context(), r)
		if err != nil || res.Summary.Verdict != batch.Stopped || states(res.Summary)[batch.NotSent] != 1 || len(w.sent()) != 2 {
			t.Errorf("%s, %v, %v", res.Summary.Verdict, states(res.Summary), err)
		}
		if !strings.Contains(res.Summary.Stop.Rule, batch.RuleWholeBatch) {
			t.Errorf("%+v", res.Summary.Stop)
		}
		many := ping() // a question is put to all of them
		many.Policy.Sizes = batch.Sizes{batch.Number(1)}
		if res, err := w.start(t.Context(), many); err != nil || states(res.Summary)[batch.Refused] != 3 {
			t.Errorf("%v, %v", states(res.Summary), err)
		}
	})
}
