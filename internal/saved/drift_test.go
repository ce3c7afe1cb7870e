package saved

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetctl/batch"
)

func TestDrift(t *testing.T) {
	p := example(t) // db2 did not answer when it was saved
	same := slices.Clone(p.Nodes)
	same[4] = Node{"db2.example.net", start, "0.30.2"}
	with := func(at int, n Node) []Node {
		out := slices.Clone(same)
		out[at] = n
		return out
	}
	early := same[0].Started
	unseen := Drifted{Identity: "db2.example.net", Change: Unseen}
	for _, tt := range []struct {
		name     string
		answered []Node
		changes  bool
		want     []Drifted
	}{
		{"the same, nothing is changed by the action", same, false, nil},
		{"the same", same, true, []Drifted{unseen}},
		{"a fraction of a second", with(0, Node{same[0].Identity, early.Add(time.Second / 2), "0.30.2"}), true, []Drifted{unseen}},
		{"gone", same[1:], false, []Drifted{{Identity: "web1.example.net", Change: Gone}}},
		{"another version", with(0, Node{"web1.example.net", start, "0.31.0"}), true, []Drifted{{"web1.example.net", OtherVersion, "0.30.2", "0.31.0"}, unseen}},
		{"another version, read only", with(0, Node{"web1.example.net", early, "0.31.0"}), false, []Drifted{{"web1.example.net", OtherVersion, "0.30.2", "0.31.0"}}},
		{"restarted", with(0, Node{"web1.example.net", start, "0.30.2"}), true, []Drifted{{"web1.example.net", Restarted, early.Format(time.RFC3339), start.Format(time.RFC3339)}, unseen}},
		{"restarted, read only", with(0, Node{"web1.example.net", start, "0.30.2"}), false, nil},
		{"began earlier: its clock or its process is another", with(0, Node{"web1.example.net", early.Add(-time.Hour), "0.30.2"}), true,
			[]Drifted{{"web1.example.net", Restarted, early.Format(time.RFC3339), early.Add(-time.Hour).Format(time.RFC3339)}, unseen}},
		{"no start time now", with(0, Node{Identity: "web1.example.net", Version: "0.30.2"}), true, []Drifted{{"web1.example.net", Restarted, early.Format(time.RFC3339), ""}, unseen}},
		{"gone then and now", same[:4], true, []Drifted{{Identity: "db2.example.net", Change: Gone}}},
	} {
		got := p.Drift(tt.answered, tt.changes)
		if d := cmp.Diff(Drift(tt.want), got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
	got := p.Drift(same, true)
	if d := cmp.Diff([]string{"db2.example.net"}, got.Names(Unseen)); d != "" || got.Names(Gone) != nil {
		t.Error(d)
	}
}

func TestAcceptedDrift(t *testing.T) {
	p := example(t)
	drift := func(n int) Drift {
		var d Drift
		for _, node := range p.Nodes[:n] {
			d = append(d, Drifted{Identity: node.Identity, Change: Gone})
		}
		return d
	}
	share := func(text string) batch.Amount {
		a, err := batch.ParseAmount(text)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, tt := range []struct {
		n       int
		allowed batch.Amount
		want    string
		hint    string
	}{
		{0, batch.Amount{}, "", ""},
		{1, batch.Amount{}, "1 node changed since the plan was saved", "--accept-drift 1"},
		{2, batch.Amount{}, "2 nodes changed since the plan was saved", "--accept-drift 2"},
		{2, share("2"), "", ""},
		{3, share("2"), "3 nodes changed since the plan was saved, and 2 may (--accept-drift 2)", "--accept-drift 3"},
		{1, share("20%"), "", ""},
		{2, share("20%"), "and 1 may (--accept-drift 20%)", "--accept-drift 2"},
		{5, share("100%"), "every node of the plan has changed", "save the plan again"},
		{5, share("9"), "every node of the plan has changed", "save the plan again"},
	} {
		err := p.Accept(drift(tt.n), tt.allowed)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%d of %s: %v", tt.n, tt.allowed, err)
		}
		if r, ok := errors.AsType[*RefusedError](err); err != nil && (!ok || !strings.Contains(r.Hint, tt.hint)) {
			t.Errorf("%d of %s: %+v", tt.n, tt.allowed, r)
		}
	}
}

func TestChangesHaveWords(t *testing.T) {
	seen := map[string]bool{}
	for c := range changeEnd {
		text, err := c.MarshalText()
		if err != nil || len(text) == 0 || seen[string(text)] {
			t.Errorf("change %d: %q, %v", c, text, err)
		}
		seen[string(text)] = true
	}
	if got := changeEnd.String(); got != "change(5)" {
		t.Error(got)
	}
}
