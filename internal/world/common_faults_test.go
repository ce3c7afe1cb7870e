package world

import (
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/lease"
	product "fleetctl/internal/run"
)

// calm is a case of so many healthy nodes in two racks, and operators without any trouble.
func calm(nodes int, limits lease.Limits, operators ...[]errand) *commonSpec {
	return &commonSpec{
		seed: 1, action: "restart", nodes: make([]traits, nodes), racks: 2, limits: limits, operators: operators,
		lockWait: product.Wait{D: 2 * time.Minute, Set: true},
	}
}

// over begins a run over all nodes.
func over(size int) errand {
	return errand{kind: "begin", sizes: batch.Sizes{batch.Number(size)}, verify: 30 * time.Second, wait: 10 * time.Minute}
}

// wantSaid demands what a process of an operator reported, or ended with.
func wantSaid(c *common, operator, text string) {
	for _, line := range c.w.lines {
		if strings.Contains(line, "  "+operator+" ") && strings.Contains(line, text) {
			return
		}
	}
	c.w.violated("%s was never told %q", operator, text)
}

// wantActs demands how often nodes acted in all.
func wantActs(c *common, acts int) {
	n := 0
	for _, node := range c.w.nodes {
		n += len(node.acts)
	}
	if n != acts {
		c.w.violated("nodes acted %d times, want %d", n, acts)
	}
}

// commonFaults are cases of several operators, by hand.
var commonFaults = map[string]func() *commonSpec{
	// Two runs at once over the same nodes: never two of a rack are down, and both end well.
	"two runs in the racks of one fleet": func() *commonSpec {
		s := calm(8, lease.Limits{"rack": 1}, []errand{over(4)}, []errand{over(4)})
		s.check = func(c *common) {
			wantActs(c, 16)
			if c.w.seen["verdict: done"] != 2 {
				c.w.violated("%d of 2 runs are done", c.w.seen["verdict: done"])
			}
		}
		return s
	},
	// A driver dies between the intent and the replies. Another operator adopts its run, a third one tries meanwhile, and the
	// first one resumes its record.
	"a driver dies, and its run is adopted": func() *commonSpec {
		first := over(2)
		first.share, first.dieAt = true, 5
		s := calm(6, lease.Limits{lease.All: 2}, []errand{first, {kind: "resume", gap: 5 * time.Minute}},
			[]errand{{kind: "adopt", gap: 80 * time.Second}}, []errand{{kind: "adopt", gap: 90 * time.Second}})
		s.check = func(c *common) {
			wantActs(c, 6)
			if c.w.seen["adopted"] != 1 {
				c.w.violated("the run was adopted %d times", c.w.seen["adopted"])
			}
			wantSaid(c, "ann", "it was adopted by")
			wantSaid(c, "cleo", "is held by choria=bob")
		}
		return s
	},
	// What a dead run has down counts until it is settled.
	"the nodes of a dead run count until they are settled": func() *commonSpec {
		first := over(2)
		first.dieAt = 5
		second := over(2)
		second.gap, second.wait = time.Minute, time.Minute
		third := over(2)
		third.gap = 2 * time.Minute
		s := calm(4, lease.Limits{lease.All: 2}, []errand{first, {kind: "settle", gap: 150 * time.Second}}, []errand{second, third})
		s.open = true
		s.check = func(c *common) {
			wantSaid(c, "bob", "no room for 2 nodes within 1m0s")
			wantActs(c, 6)
		}
		return s
	},
}

func TestCommonFaults(t *testing.T) {
	for name := range commonFaults {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r := playCommonIn(t, commonFaults[name]())
			if len(r.verdicts) > 0 {
				t.Errorf("%s\n%s", strings.Join(r.verdicts, "\n"), strings.Join(r.lines, "\n"))
			}
		})
	}
}
