package inventory

import (
	"cmp"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strings"

	"fleetctl/rpcclient"
)

// Problem is a node whose reply cannot be used.
type Problem struct {
	Node string
	// Err is a *RefusedError or a *PayloadError.
	Err error
}

func request(action, collective string, data json.RawMessage) rpcclient.Request {
	return rpcclient.Request{Agent: agent, Action: action, Collective: collective, Data: data}
}

// CollectivesRequest is the request whose replies CollectivesOf reads.
func CollectivesRequest(collective string) rpcclient.Request {
	return request(actionCollectives, collective, nil)
}

// FactRequest is the request whose replies FactsOf reads.
func FactRequest(collective, fact string) (rpcclient.Request, error) {
	data, err := json.Marshal(map[string]string{"fact": fact})
	return request(actionFact, collective, data), err
}

// Count is how many nodes share a name: of a collective, of a version.
type Count struct {
	Name  string `json:"name"`
	Nodes int    `json:"nodes"`
}

// Collectives is the report of `inventory --collectives`.
type Collectives struct {
	// Nodes are those that answered, sorted.
	Nodes []string
	// Counts has the most populous collective first, then by name.
	Counts   []Count
	Problems []Problem
	// Absent are the nodes that are not connected, sorted.
	Absent []string
}

// CollectivesOf counts the collectives of the nodes that replied to rpcutil#collective_info. The error is the
// sequence's own, and comes with what was counted until then.
func CollectivesOf(replies iter.Seq2[rpcclient.Reply, error]) (Collectives, error) {
	told, absent, problems, err := gather(replies, actionCollectives, decodeCollectives)
	counts := map[string]int{}
	for _, list := range told {
		for name := range unique(list) {
			counts[name]++
		}
	}
	return Collectives{Nodes: slices.Sorted(maps.Keys(told)), Counts: ordered(counts), Problems: problems, Absent: absent}, err
}

// MarshalJSON writes schema_version, nodes (a number), collectives and problems.
func (c Collectives) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		SchemaVersion int       `json:"schema_version"`
		Nodes         int       `json:"nodes"`
		Collectives   []Count   `json:"collectives"`
		Problems      []Problem `json:"problems"`
	}{schemaVersion, len(c.Nodes), notNil(c.Counts), notNil(c.Problems)})
}

// FactValue is one value of a fact, as text, and the nodes that have it, sorted.
type FactValue struct {
	Value string
	Nodes []string
}

// Facts is how a fact is distributed over nodes.
type Facts struct {
	// Values are sorted by value. A node without the fact has the value "nil", as upstream reports it.
	Values   []FactValue
	Problems []Problem
	// Absent are the nodes that are not connected, sorted.
	Absent []string
}

// FactsOf reads the replies to rpcutil#get_fact. The error is the sequence's own, and comes with what was read until
// then.
func FactsOf(replies iter.Seq2[rpcclient.Reply, error]) (Facts, error) {
	told, absent, problems, err := gather(replies, actionFact, decodeFact)
	nodes := map[string][]string{}
	for node, value := range told {
		nodes[value] = append(nodes[value], node)
	}
	f := Facts{Problems: problems, Absent: absent}
	for _, value := range slices.Sorted(maps.Keys(nodes)) {
		f.Values = append(f.Values, FactValue{Value: value, Nodes: slices.Sorted(slices.Values(nodes[value]))})
	}
	return f, err
}

// gather decodes the first reply of each node.
func gather[T any](replies iter.Seq2[rpcclient.Reply, error], action string,
	decode func(string, json.RawMessage) (T, error)) (told map[string]T, absent []string, problems []Problem, err error) {
	told = map[string]T{}
	seen := map[string]bool{}
	for r, e := range replies {
		if e != nil {
			err = e
			break
		}
		if seen[r.Node] {
			continue
		}
		seen[r.Node] = true
		if r.Absent {
			absent = append(absent, r.Node)
			continue
		}
		problem := refusal(r, action)
		if problem == nil {
			var v T
			if v, problem = decode(r.Node, r.Data); problem == nil {
				told[r.Node] = v
			}
		}
		if problem != nil {
			problems = append(problems, Problem{Node: r.Node, Err: problem})
		}
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Node, b.Node) })
	slices.Sort(absent)
	return told, absent, problems, err
}

func unique(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, name := range list {
		set[name] = true
	}
	return set
}

func ordered(counts map[string]int) []Count {
	var list []Count
	for name, n := range counts {
		list = append(list, Count{Name: name, Nodes: n})
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Nodes, a.Nodes), strings.Compare(a.Name, b.Name))
	})
	return list
}

// MarshalJSON writes identity and problem.
func (p Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Identity string `json:"identity"`
		Problem  string `json:"problem"`
	}{p.Node, p.Err.Error()})
}
