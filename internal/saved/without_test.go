package saved

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleetctl/batch"
)

func gone(names ...string) Drift {
	var d Drift
	for _, name := range names {
		d = append(d, Drifted{Identity: name, Change: Gone})
	}
	return d
}

func TestThePlanThatIsLeft(t *testing.T) {
	p := example(t) // web1 is the canary, then web2 and web3, then db1 and db2
	for _, tt := range []struct {
		name string
		d    Drift
		want [][]string
		err  string
	}{
		{"nothing changed", nil, [][]string{{"web1.example.net"}, {"web2.example.net", "web3.example.net"}, {"db1.example.net", "db2.example.net"}}, ""},
		{"one", gone("web2.example.net"), [][]string{{"web1.example.net"}, {"web3.example.net"}, {"db1.example.net", "db2.example.net"}}, ""},
		{"a whole batch", gone("web2.example.net", "web3.example.net"), [][]string{{"web1.example.net"}, {"db1.example.net", "db2.example.net"}}, ""},
		{"the canary", gone("web1.example.net"), nil, "the canary of the plan has changed"},
	} {
		got, err := p.Without(tt.d)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v", tt.name, err)
		}
		var batches [][]string
		for i, b := range got.Batches {
			if b.Number != i+1 {
				t.Errorf("%s: batch %d has number %d", tt.name, i+1, b.Number)
			}
			batches = append(batches, b.Nodes)
		}
		if d := cmp.Diff(tt.want, batches); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
		if err == nil {
			if _, err := batch.Begin(batch.Header{}, got); err != nil {
				t.Errorf("%s: the engine refuses it: %v", tt.name, err)
			}
		}
	}
	if d := cmp.Diff(example(t).Plan, p.Plan); d != "" {
		t.Errorf("the saved plan has changed: %s", d)
	}
}

// Nodes that are left out keep their reason, in the order of the plan.
func TestTheReasonsOfWhatIsLeftOut(t *testing.T) {
	p := example(t)
	got, err := p.Without(Drift{
		{Identity: "web2.example.net", Change: Gone}, {Identity: "web3.example.net", Change: OtherVersion, Was: "0.30.2", Is: "0.31.0"},
		{Identity: "db1.example.net", Change: Restarted, Was: "then", Is: "now"}, {Identity: "db2.example.net", Change: Unseen},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []batch.LeftOut{
		{Nodes: []string{"web2.example.net"}, Reason: "left out: gone since the plan was saved"},
		{Nodes: []string{"web3.example.net"}, Reason: "left out: it runs version 0.31.0, and ran 0.30.2 when the plan was saved"},
		{Nodes: []string{"db1.example.net"}, Reason: "left out: restarted since the plan was saved"},
		{Nodes: []string{"db2.example.net"}, Reason: "left out: it did not answer when the plan was saved"},
	}
	if d := cmp.Diff(want, got.LeftOut); d != "" {
		t.Error(d)
	}
	if got, err := p.Without(gone("web2.example.net", "db2.example.net")); err != nil || len(got.LeftOut) != 1 || len(got.LeftOut[0].Nodes) != 2 {
		t.Errorf("one reason for both: %+v, %v", got.LeftOut, err)
	}
}

// A window has a pool, and facts beside it, one value a node.
func TestTheWindowThatIsLeft(t *testing.T) {
	var all []batch.Node
	for _, name := range []string{"a", "b", "c", "d"} {
		all = append(all, batch.Node{Identity: name, Facts: map[string]string{"rack": "r" + name}})
	}
	plan, err := batch.NewPlan(all, batch.Policy{Rolling: true, Sizes: batch.Sizes{batch.Number(2)}, Canary: 1, MaxPer: []batch.MaxPer{{Fact: "rack", N: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	p := Plan{Plan: plan}
	for _, name := range plan.Names() {
		p.Nodes = append(p.Nodes, Node{Identity: name})
	}
	got, err := p.Without(gone("c"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a", "b", "d"}, got.Names()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string][]string{"rack": {"ra", "rb", "rd", "rc"}}, got.Facts); d != "" { // that which is left out is the last
		t.Error(d)
	}
	if _, err := batch.Begin(batch.Header{}, got); err != nil {
		t.Errorf("the engine refuses it: %v", err)
	}
}
