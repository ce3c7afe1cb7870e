package run

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"fleetctl/batch"
)

// Nodes for which the expression holds go last, and so do those that do not answer; a retry keeps that without asking.
func TestLeadersGoLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4")
		w.nodes["n1"].facts = map[string]string{"role": `"leader"`}
		w.nodes["n3"].silent = true
		r := ping()
		r.Record.On, r.Policy.Sizes, r.Policy.LastIf = true, batch.Sizes{batch.Number(2)}, `fact("role") == "leader"`
		dry := r
		dry.DryRun = true
		if _, err := w.start(t.Context(), dry); err != nil {
			t.Fatal(err)
		}
		plan := one[Planned](t, w.events).Plan
		notes := strings.Join(plan.Notes, "\n")
		if len(plan.Batches) != 2 || !slices.Equal(plan.Batches[0].Nodes, []string{"n2", "n4"}) || !slices.Equal(plan.Last, []string{"n1", "n3"}) ||
			!strings.Contains(notes, "1 node did not answer when asked for --last-if, and go last, too: n3") || !strings.Contains(notes, "2 nodes go last") {
			t.Errorf("the plan is %+v", plan)
		}
		res, err := w.start(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range slices.Collect(res.Summary.Results()) {
			if last := n.Identity == "n1" || n.Identity == "n3"; last != (n.Batch == 2) {
				t.Errorf("%s is in batch %d", n.Identity, n.Batch)
			}
		}
		again, err := batch.Retry(w.last().Progress, []batch.State{batch.NoReply}, batch.Policy{}, nil)
		if err != nil || again.Policy.LastIf != r.Policy.LastIf {
			t.Errorf("a retry has %+v, %v", again.Policy, err)
		}
	})
}

func TestAnExpressionThatHoldsForNoNodeIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for expression, want := range map[string]string{`with("nosuch")`: "--last-if holds for no node: none goes last", `true`: "--last-if holds for every node"} {
			w := newWorld(t, "n1", "n2")
			r := ping()
			r.DryRun, r.Policy.LastIf = true, expression
			if _, err := w.start(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if plan := one[Planned](t, w.events).Plan; len(plan.Batches) != 1 || !strings.Contains(strings.Join(plan.Notes, "\n"), want) {
				t.Errorf("%s: %+v, want %q", expression, plan, want)
			}
		}
	})
}

func TestAnExpressionThatDoesNotCompileIsRefused(t *testing.T) {
	r := ping()
	if r.Policy.LastIf = `fact(`; r.Validate() == nil {
		t.Error("it is accepted")
	}
}
