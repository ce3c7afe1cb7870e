package choria

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// Filter is what a request carries to choose nodes, in the form that it has on
// the wire; servers evaluate it (docs/protocol.md, filters). Kinds are ANDed,
// and an empty filter matches every node. It encodes without null: a null list
// makes servers drop a request silently.
type Filter struct {
	Fact     []FactFilter       `json:"fact"`
	Class    []string           `json:"cf_class"`
	Agent    []string           `json:"agent"`
	Identity []string           `json:"identity"`
	Compound [][]CompoundFilter `json:"compound"`
}

// Empty reports that every node matches.
func (f Filter) Empty() bool {
	return len(f.Fact)+len(f.Class)+len(f.Agent)+len(f.Identity)+len(f.Compound) == 0
}

// FactFilter compares one fact. Operator is one of >= <= < > != == =~; neither
// Fact nor Value may be empty.
type FactFilter struct {
	Fact     string `json:"fact"`
	Operator string `json:"operator"`
	Value    string `json:"value"`
}

// CompoundFilter holds one compound expression. On the wire each stands in a
// list of its own: a list of lists of objects.
type CompoundFilter struct {
	Expr string `json:"expr"`
}

// MarshalJSON encodes the filter as real clients do: every list is there, none
// is null.
func (f Filter) MarshalJSON() ([]byte, error) {
	type wire Filter // without this method
	w := wire(f)
	w.Fact, w.Class, w.Agent, w.Identity = list(w.Fact), list(w.Class), list(w.Agent), list(w.Identity)
	w.Compound = list(slices.Clone(w.Compound))
	for i := range w.Compound {
		w.Compound[i] = list(w.Compound[i])
	}
	return json.Marshal(w)
}

// list turns nil into an empty list.
func list[T any](values []T) []T {
	if values == nil {
		return []T{}
	}
	return values
}

// texts collects every string of the filter.
func (f Filter) texts() []string {
	all := slices.Concat(f.Class, f.Agent, f.Identity)
	for _, fact := range f.Fact {
		all = append(all, fact.Fact, fact.Operator, fact.Value)
	}
	for _, compounds := range f.Compound {
		for _, c := range compounds {
			all = append(all, c.Expr)
		}
	}
	return all
}

// encodable reports whether all strings survive the way through JSON, which knows
// only UTF-8: wrong bytes would be replaced silently.
func encodable(texts ...string) bool {
	return !slices.ContainsFunc(texts, func(s string) bool { return !utf8.ValidString(s) })
}

// operators are the comparisons that the schema of servers knows.
var operators = []string{">=", "<=", "<", ">", "!=", "==", "=~"}

// filter reads a filter as strictly as servers do: every list but that of the
// agents must be there, and none is null.
func (r *reader) filter(f *field) Filter {
	const fact, class, agent, identity, compound = 0, 1, 2, 3, 4
	fields := [...]field{
		fact: {key: "fact"}, class: {key: "cf_class"}, agent: {key: "agent"},
		identity: {key: "identity"}, compound: {key: "compound"},
	}
	r.must(f)
	r.within(f, fields[:])
	for i := range fields {
		if i != agent || fields[i].kind != absent {
			r.must(&fields[i])
		}
		if r.err == nil && fields[i].kind != array && fields[i].kind != absent {
			r.fail(&fields[i], "is not a list")
		}
	}
	if r.err != nil {
		return Filter{}
	}
	return Filter{
		Fact:     r.facts(fields[fact]),
		Class:    r.strings(fields[class]),
		Agent:    r.strings(fields[agent]),
		Identity: r.strings(fields[identity]),
		Compound: r.compounds(fields[compound]),
	}
}

// strings reads a list that holds nothing but strings.
func (r *reader) strings(f field) []string {
	var all []string
	for e := range elements(f) {
		e.key = f.key
		r.must(&e)
		all = append(all, r.text(&e))
	}
	return all
}

func (r *reader) facts(f field) []FactFilter {
	var all []FactFilter
	for e := range elements(f) {
		e.key = f.key
		fields := [...]field{{key: "fact"}, {key: "operator"}, {key: "value"}}
		r.must(&e)
		r.within(&e, fields[:])
		fact := FactFilter{
			Fact:     r.needText(&fields[0]),
			Operator: r.needText(&fields[1]),
			Value:    r.needText(&fields[2]),
		}
		if r.err == nil && !slices.Contains(operators, fact.Operator) {
			r.fail(&fields[1], "is not a comparison that servers know")
		}
		all = append(all, fact)
	}
	return all
}

// compounds reads lists of objects. Servers want every value in them to be
// text, and look only at expr.
func (r *reader) compounds(f field) [][]CompoundFilter {
	var all [][]CompoundFilter
	for group := range elements(f) {
		group.key = f.key
		if group.kind != array {
			r.fail(&group, "is not a list of lists")
		}
		one := []CompoundFilter{}
		for e := range elements(group) {
			e.key = f.key
			fields := [...]field{{key: "expr"}}
			r.must(&e)
			r.within(&e, fields[:])
			for other := range elements(e) {
				other.key = f.key
				r.text(&other)
			}
			one = append(one, CompoundFilter{Expr: r.text(&fields[0])})
		}
		all = append(all, one)
	}
	return all
}
