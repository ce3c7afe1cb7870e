package world

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/lease"
)

// The judge of what operators share. It looks at what nodes received and did, and at the ledger in the moment in which it
// changes: a slot that is freed while a request may still take its node down shows at once.

const (
	// strange is how long after the brokers have lost writes more may be down than the budget allows: a run that begins in
	// that time cannot know of the loss (docs/shared.md). Requests from before it are not counted: their entries may be lost.
	strange = 5 * time.Minute
	// unlocked is the same for locks: a lease, and what was sealed under it.
	unlocked = 3 * time.Minute
	// freed is how long after the death of a process its locks are free.
	freed = 65 * time.Second
)

// common is what several operators share.
type common struct {
	w                 *world
	elections, shared *shelf
	operators         []*operator
	limits            lease.Limits
	runs              map[string]*sharedRun
	drivers           map[string]*driver // by request
	took              []receipt
}

// sharedRun is a run, and the run that it retries.
type sharedRun struct {
	run
	name   string // short, for verdicts
	parent *sharedRun
}

// root is the first run of a chain of retries.
func (r *sharedRun) root() *sharedRun {
	for r.parent != nil {
		r = r.parent
	}
	return r
}

// receipt is a request that a node took.
type receipt struct {
	at   time.Time
	node string
	run  *sharedRun
	d    *driver
}

func (c *common) runOf(id, parent string) *sharedRun {
	r, ok := c.runs[id]
	if !ok {
		r = &sharedRun{name: fmt.Sprintf("R%d", len(c.runs)+1)}
		if r.id = id; parent != "" {
			r.parent = c.runOf(parent, "")
		}
		c.runs[id] = r
	}
	return r
}

// recorded takes a record that is durable.
func (c *common) recorded(d *driver, r batch.Record, p batch.Progress) {
	w := c.w
	w.saw("record: " + string(r.Kind))
	switch r.Kind {
	case batch.KindIntent:
		i := &intent{run: &d.run.run, nodes: map[string]bool{}, at: time.Now()}
		if i.list = r.Nodes; i.list == nil {
			for res := range p.Results() {
				if res.Batch == r.Batch {
					i.list = append(i.list, res.Identity)
				}
			}
		}
		for _, name := range i.list {
			i.nodes[name] = true
		}
		w.intents[r.Request], c.drivers[r.Request] = i, d
		w.logf("%-7s intent of batch %d of %s: %s (%s)", d.o.name, r.Batch, d.run.name, strings.Join(i.list, " "), short(r.Request))
		c.judge("an intent is recorded")
	case batch.KindProofs, batch.KindProbed:
		for _, proof := range r.Proofs {
			w.logf("%-7s %s is %s: %s", d.o.name, proof.Node, proof.Found, proof.Reason)
		}
	case batch.KindPaused:
		w.logf("%-7s waits: %s", d.o.name, r.By)
		w.saw("waits: " + strings.SplitN(r.By, " ", 2)[0])
	case batch.KindStopped:
		w.logf("%-7s stops: %s", d.o.name, r.Stop.Reason)
		w.saw("stopped: " + r.Stop.Kind.String() + " " + r.Stop.Rule)
	case batch.KindRunEnd:
		w.logf("%-7s ends %s: %s", d.o.name, d.run.name, statesOf(r.End.States))
		w.saw("verdict: " + r.End.Verdict.String())
	}
}

// received notes a request that a node takes for young enough.
func (c *common) received(n *node, request string) {
	if d := c.drivers[request]; d != nil {
		c.took = append(c.took, receipt{time.Now(), n.name, d.run, d})
		n.logf("takes the request of %s for %s (%s)", d.o.name, d.run.name, short(request))
	}
}

// acted: no node acts twice on requests of one chain of runs, in all of its processes, and the budget is kept.
func (c *common) acted(n *node) {
	request := n.acts[len(n.acts)-1].request
	n.downBy = request
	root := c.drivers[request].run.root()
	for _, a := range n.acts[:len(n.acts)-1] {
		if c.drivers[a.request].run.root() == root {
			c.w.violated("%s acted twice for run %s: on %s and %s", n.name, root.name, short(a.request), short(request))
		}
	}
	c.judge("a node acts")
}

// heldDown is the request of ours because of which a node is down, or will be; "" for none.
func (n *node) heldDown() string {
	switch {
	case n.downBy != "":
		return n.downBy
	case n.up && n.busy && n.w.intents[n.pending] != nil:
		return n.pending
	}
	return ""
}

