package batch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func named(n int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i] = Node{Identity: fmt.Sprintf("n%d", i+1)}
	}
	return nodes
}

func sizesOf(t *testing.T, text string) Sizes {
	t.Helper()
	s, err := ParseSizes(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlanSplitsAsThePolicySays(t *testing.T) {
	for _, tc := range []struct {
		name   string
		nodes  int
		batch  string
		policy Policy
		want   []int
		canary bool
		notes  int
	}{
		{"everything at once", 5, "", Policy{}, []int{5}, false, 0},
		{"a number", 7, "3", Policy{}, []int{3, 3, 1}, false, 0},
		{"a share rounds up", 11, "25%", Policy{}, []int{3, 3, 3, 2}, false, 0},
		{"never below one", 3, "1%", Policy{}, []int{1, 1, 1}, false, 0},
		{"never above the set", 3, "100", Policy{}, []int{3}, false, 0},
		{"a list repeats its last", 100, "1,10,5%,25%", Policy{}, []int{1, 10, 5, 25, 25, 25, 9}, false, 0},
		{"a canary goes first", 7, "3", Policy{Canary: 2}, []int{2, 3, 2}, true, 0},
		{"a canary of more than all", 2, "", Policy{Canary: 5}, []int{2}, true, 0},
		{"a token above ten nodes", 11, "", Policy{TakesToken: true}, []int{1, 10}, true, 1},
		{"a token on ten nodes", 10, "", Policy{TakesToken: true}, []int{10}, false, 0},
		{"a token with batches", 11, "5", Policy{TakesToken: true}, []int{5, 5, 1}, false, 0},
		{"a token with the canary off", 11, "", Policy{TakesToken: true, Canary: CanaryOff}, []int{11}, false, 0},
		{"a token with another canary", 11, "", Policy{TakesToken: true, Canary: 3}, []int{3, 8}, true, 0},
	} {
		tc.policy.Sizes = sizesOf(t, tc.batch)
		p, err := NewPlan(named(tc.nodes), tc.policy)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var got []int
		for i, b := range p.Batches {
			got = append(got, len(b.Nodes))
			if b.Number != i+1 || b.Reason == "" || b.Canary != (tc.canary && i == 0) {
				t.Errorf("%s: batch %+v", tc.name, b)
			}
		}
		if !slices.Equal(got, tc.want) || len(p.Notes) != tc.notes {
			t.Errorf("%s: got %v, want %v; notes %q", tc.name, got, tc.want, p.Notes)
		}
	}
}

func TestPlanRefusesWhatMeansNothing(t *testing.T) {
	if _, err := NewPlan(nil, Policy{}); !errors.Is(err, ErrNoNodes) {
		t.Errorf("no nodes: %v", err)
	}
	for name, nodes := range map[string][]Node{
		"blank": {{Identity: ""}}, "twice": {{Identity: "a"}, {Identity: "a"}}, "not text": {{Identity: "a\xff"}},
	} {
		if _, err := NewPlan(nodes, Policy{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, p := range map[string]Policy{
		"canary": {Canary: -2}, "cap without fact": {MaxPer: []MaxPer{{"", 1}}}, "cap of none": {MaxPer: []MaxPer{{"rack", 0}}},
		"two caps": {MaxPer: []MaxPer{{"rack", 1}, {"rack", 2}}}, "empty size": {Sizes: Sizes{{}}}, "negative": {Sizes: Sizes{Number(-1)}},
	} {
		if _, err := NewPlan(named(3), p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// randomFleet gives nodes with racks and sites of uneven sizes; some lack them.
func randomFleet(rng *rand.Rand) []Node {
	nodes := named(1 + rng.IntN(300))
	racks, sites := 1+rng.IntN(20), 1+rng.IntN(4)
	for i := range nodes {
		nodes[i].Facts = map[string]string{"site": fmt.Sprint(rng.IntN(sites))}
		if rng.IntN(10) > 0 {
			nodes[i].Facts["rack"] = fmt.Sprint(min(rng.IntN(racks), rng.IntN(racks)))
		}
	}
	return nodes
}

func TestPlanProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		nodes := randomFleet(rng)
		p := Policy{Canary: rng.IntN(4), TakesToken: rng.IntN(2) == 0}
		for range rng.IntN(4) {
			a := Number(1 + rng.IntN(40))
			if rng.IntN(2) == 0 {
				a = percentage(1 + rng.IntN(100))
			}
			p.Sizes = append(p.Sizes, a)
		}
		if rng.IntN(2) == 0 {
			p.SpreadBy = "rack"
		}
		if rng.IntN(2) == 0 {
			p.MaxPer = append(p.MaxPer, MaxPer{"rack", 1 + rng.IntN(5)})
		}
		if rng.IntN(3) == 0 {
			p.MaxPer = append(p.MaxPer, MaxPer{"site", 1 + rng.IntN(9)})
		}
		plan, err := NewPlan(nodes, p)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := NewPlan(nodes, p); !cmp.Equal(plan, again) {
			t.Fatal("the same nodes and policy gave another plan")
		}
		checkPlan(t, nodes, p, plan)
	}
}

func checkPlan(t *testing.T, nodes []Node, p Policy, plan Plan) {
	t.Helper()
	facts := map[string]map[string]string{}
	for _, n := range nodes {
		facts[n.Identity] = n.Facts
	}
	seen := map[string]bool{}
	steps, _ := p.steps(len(nodes))
	for i, b := range plan.Batches {
		if want := steps(i).size; len(b.Nodes) == 0 || len(b.Nodes) > want {
			t.Fatalf("batch %d holds %d nodes, wanted up to %d", b.Number, len(b.Nodes), want)
		} else if len(p.MaxPer) == 0 && len(b.Nodes) < want && i < len(plan.Batches)-1 {
			t.Fatalf("batch %d of %d holds %d nodes, wanted %d", b.Number, len(plan.Batches), len(b.Nodes), want)
		}
		for _, n := range b.Nodes {
			if seen[n] || facts[n] == nil && nodes[0].Facts != nil {
				t.Fatalf("node %q is in two batches, or was never asked for", n)
			}
			seen[n] = true
		}
		for _, m := range p.MaxPer {
			used := map[string]int{}
			for _, n := range b.Nodes {
				if used[facts[n][m.Fact]]++; used[facts[n][m.Fact]] > m.N {
					t.Fatalf("batch %d holds more than %d of %s %q", b.Number, m.N, m.Fact, facts[n][m.Fact])
				}
			}
		}
	}
	if len(seen) != len(nodes) || plan.Nodes() != len(nodes) {
		t.Fatalf("%d of %d nodes are planned", len(seen), len(nodes))
	}
}

func TestSpreadGivesEachBatchALikeShare(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	worst := 0.0
	for range 150 {
		nodes := randomFleet(rng)
		plan, err := NewPlan(nodes, Policy{SpreadBy: "rack", Sizes: Sizes{percentage(10)}})
		if err != nil {
			t.Fatal(err)
		}
		total := map[string]int{}
		rack := map[string]string{}
		for _, n := range nodes {
			total[n.Facts["rack"]]++
			rack[n.Identity] = n.Facts["rack"]
		}
		for _, b := range plan.Batches {
			got := map[string]int{}
			for _, n := range b.Nodes {
				got[rack[n]]++
			}
			for v, n := range total {
				share := float64(n) * float64(len(b.Nodes)) / float64(len(nodes))
				worst = max(worst, float64(got[v])-share, share-float64(got[v]))
			}
		}
	}
	if worst > 3 {
		t.Errorf("a batch is off its share by %.2f nodes", worst)
	}
	t.Logf("worst distance from the share: %.2f nodes", worst)
}

func TestPlanSaysWhyABatchIsSmall(t *testing.T) {
	nodes := named(6)
	for i := range nodes {
		nodes[i].Facts = map[string]string{"rack": "a"}
	}
	nodes[5].Facts = nil
	plan, err := NewPlan(nodes, Policy{Sizes: Sizes{Number(4)}, MaxPer: []MaxPer{{"rack", 2}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := plan.Batches[0].Reason; !strings.Contains(got, "cut to 3 by at most 2 per rack") {
		t.Errorf("reason %q", got)
	}
	if len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "1 of 6 nodes have no fact rack") {
		t.Errorf("notes %q", plan.Notes)
	}
}

func TestEstimate(t *testing.T) {
	plan, _ := NewPlan(named(30), Policy{Sizes: Sizes{Number(10)}})
	got := plan.Estimate(Pace{Sleep: 5 * time.Second, ReplyTimeout: 22 * time.Second, LongestDelay: 11 * time.Second, VerifyTimeout: time.Minute})
	want := Estimate{Typical: 3*time.Second + 33*time.Second, // the slowest of 10 nodes acts after 10 s, and needs 1 s to return
		Longest: 66*time.Second + 3*71*time.Second}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got = plan.Estimate(Pace{Sleep: 5 * time.Second, ReplyTimeout: 5 * time.Minute, LongestDelay: 5 * time.Minute, VerifyTimeout: 5 * time.Minute, Watch: true})
	if want := (Estimate{Typical: 100 * time.Second, Longest: 18 * time.Minute}); got != want {
		t.Errorf("watched: got %+v, want %+v", got, want)
	}
	got = plan.Estimate(Pace{Sleep: 5 * time.Second, ReplyTimeout: 500 * time.Millisecond})
	if want := (Estimate{11500 * time.Millisecond, 11500 * time.Millisecond}); got != want {
		t.Errorf("without proof: got %+v, want %+v", got, want)
	}
}

// retried is a run with a node in every state: 1 verified, 2 refused, 3 no-reply,
// 4 unknown, 5 not-sent, 6 unverified, 7 absent after its sending, 8 absent before.
func retried(t *testing.T) Progress {
	t.Helper()
	plan, err := NewPlan(named(8), Policy{})
	if err != nil {
		t.Fatal(err)
	}
	from, err := Begin(Header{}, plan)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(9, 0)
	for _, r := range []Record{
		{Kind: KindPlan, Begin: &Beginning{Plan: &plan, Proved: true}},
		{Kind: KindAbsent, Batch: 1, Nodes: []string{"n8"}},
		{Kind: KindBaseline, Batch: 1, Baselines: map[string]string{"n3": "base"}},
		{Kind: KindIntent, Batch: 1, Nodes: []string{"n1", "n2", "n3", "n4", "n6", "n7"}},
		{Kind: KindOutcomes, Outcomes: []Outcome{{Batch: 1, Node: "n1", Time: now, OK: true}, {Batch: 1, Node: "n2", Time: now, Code: 4},
			{Batch: 1, Node: "n6", Time: now, OK: true}, {Batch: 1, Node: "n7", Time: now, Absent: true}}},
		{Kind: KindProofs, Proofs: []Proof{{Node: "n1", Found: Acted}, {Node: "n6", Found: Unproved}}},
	} {
		r.Time = now
		if err := from.l.apply(&r); err != nil {
			t.Fatal(err)
		}
	}
	from.l.move(2, NoReply)
	from.l.settle()
	return from
}

func TestRetryProbesNodesThatMayHaveBeenReached(t *testing.T) {
	from := retried(t)
	for _, tc := range []struct {
		which  []State
		nodes  []string
		doubts []string
	}{
		{[]State{Refused, Unverified}, []string{"n2", "n6"}, []string{"n6"}},
		{[]State{NoReply, NotSent}, []string{"n3", "n5"}, []string{"n3"}},
		{[]State{Unknown}, []string{"n4"}, []string{"n4"}},
		{[]State{Absent}, []string{"n7", "n8"}, nil},
	} {
		plan, err := Retry(from, tc.which, Policy{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var doubts []string
		for _, d := range plan.Doubts {
			doubts = append(doubts, d.Node)
			if d.Node == "n3" && (d.Baseline != "base" || !d.Sent.Equal(time.Unix(9, 0))) {
				t.Errorf("doubt %+v does not say what is known", d)
			}
		}
		if !slices.Equal(plan.Batches[0].Nodes, tc.nodes) || !slices.Equal(doubts, tc.doubts) {
			t.Errorf("retry %v: %v, doubts %v", tc.which, plan.Batches, doubts)
		}
	}
	if _, err := Retry(from, []State{Verified}, Policy{}, nil); err == nil {
		t.Error("retry of verified nodes: no error")
	}
	if _, err := Retry(from, []State{Planned}, Policy{}, nil); !errors.Is(err, ErrNoNodes) {
		t.Errorf("retry of no node: %v", err)
	}
}

func FuzzParseSizes(f *testing.F) {
	for _, s := range []string{"", "0", "100", "5%", "1,10,5%,25%", "0.5%", "-1", "101%", "1e3", "٣"} {
		f.Add(s, 77)
	}
	f.Fuzz(func(t *testing.T, text string, set int) {
		s, err := ParseSizes(text)
		if err != nil {
			return
		}
		again, err := ParseSizes(s.String())
		if err != nil || !slices.Equal(s, again) {
			t.Fatalf("%q reads as %v, which reads as %v, %v", text, s, again, err)
		}
		if set = min(max(set, 1), 1<<30); s.At(0, set) < 1 || s.At(0, set) > set {
			t.Fatalf("%q of %d is %d", text, set, s.At(0, set))
		}
	})
}
