package inventory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Change is one way in which a node differs from what it was.
type Change struct {
	// What is came, went, silent, refused, version, upgradable, main_collective, collective, agent, agent_version,
	// class, machine or fact.
	What string `json:"what"`
	// Name is of the agent, the fact and so on; empty where there is only one.
	Name string `json:"name,omitempty"`
	// From is nil where it was not there before, To where it is no more.
	From *string `json:"from,omitempty"`
	To   *string `json:"to,omitempty"`
	// Ways is how many different changes this stands for, when there were too many to list.
	Ways int `json:"ways,omitempty"`
}

// The changes of whole nodes.
const (
	nodeCame    = "came"
	nodeWent    = "went"
	nodeSilent  = "silent"
	nodeRefused = "refused"
)

// String describes the change in words.
func (c Change) String() string {
	name := strings.ReplaceAll(c.What, "_", " ")
	if c.Name != "" {
		name += " " + c.Name
	}
	switch {
	case c.What == nodeCame || c.What == nodeWent:
		return c.What
	case c.What == nodeSilent:
		return "did not answer now"
	case c.What == nodeRefused:
		return "did not tell now"
	case c.Ways > 0:
		return fmt.Sprintf("%s changed, in %d different ways", name, c.Ways)
	case c.What == "upgradable" && *c.To == "true":
		return "now upgradable"
	case c.What == "upgradable":
		return "no longer upgradable"
	case c.From == nil && c.What == "fact":
		return name + " is new: " + short(*c.To)
	case c.To == nil && c.What == "fact":
		return name + " is gone: " + short(*c.From)
	case c.From == nil:
		return name + " is new"
	case c.To == nil:
		return name + " is gone"
	}
	return name + " " + short(*c.From) + " -> " + short(*c.To)
}

// short keeps a long value, such as a list, from filling the screen.
func short(value string) string {
	const most = 60
	if r := []rune(value); len(r) > most {
		return string(r[:most-3]) + "..."
	}
	return value
}

// ChangeGroup is nodes that differ in the same way.
type ChangeGroup struct {
	Changes []Change `json:"changes"`
	Count   int      `json:"count"`
	Nodes   []string `json:"nodes"`
}

// Difference is what has changed between two surveys.
type Difference struct {
	// Before and After are the nodes of each side, Same those that do not differ.
	Before, After, Same int
	// Groups has the nodes that came and went first, then the largest group.
	Groups []ChangeGroup
}

// Comparison compares nodes with a snapshot as they come.
type Comparison struct {
	before   *Snapshot
	ignored  []string
	agents   bool // both sides know the versions of agents
	after    int
	same     int
	seen     map[string]bool
	subjects map[subject]map[fromTo][]string
	whole    map[string][]string // came, went, silent, refused
}

type subject struct{ what, name string }

// fromTo is a change of a subject; a nil side is one that is not there.
type fromTo struct {
	from, to       string
	hadNot, hasNot bool
}

// maxWays is how many different changes of one fact are listed: an uptime changes differently on each node.
const maxWays = 12

// NewComparison begins a comparison. Facts at the ignored paths, and below them, are left out. agentVersions says
// whether the nodes that will come carry them.
func NewComparison(before *Snapshot, ignoredFacts []string, agentVersions bool) *Comparison {
	return &Comparison{before: before, ignored: ignoredFacts, agents: agentVersions && before.AgentVersions,
		seen: map[string]bool{}, subjects: map[subject]map[fromTo][]string{}, whole: map[string][]string{}}
}

// Add compares one node. An error is the snapshot's file's.
func (c *Comparison) Add(after Node) error {
	c.after++
	c.seen[after.Identity] = true
	before, ok, err := c.before.Node(after.Identity)
	if err != nil {
		return err
	}
	if !ok {
		c.whole[nodeCame] = append(c.whole[nodeCame], after.Identity)
		return nil
	}
	if !c.compare(before, after) {
		c.same++
	}
	return nil
}

// Finish makes the result. Nodes that are silent or refuse now have not gone.
func (c *Comparison) Finish(silent, refused []string) Difference {
	for what, list := range map[string][]string{nodeSilent: silent, nodeRefused: refused} {
		for _, node := range list {
			if _, known := c.before.at[node]; known && !c.seen[node] {
				c.seen[node] = true
				c.whole[what] = append(c.whole[what], node)
			}
		}
	}
	for _, node := range c.before.order {
		if !c.seen[node] {
			c.whole[nodeWent] = append(c.whole[nodeWent], node)
		}
	}
	return Difference{Before: c.before.Len(), After: c.after, Same: c.same, Groups: c.groups()}
}

func (c *Comparison) differ(node string, s subject, change fromTo) {
	ways := c.subjects[s]
	if ways == nil {
		ways = map[fromTo][]string{}
		c.subjects[s] = ways
	}
	ways[change] = append(ways[change], node)
}

