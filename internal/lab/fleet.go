package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// site is a place where nodes run.
type site struct {
	name, country string
	network       int // second octet of its addresses
}

var sites = []site{{"mla1", "mt", 10}, {"fra1", "de", 20}, {"nyc1", "us", 30}, {"ams1", "nl", 40}}

// roles is the pattern in which roles are dealt out: 4 of 10 nodes are web servers.
var roles = []string{"web", "db", "web", "app", "web", "cache", "web", "db", "app", "lb"}

var memory = map[string][]int{"web": {4096, 8192}, "db": {32768, 65536}, "app": {8192, 16384}, "cache": {16384, 32768}, "lb": {2048, 4096}}

type system struct{ name, family, major, full string }

var systems = []system{
	{"AlmaLinux", "RedHat", "9", "9.5"}, {"AlmaLinux", "RedHat", "9", "9.4"}, {"Rocky", "RedHat", "9", "9.5"},
	{"AlmaLinux", "RedHat", "8", "8.10"}, {"Debian", "Debian", "12", "12.9"}, {"Ubuntu", "Debian", "24.04", "24.04"},
}

// versions is the mix of Choria versions, commonest first.
var versions = []string{"0.29.4", "0.29.4", "0.29.4", "0.29.4", "0.29.4", "0.29.4", "0.29.3", "0.29.3", "0.29.3", "0.28.0"}

const rackSize = 8

// blueprint is what does not change about a node.
type blueprint struct {
	identity, role, rack, version string
	site                          site
	classes                       []string
	facts                         json.RawMessage
	cpus                          int
	upgradable                    bool
	fault                         Fault
	rank                          int // the node's place in the order of replies, distinct
}

// design lays out a fleet. It is pure: equal options make equal fleets.
func design(o Options) []blueprint {
	rng := rand.New(rand.NewPCG(o.Seed, 0x6c6162))
	fleet := make([]blueprint, o.Nodes)
	inSite := make(map[string]int)
	inGroup := make(map[string]int)
	for i := range fleet {
		b := &fleet[i]
		b.role = roles[i%len(roles)]
		b.site = sites[(i+i/4)%len(sites)]
		b.rack = fmt.Sprintf("%s-r%02d", b.site.name, inSite[b.site.name]/rackSize+1)
		inSite[b.site.name]++
		inGroup[b.role+b.site.name]++
	}
	// Names are padded to the width of their own group, so that they sort and fold.
	next := make(map[string]int)
	for i := range fleet {
		b := &fleet[i]
		group := b.role + b.site.name
		next[group]++
		width := max(2, len(fmt.Sprint(inGroup[group])))
		b.identity = fmt.Sprintf("%s%0*d.%s.example.net", b.role, width, next[group], b.site.name)
	}
	for rank, i := range rng.Perm(len(fleet)) {
		fleet[i].rank = rank
	}
	for i := range fleet {
		fleet[i].furnish(o, rng, i)
	}
	assign(fleet, o, rng)
	return fleet
}

// furnish gives a node its version, operating system, facts and classes.
func (b *blueprint) furnish(o Options, rng *rand.Rand, index int) {
	b.version = versions[rng.IntN(len(versions))]
	if o.Version != "" {
		b.version = o.Version
	}
	os := systems[rng.IntN(len(systems))]
	if b.role == "db" {
		os = systems[rng.IntN(3)]
	}
	host, domain, _ := strings.Cut(b.identity, ".")
	sizes := memory[b.role]
	b.classes = []string{"common", "country::" + b.site.country, "role::" + b.role}
	virtual := b.role != "db" || rng.IntN(4) == 0
	memorymb := sizes[rng.IntN(len(sizes))]
	b.cpus = 2 << rng.IntN(4)
	tree := map[string]any{
		"country":  b.site.country,
		"site":     b.site.name,
		"rack":     b.rack,
		"role":     b.role,
		"virtual":  virtual,
		"memorymb": memorymb,
		"os": map[string]any{
			"name": os.name, "family": os.family, "architecture": "x86_64",
			"release": map[string]any{"major": os.major, "full": os.full},
		},
		"kernel":     "Linux",
		"processors": map[string]any{"count": b.cpus},
		"networking": map[string]any{
			"fqdn": b.identity, "hostname": host, "domain": domain,
			"ip": fmt.Sprintf("10.%d.%d.%d", b.site.network, index/250%250, index%250+1),
		},
		"tags": []any{b.role, b.site.country},
	}
	// Facts are plain values: they always marshal.
	b.facts, _ = json.Marshal(tree)
}

