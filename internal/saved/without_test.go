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
	if d := cmp.Diff(map[string][]string{"rack": {"ra", "rb", "rd"}}, got.Facts); d != "" {
		t.Error(d)
	}
	if _, err := batch.Begin(batch.Header{}, got); err != nil {
		t.Errorf("the engine refuses it: %v", err)
	}
}