// compare reports whether two surveys of a node differ.
func (c *Comparison) compare(a, b Node) (differ bool) {
	node := b.Identity
	one := func(what, name, from, to string) {
		if from != to {
			differ = true
			c.differ(node, subject{what, name}, fromTo{from: from, to: to})
		}
	}
	one("version", "", a.Version, b.Version)
	one("upgradable", "", fmt.Sprint(a.Upgradable), fmt.Sprint(b.Upgradable))
	one("main_collective", "", a.MainCollective, b.MainCollective)
	sets := func(what string, from, to map[string]string) {
		for name, value := range from {
			other, still := to[name]
			if !still {
				differ = true
				c.differ(node, subject{what, name}, fromTo{from: value, hasNot: true})
				continue
			}
			one(what, name, value, other)
		}
		for name, value := range to {
			if _, before := from[name]; !before {
				differ = true
				c.differ(node, subject{what, name}, fromTo{to: value, hadNot: true})
			}
		}
	}
	sets("collective", setOf(a.Collectives), setOf(b.Collectives))
	sets("agent", setOf(a.Agents), setOf(b.Agents))
	sets("class", setOf(a.Classes), setOf(b.Classes))
	sets("machine", machineVersions(a.Machines), machineVersions(b.Machines))
	if c.agents {
		for _, name := range slices.Sorted(maps.Keys(a.AgentVersions)) {
			if to, still := b.AgentVersions[name]; still {
				one("agent_version", name, a.AgentVersions[name], to)
			}
		}
	}
	sets("fact", c.facts(a.Facts), c.facts(b.Facts))
	return differ
}

func setOf(list []string) map[string]string {
	set := make(map[string]string, len(list))
	for _, name := range list {
		set[name] = ""
	}
	return set
}

func machineVersions(list []Machine) map[string]string {
	set := make(map[string]string, len(list))
	for _, m := range list {
		set[m.Name] = m.Version
	}
	return set
}

// facts are the values of a facts object by their path; lists are values.
func (c *Comparison) facts(object json.RawMessage) map[string]string {
	flat := map[string]string{}
	c.flatten(flat, "", object)
	return flat
}

func (c *Comparison) flatten(into map[string]string, path string, value json.RawMessage) {
	if slices.ContainsFunc(c.ignored, func(p string) bool { return path == p || strings.HasPrefix(path, p+".") }) {
		return
	}
	value = bytes.TrimSpace(value)
	var members map[string]json.RawMessage
	if len(value) > 0 && value[0] == '{' && json.Unmarshal(value, &members) == nil && (len(members) > 0 || path == "") {
		for name, member := range members {
			name = strings.ReplaceAll(name, ".", `\.`)
			if path != "" {
				name = path + "." + name
			}
			c.flatten(into, name, member)
		}
		return
	}
	if path == "" {
		return
	}
	into[path] = valueText(value)
}

// valueText is a JSON value as people read it: a string without its quotes, anything else compact.
func valueText(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil && string(value) != "null" {
		return text
	}
	var compact bytes.Buffer
	if json.Compact(&compact, value) != nil {
		return string(value)
	}
	return compact.String()
}

// groups folds the changes: those that the very same nodes have in common are one group.
func (c *Comparison) groups() []ChangeGroup {
	byNodes := map[string]*ChangeGroup{}
	add := func(change Change, nodes []string) {
		slices.Sort(nodes)
		key := strings.Join(nodes, "\n")
		g := byNodes[key]
		if g == nil {
			g = &ChangeGroup{Nodes: nodes, Count: len(nodes)}
			byNodes[key] = g
		}
		g.Changes = append(g.Changes, change)
	}
	for what, nodes := range c.whole {
		add(Change{What: what}, nodes)
	}
	for s, ways := range c.subjects {
		if len(ways) > maxWays {
			add(Change{What: s.what, Name: s.name, Ways: len(ways)}, slices.Concat(slices.Collect(maps.Values(ways))...))
			continue
		}
		for way, nodes := range ways {
			add(way.change(s), nodes)
		}
	}
	list := make([]ChangeGroup, 0, len(byNodes))
	for _, g := range byNodes {
		slices.SortFunc(g.Changes, compareChanges)
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b ChangeGroup) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Count, a.Count), compareChanges(a.Changes[0], b.Changes[0]),
			slices.Compare(a.Nodes, b.Nodes))
	})
	return list
}

func (w fromTo) change(s subject) Change {
	change := Change{What: s.what, Name: s.name}
	if !w.hadNot {
		change.From = new(w.from)
	}
	if !w.hasNot {
		change.To = new(w.to)
	}
	return change
}

// order is how changes are sorted: what matters most first.
var order = []string{nodeCame, nodeWent, nodeSilent, nodeRefused, "version", "upgradable", "main_collective", "collective", "agent", "agent_version", "class", "machine", "fact"}

// rank puts nodes that came, went or fell silent before those that changed.
func rank(g ChangeGroup) int { return min(slices.Index(order, g.Changes[0].What), len(order[:4])) }

func compareChanges(a, b Change) int {
	return cmp.Or(cmp.Compare(slices.Index(order, a.What), slices.Index(order, b.What)), strings.Compare(a.Name, b.Name),
		strings.Compare(a.String(), b.String()))
}