// assign chooses exact numbers of upgradable and of faulty nodes, and those with a fact; faults are disjoint.
func assign(fleet []blueprint, o Options, rng *rand.Rand) {
	for _, i := range rng.Perm(len(fleet))[:o.Upgradable.Of(len(fleet))] {
		fleet[i].upgradable = true
	}
	order := rng.Perm(len(fleet))
	for _, i := range order {
		fleet[i].upgradable = fleet[i].upgradable || fleet[i].meant(o.Upgradable)
		for _, f := range o.Faults.list() {
			if fleet[i].fault == NoFault && fleet[i].meant(f.amount) {
				fleet[i].fault = f.fault
			}
		}
	}
	order = slices.DeleteFunc(order, func(i int) bool { return fleet[i].fault != NoFault })
	for _, f := range o.Faults.list() {
		count := min(f.amount.Of(len(fleet)), len(order))
		if f.fault >= UpdateLate {
			slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(later(fleet[a]), later(fleet[b])) })
		}
		for _, i := range order[:count] {
			fleet[i].fault = f.fault
		}
		order = order[count:]
	}
}

// meant reports whether an amount names a fact that the node has.
func (b *blueprint) meant(a Amount) bool {
	return a.Fact != "" && fmt.Sprint(b.fact(a.Fact)) == a.Value
}

// assigned refuses a fleet that is not what was asked for: no node has the fact, or too few nodes are left.
func assigned(fleet []blueprint, o Options) error {
	nodes, meant := make(map[Fault]int), 0
	for i := range fleet {
		nodes[fleet[i].fault]++
		if fleet[i].meant(o.Upgradable) {
			meant++
		}
	}
	if o.Upgradable.Fact != "" && meant == 0 {
		return fmt.Errorf("upgradable %s: no node of this fleet has that fact", o.Upgradable)
	}
	for _, f := range o.Faults.list() {
		switch got := nodes[f.fault]; {
		case f.amount.Fact != "" && got == 0:
			return fmt.Errorf("fault %s of %s: no node of this fleet has that fact, or these have another fault", f.fault, f.amount)
		case got < f.amount.Of(len(fleet)):
			return fmt.Errorf("fault %s of %s: only %d nodes are left for it; each node has one fault at most", f.fault, f.amount, got)
		}
	}
	return nil
}

// later is the rank of a node in the choice of nodes whose update fails.
func later(b blueprint) int {
	if b.upgradable {
		return 0
	}
	return 1
}

// collectives of a node in normal mode.
func (b *blueprint) collectives(main string) []string {
	if b.site.country == "mt" {
		return []string{main, "mt_collective"}
	}
	return []string{main}
}

// fact looks a dotted path up, as far as plain names and list positions go.
func (b *blueprint) fact(path string) any {
	var value any
	// The facts are kept as text: a tree for each of 100,000 nodes is a burden on the garbage
	// collector. They are what furnish has written.
	_ = json.Unmarshal(b.facts, &value)
	for name := range strings.SplitSeq(path, ".") {
		switch in := value.(type) {
		case map[string]any:
			value = in[name]
		case []any:
			if name == "#" {
				value = len(in)
				continue
			}
			at := slices.Index(positions, name)
			if at < 0 || at >= len(in) {
				return nil
			}
			value = in[at]
		default:
			return nil
		}
	}
	return value
}

var positions = []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
