package batch

import (
	"testing"
	"time"
)

var estimatePace = Pace{Sleep: time.Second, ReplyTimeout: 22 * time.Second, LongestDelay: 10 * time.Second, VerifyTimeout: time.Minute}

// racked are nodes of two racks: the first half in one, the second half in the other.
func racked(n int) []Node {
	nodes := named(n)
	for i := range nodes {
		nodes[i].Facts = map[string]string{"rack": "a"}
		if i >= n/2 {
			nodes[i].Facts = map[string]string{"rack": "b"}
		}
	}
	return nodes
}

// The caps hold a window up as long, whichever mode the plan has.
func TestBothModesEstimateTheCaps(t *testing.T) {
	policy := Policy{Sizes: Sizes{Number(100)}, MaxPer: []MaxPer{{"rack", 5}}}
	barrier, err := NewPlan(racked(100), policy)
	if err != nil {
		t.Fatal(err)
	}
	policy.Rolling = true
	rolling, err := NewPlan(racked(100), policy)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := barrier.Estimates(estimatePace), rolling.Estimates(estimatePace); got != want || got.Rolling.Typical != 84*time.Second { // 10 rounds of 8 s, and the slowest of the last
		t.Errorf("the plan in batches estimates %+v, the window %+v", got, want)
	}
}

// What is left of a run is estimated as what it is a part of: the same window, the same caps, and a ramp from where the run
// was.
func TestTheRestOfARunIsEstimatedByItsPlan(t *testing.T) {
	share := func(percents int) Amount { return Amount{Millionths: percents * percent} }
	for _, tt := range []struct {
		name   string
		policy Policy
		done   int // nodes that are verified
		want   Estimate
		sizes  string
	}{
		// 20 of 1000 nodes at a time, 40 left: two rounds of 8 s, of which the last ends with its slowest node.
		{"a share", Policy{Rolling: true, Sizes: Sizes{share(2)}}, 960, Estimate{20 * time.Second, 186 * time.Second}, "20"},
		// One node of each rack at a time: 50 of one rack are left, whatever the window has.
		{"caps", Policy{Rolling: true, Sizes: Sizes{Number(500)}, MaxPer: []MaxPer{{"rack", 1}}}, 950, Estimate{404 * time.Second, 50 * 93 * time.Second}, "500"},
		// The steps of 1 and 10 are over.
		{"a ramp", Policy{Rolling: true, Sizes: Sizes{Number(1), Number(10), share(2)}}, 960, Estimate{20 * time.Second, 186 * time.Second}, "20"},
		{"a ramp in its second step", Policy{Rolling: true, Sizes: Sizes{Number(1), Number(10), Number(1000)}}, 5, Estimate{24 * time.Second, 186 * time.Second}, "10,1000"},
		{"batches", Policy{Sizes: Sizes{share(2)}}, 960, Estimate{2*time.Second + 21048*time.Millisecond, 44*time.Second + 140*time.Second}, "20"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := NewPlan(racked(1000), tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			from, err := Begin(Header{}, plan)
			if err != nil {
				t.Fatal(err)
			}
			from.l.begin.Proved = true
			left := tt.done
			for _, name := range plan.Names() {
				if left--; left < 0 {
					break
				}
				at := from.l.index[name]
				if tt.policy.Rolling {
					number := len(from.l.batches) + 1
					from.l.addBatch(Batch{Number: number, Nodes: []string{name}})
					if err := from.l.transfer([]string{name}, number); err != nil {
						t.Fatal(err)
					}
				}
				from.l.move(at, Verified)
			}
			rest := from.Remaining()
			if got := rest.Estimate(estimatePace); rest.Nodes() != 1000-tt.done || got != tt.want || rest.Policy.Sizes.String() != tt.sizes {
				t.Errorf("%d nodes by %s: %+v, want %+v by %s", rest.Nodes(), rest.Policy.Sizes, got, tt.want, tt.sizes)
			}
			if from.Plan().Policy.Sizes.String() != tt.policy.Sizes.String() {
				t.Error("the plan itself has changed")
			}
		})
	}
}
