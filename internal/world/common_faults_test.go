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
	// A holder is suspended for longer than its lock lives: another one takes it, and the first sends nothing any more.
	"a lock expires while its holder sleeps": func() *commonSpec {
		first, second := over(1), over(1)
		first.locks, second.locks = []string{"web"}, []string{"web"}
		second.gap = time.Second
		s := calm(8, lease.Limits{lease.All: 8}, []errand{first}, []errand{second})
		s.weather = []occasion{{at: 10 * time.Second, text: "suspended: ann", do: func(c *common) { c.operators[0].d.c.suspend(90 * time.Second) }}}
		s.check = func(c *common) {
			wantSaid(c, "ann", "lock web")
			wantSaid(c, "bob", "8 verified")
		}
		return s
	},
	// A holder is killed: a process that waits for its lock has it within 65 s of that, and sends.
	"the lock of a dead process is free soon": func() *commonSpec {
		first, second := over(2), over(2)
		first.locks, second.locks = []string{"web"}, []string{"web"}
		first.dieAt, second.gap = 5, 10*time.Second
		s := calm(4, lease.Limits{lease.All: 8}, []errand{first, {kind: "settle", gap: 3 * time.Minute}}, []errand{second})
		s.check = func(c *common) {
			wantSaid(c, "bob", "4 verified")
			var dead *driver
			for _, r := range c.took {
				switch {
				case r.d.o.name == "ann":
					dead = r.d
				case dead != nil && r.at.Sub(dead.died) > freed:
					c.w.violated("bob sent %s after the death of the process that held its lock", r.at.Sub(dead.died))
					return
				default:
					return
				}
			}
		}
		return s
	},
	// A run ends while a frozen node may still take its request: its lock is not free before.
	"a lock is kept while a request may act": func() *commonSpec {
		first, second := over(2), over(2)
		first.locks, second.locks = []string{"web"}, []string{"web"}
		second.gap = time.Second
		s := calm(2, lease.Limits{lease.All: 4}, []errand{first}, []errand{second})
		s.nodes = append(s.nodes, traits{}, traits{})
		first.nodes, second.nodes = 2, 1
		s.operators = [][]errand{{first}, {second}}
		s.weather = []occasion{
			{at: time.Millisecond, text: "freeze: n03", do: func(c *common) { c.w.nodes[2].freeze() }},
			{at: 34 * time.Second, text: "thaw: n03", do: func(c *common) { c.w.nodes[2].thaw() }},
		}
		s.check = func(c *common) {
			wantSaid(c, "n03", "takes the request of ann")
			wantSaid(c, "bob", "lock web is held by choria=ann")
		}
		return s
	},
	// The brokers lose the intent of the last batch, and its driver dies: an adoption sees by the age of the nodes that they
	// were restarted.
	"an adoption of a record that lost its last intent": func() *commonSpec {
		first := over(1)
		first.share = true
		s := calm(4, lease.Limits{lease.All: 4}, []errand{first}, []errand{{kind: "adopt", gap: 3 * time.Minute}})
		var look func(c *common)
		look = func(c *common) {
			if len(c.w.nodes[1].pledges) == 0 {
				c.w.after(20*time.Millisecond, func() { look(c) })
				return
			}
			c.operators[0].d.kill()
			c.shared.rollBack(2 * time.Second)
		}
		s.weather = []occasion{{at: time.Second, text: "kill: ann, when n02 has accepted", do: look}}
		s.check = func(c *common) {
			wantSaid(c, "bob", "signed by choria=ann")
			if c.w.seen["adopted"] != 1 || len(c.w.nodes[1].acts) != 1 || len(c.w.nodes[3].acts) != 1 {
				c.w.violated("the run was adopted %d times, n02 acted %d times, n04 %d times", c.w.seen["adopted"], len(c.w.nodes[1].acts), len(c.w.nodes[3].acts))
			}
		}
		return s
	},
	// A node that accepted and is frozen does not answer, and acts when it thaws: a look at it frees nothing.
	"a frozen node of a dead run is not settled": func() *commonSpec {
		first := over(2)
		first.dieAt = 5
		s := calm(4, lease.Limits{lease.All: 2}, []errand{first, {kind: "settle", gap: 150 * time.Second}})
		s.open = true
		s.weather = []occasion{
			{at: time.Second, text: "freeze: n02", do: func(c *common) { c.w.nodes[1].freeze() }},
			{at: 230 * time.Second, text: "thaw: n02", do: func(c *common) { c.w.nodes[1].thaw() }},
		}
		s.operators = append(s.operators, []errand{{kind: "settle", gap: 5 * time.Minute}}) // so that it does not end before
		s.check = func(c *common) {
			wantActs(c, 2)
			wantSaid(c, "ann", "1 node did not answer and still counts as down: n02.example.net")
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