// judge compares the truth with the limits, and with what the ledger counts.
func (c *common) judge(when string) {
	open, total, racks := map[*sharedRun]map[string]int{}, 0, map[string]int{}
	var names []string
	for _, n := range c.w.nodes {
		request := n.heldDown()
		if request == "" || c.excused(c.w.intents[request].at) {
			continue
		}
		total++
		rack := c.w.rack[n.name]
		racks[rack]++
		names = append(names, fmt.Sprintf("%s (%s, %s)", n.name, rack, c.drivers[request].run.name))
		root := c.drivers[request].run.root()
		if open[root] == nil {
			open[root] = map[string]int{}
		}
		open[root][lease.All]++
		open[root]["rack="+rack]++
	}
	all := strings.Join(names, ", ")
	if limit, ok := c.limits[lease.All]; ok && total > limit {
		c.w.violated("%d nodes are down because of requests when %s, and the limit is %d: %s", total, when, limit, all)
	}
	if limit, ok := c.limits[lease.All]; ok && total == limit {
		c.w.saw("the budget is full")
	}
	for rack, n := range racks {
		if limit, ok := c.limits["rack"]; ok && n > limit {
			c.w.violated("%d nodes of rack %s are down because of requests when %s, and the limit is %d: %s", n, rack, when, limit, all)
		}
	}
	if len(open) > 0 {
		c.judgeLedger(when, open, all)
	}
}

// judgeLedger: each run, with the runs that it repeats, counts at least those of its nodes that a request takes down.
func (c *common) judgeLedger(when string, open map[*sharedRun]map[string]int, all string) {
	counted := map[*sharedRun]map[string]int{}
	ledger := c.ledger()
	for id, p := range ledger.Runs {
		r, ok := c.runs[id]
		if !ok {
			continue
		}
		if counted[r.root()] == nil {
			counted[r.root()] = map[string]int{}
		}
		for key, n := range p.Down {
			counted[r.root()][key] += n
		}
		if !slices.Contains(p.Facts, "rack") { // it may have all of its nodes in each rack
			for key := range open[r.root()] {
				if key != lease.All {
					counted[r.root()][key] += p.Down[lease.All]
				}
			}
		}
	}
	for r, down := range open {
		for _, key := range slices.Sorted(maps.Keys(down)) {
			if _, limited := c.limits["rack"]; key != lease.All && !limited {
				continue
			}
			if counted[r][key] < down[key] {
				c.w.violated("the ledger counts %d of run %s for %s when %s, and %d are down because of requests: %s", counted[r][key], r.name, key, when, down[key], all)
			}
		}
	}
}

// ledger is what the brokers hold.
func (c *common) ledger() lease.Ledger {
	var l lease.Ledger
	e, ok := c.shared.keys["budget."+collective]
	if ok && !e.Deleted {
		if err := json.Unmarshal(e.Value, &l); err != nil {
			c.w.violated("the ledger cannot be read: %v", err)
		}
	}
	return l
}

// wrote looks at a ledger that has changed.
func (c *common) wrote(key string, _ lease.Entry) {
	if key == "budget."+collective {
		c.judge("the ledger changes")
	}
}

// excused reports that a request cannot be counted: the brokers lost writes after it, or just before it.
func (c *common) excused(at time.Time) bool {
	return !c.shared.cut.IsZero() && at.Before(c.shared.cut.Add(strange))
}

// judgeHolders: two processes never send for one run, or for one lock, at overlapping times.
func (c *common) judgeHolders() {
	slices.SortStableFunc(c.took, func(a, b receipt) int { return a.at.Compare(b.at) })
	last, ended := map[string]*driver{}, map[string]map[*driver]bool{}
	for _, r := range c.took {
		if cut := c.elections.cut; !cut.IsZero() && r.at.After(cut) && r.at.Before(cut.Add(unlocked)) {
			continue
		}
		for _, key := range append([]string{"run " + r.run.name}, r.d.locks...) {
			if ended[key][r.d] {
				c.w.violated("at %v %s takes a request of %s for %s after one of another process", r.at.Sub(c.w.begin), r.node, r.d.o.name, key)
			}
			if ended[key] == nil {
				ended[key] = map[*driver]bool{}
			}
			if was := last[key]; was != nil && was != r.d {
				ended[key][was] = true
				c.w.saw("another process sends for " + strings.SplitN(key, " ", 2)[0])
			}
			last[key] = r.d
		}
	}
}

// died: the locks of a process that was killed are free soon.
func (c *common) died(d *driver) {
	if len(c.elections.of(d)) > 0 {
		c.w.saw("a dead process holds a lock")
	}
	c.w.after(freed, func() {
		for _, key := range c.elections.of(d) {
			c.w.violated("%s after its death, a process of %s still holds %s", freed, d.o.name, key)
		}
	})
}

// judgeFreed: when every node is up, and every run was settled, nothing counts.
func (c *common) judgeFreed() {
	for id, p := range c.ledger().Runs {
		name := id
		if r, ok := c.runs[id]; ok {
			name = r.name
		}
		c.w.violated("all nodes are up, and run %s still counts %d", name, p.Down[lease.All])
	}
}
