package run

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
)

// apply applies the plan of a request, which was saved before, over the fleet as it is now.
func (w *world) apply(t *testing.T, r Request, change func(), drift batch.Amount) (Result, error) {
	t.Helper()
	plan := savedBy(t, w, r)
	change()
	again, err := Request{Inputs: map[string]string{"token": "s3cret"}}.FromPlan(plan, drift)
	if err != nil {
		t.Fatal(err)
	}
	w.events.seen = nil
	return Apply(t.Context(), w.context(), again)
}

// Nodes that changed are left out with their reason; nodes that are new are named, and get nothing.
func TestApplyOverAnotherFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		for i, n := range []string{"n1", "n2", "n3"} {
			w.nodes[n].facts = map[string]string{"rack": string('1' + rune(i))}
		}
		r := restart()
		r.Policy.SpreadBy, r.Policy.Canary = "rack", batch.CanaryOff
		res, err := w.apply(t, r, func() {
			w.nodes["n2"].start = time.Now()
			w.finds = []string{"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"}
		}, batch.Number(1))
		if err != nil {
			t.Fatal(err)
		}
		if s := res.Summary; s.Verdict != batch.Done || s.States.Of(batch.Verified) != 2 || s.States.Of(batch.NotSent) != 1 {
			t.Errorf("the run came to %v", states(s))
		}
		if got := w.nodesSent(); got != "n1 n3" {
			t.Errorf("sent to %s", got)
		}
		notes := w.events.notes()
		for _, want := range []string{"1 node: restarted: n2", "the filter of the plan now also finds 6 nodes, to which nothing is sent: n[4-8] and 1 more"} {
			if !strings.Contains(notes, want) {
				t.Errorf("no %q in %s", want, notes)
			}
		}
		stored := w.last()
		if left := result(t, stored.Progress, "n2"); left.State != batch.NotSent || left.Reason != "left out: restarted since the plan was saved" {
			t.Errorf("n2 is %+v", left)
		}
		if got := stored.Facts()["rack"]; !slices.Equal(got, []string{"1", "3", "2"}) { // that which is left out is the last
			t.Errorf("the record has racks %q", got)
		}
	})
}

// Where the fleet cannot be asked for new nodes, the plan is applied anyway, and a warning reports it.
func TestNewNodesThatCannotBeLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		res, err := w.apply(t, restart(), func() { w.findErr = errAway }, batch.Amount{})
		if err != nil || res.Summary.Verdict != batch.Done || !strings.Contains(w.events.notes(), "cannot look for nodes that were added since the plan was saved: "+errAway.Error()) {
			t.Errorf("%v, %v, %s", states(res.Summary), err, w.events.notes())
		}
	})
}

// A plan of another operator must not make this machine read a file or run a program.
func TestWhichFiltersAPlanKeeps(t *testing.T) {
	for name, tt := range map[string]struct {
		t    fleet.Targets
		kept bool
	}{
		"every node":         {fleet.Targets{}, true},
		"a filter":           {fleet.Targets{Filter: filter.Flags{Facts: []string{"role=web"}}, Exclude: []string{"n1"}, Method: "mc"}, true},
		"a file":             {fleet.Targets{NodesFile: "f"}, false},
		"a part":             {fleet.Targets{Limit: "3"}, false},
		"a program":          {fleet.Targets{Method: "external", Do: []string{"command=rm"}}, false},
		"another method":     {fleet.Targets{Method: "puppetdb"}, false},
		"no method":          {fleet.Targets{Method: "nosuch"}, false},
		"options":            {fleet.Targets{Do: []string{"file=x"}}, false},
		"an exclusion list":  {fleet.Targets{Exclude: []string{"n1", "@f"}}, false},
		"a function of data": {fleet.Targets{Filter: filter.Flags{DataFunctions: []string{"x"}}}, false},
	} {
		if s := selection(tt.t); (s != nil) != tt.kept || s != nil && !slices.Equal(s.Facts, tt.t.Filter.Facts) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
