package inventory

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"
)

// Tally counts a fleet as its answers come. It needs memory for what differs, not for the nodes.
type Tally struct {
	// Selected nodes answered and were counted; Told includes nodes that answered and were not selected.
	Selected, Told int
	Upgradable     int
	// Silent and Problems are the nodes without an inventory; Partial are those that answered only that request.
	Silent            []string
	Problems, Partial []Problem
	// Absent are the silent nodes that are not connected, Expired those that answer and are not believed, because their
	// token has ended.
	Absent, Expired []string
	// Shortest and Longest are the uptimes' bounds; Timed is how many nodes reported theirs.
	Shortest, Longest time.Duration
	Timed             int

	versions, collectives, agents map[string]int
	groupBy                       func(Node) []string
	groups                        map[string]*GroupCount
	ungrouped                     GroupCount
}

// GroupCount is how many nodes share a value.
type GroupCount struct {
	Name string `json:"name"`
	// Absent means that these nodes have no value at all.
	Absent     bool `json:"absent,omitempty"`
	Nodes      int  `json:"nodes"`
	Upgradable int  `json:"upgradable"`
}

// NewTally counts versions, collectives and agents; with groupBy it counts the nodes of each of the values that this
// returns instead. A node without a value is counted as absent.
func NewTally(groupBy func(Node) []string) *Tally {
	return &Tally{versions: map[string]int{}, collectives: map[string]int{}, agents: map[string]int{},
		groupBy: groupBy, groups: map[string]*GroupCount{}, ungrouped: GroupCount{Absent: true}}
}

// Miss counts a node that did not answer.
func (t *Tally) Miss(n Node) {
	if errors.Is(n.Err, ErrNoReply) {
		t.Silent = append(t.Silent, n.Identity)
		if errors.Is(n.Err, ErrAbsent) {
			t.Absent = append(t.Absent, n.Identity)
		}
		if errors.Is(n.Err, ErrExpired) {
			t.Expired = append(t.Expired, n.Identity)
		}
		return
	}
	t.Problems = append(t.Problems, Problem{Node: n.Identity, Err: n.Err})
}

// Skip counts a node that answered and is not selected.
func (t *Tally) Skip(Node) { t.Told++ }

// Add counts a node that is wanted.
func (t *Tally) Add(n Node) {
	t.Told++
	t.Selected++
	if n.Err != nil {
		t.Partial = append(t.Partial, Problem{Node: n.Identity, Err: n.Err})
	}
	if n.Upgradable {
		t.Upgradable++
	}
	if n.Stats != nil {
		if t.Timed == 0 || n.Uptime < t.Shortest {
			t.Shortest = n.Uptime
		}
		t.Longest = max(t.Longest, n.Uptime)
		t.Timed++
	}
	if t.groupBy != nil {
		t.group(n)
		return
	}
	t.versions[n.Version]++
	for name := range unique(n.Collectives) {
		t.collectives[name]++
	}
	for name := range unique(agentNames(n)) {
		t.agents[name]++
	}
}

func (t *Tally) group(n Node) {
	values := unique(t.groupBy(n))
	if len(values) == 0 {
		t.ungrouped.add(n)
	}
	for value := range values {
		g, ok := t.groups[value]
		if !ok {
			g = &GroupCount{Name: value}
			t.groups[value] = g
		}
		g.add(n)
	}
}

func (g *GroupCount) add(n Node) {
	g.Nodes++
	if n.Upgradable {
		g.Upgradable++
	}
}

// agentNames are the node's agents, each with its version where that is known.
func agentNames(n Node) []string {
	if n.AgentVersions == nil {
		return n.Agents
	}
	names := slices.Clone(n.Agents)
	for i, name := range names {
		if v := n.AgentVersions[name]; v != "" {
			names[i] = name + " " + v
		}
	}
	return names
}

// Versions counts the nodes of each version, the most frequent first.
func (t *Tally) Versions() []Count { return ordered(t.versions) }

// Collectives counts the nodes of each collective, the most populous first.
func (t *Tally) Collectives() []Count { return ordered(t.collectives) }

// Agents counts the nodes of each agent, the most frequent first.
func (t *Tally) Agents() []Count { return ordered(t.agents) }

// Groups are the values and their nodes, the most frequent first, and at the end the nodes without a value.
func (t *Tally) Groups() []GroupCount {
	var list []GroupCount
	for _, g := range t.groups {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b GroupCount) int {
		return cmp.Or(cmp.Compare(b.Nodes, a.Nodes), strings.Compare(a.Name, b.Name))
	})
	if t.ungrouped.Nodes > 0 {
		list = append(list, t.ungrouped)
	}
	return list
}

// Grouped reports whether any node has a value of what is grouped by.
func (t *Tally) Grouped() bool { return len(t.groups) > 0 }

// Asked is how many nodes were asked.
func (t *Tally) Asked() int { return t.Told + len(t.Silent) + len(t.Problems) }

// Reason reports what is wrong without the node's name, so that equal problems of many nodes have the same text.
func (p Problem) Reason() string {
	if r, ok := errors.AsType[*RefusedError](p.Err); ok {
		return "refused rpcutil#" + r.Action + ": " + r.Message
	}
	if r, ok := errors.AsType[*PayloadError](p.Err); ok {
		odd := *r
		odd.Node = "these nodes"
		return odd.Error()
	}
	return strings.TrimSuffix(p.Err.Error(), " from "+p.Node)
}
