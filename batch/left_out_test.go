package batch

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Nodes that a plan leaves out are not-sent with their reason, in a resume too, and have no effect on the verdict.
func TestAPlanLeavesNodesOut(t *testing.T) {
	pace := calm
	pace.SilentHold = time.Minute
	for _, rolling := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			policy := Policy{Rolling: rolling, Sizes: Sizes{Number(2)}, SpreadBy: "rack"}
			var nodes []Node
			for _, name := range []string{"a", "b", "c", "d"} {
				nodes = append(nodes, Node{Identity: name, Facts: map[string]string{"rack": "of " + name}})
			}
			plan, err := NewPlan(nodes, policy)
			if err != nil {
				t.Fatal(err)
			}
			plan.LeftOut = []LeftOut{{Nodes: []string{"x", "y"}, Reason: "gone"}, {Nodes: []string{"z"}, Reason: "restarted"}}
			if rolling {
				plan.Facts["rack"] = append(plan.Facts["rack"], "of x", "of y", "of z")
			}
			order := plan.Names() // as --spread-by has it
			if d := cmp.Diff(append(order[:4:4], "x", "y", "z"), plan.AllNames()); plan.Nodes() != 4 || d != "" {
				t.Errorf("%d nodes to be sent to, in all %s", plan.Nodes(), d)
			}
			from, err := Begin(Header{Run: "r1"}, plan)
			if err != nil {
				t.Fatal(err)
			}
			f, tp, interrupt := newFleet(), &tape{}, make(chan error, 1)
			f.replied = func(n int) {
				if n == 2 {
					interrupt <- errors.New("interrupt")
				}
			}
			s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Prober: f, Journal: tp, Pace: pace, Interrupt: interrupt}, from)
			if open := s.Open; s.Verdict != Interrupted || s.States.Of(NotSent) != 5 || open != 4 {
				t.Errorf("interrupted: %s: %s, %d open", s.Verdict, counts(s.States), open)
			}
			again, err := Replay(tp.all())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(order[2:], again.Remaining().Names()); d != "" {
				t.Errorf("a resume sends to others: %s", d)
			}
			s = run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Prober: f, Journal: tp, Pace: pace, Rules: Rules{MaxNoReply: Number(1), StopWhenNothing: true}}, again)
			expect(t, s, Done, map[State]int{Verified: 4, NotSent: 3})
			reasons := map[string]string{}
			for r := range s.Results() {
				if r.State == NotSent {
					reasons[r.Identity] = r.Reason
				}
			}
			if d := cmp.Diff(map[string]string{"x": "gone", "y": "gone", "z": "restarted"}, reasons); d != "" || s.Open != 0 {
				t.Errorf("%d open, %s", s.Open, d)
			}
			for _, name := range []string{"x", "y", "z"} {
				if f.delivered[name] > 0 {
					t.Errorf("%s got the request", name)
				}
			}
			retry, err := Retry(again, []State{NotSent}, policy, nil)
			if err != nil || len(retry.LeftOut) != 0 || retry.Nodes() != 3 {
				t.Errorf("a retry of those that were not sent to has %d nodes, %v", retry.Nodes(), err)
			}
			var first struct {
				Version int `json:"v"`
			}
			if err := json.Unmarshal(tp.lines[0], &first); err != nil || first.Version != 3 {
				t.Errorf("a program that would send to them reads the record: version %d, %v", first.Version, err)
			}
		})
	}
}

func TestNodesThatCannotBeLeftOut(t *testing.T) {
	plan, err := NewPlan([]Node{{Identity: "a"}}, Policy{})
	if err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]LeftOut{"a planned one": {Nodes: []string{"a"}}, "one without a name": {Nodes: []string{""}}, "one twice": {Nodes: []string{"b", "b"}}} {
		plan.LeftOut = []LeftOut{out}
		if _, err := Begin(Header{}, plan); err == nil {
			t.Errorf("%s: left out", name)
		}
	}
}
