// Package filter parses node filters and reply expressions, refuses those that
// do not mean what they seem to mean, and evaluates them as a Choria server does
// (docs/protocol.md, filters).
//
// It does not know the wire form of a filter, nor where nodes come from.
//
// The package has two parts. Parse is strict: it refuses filters with a
// surprising meaning, and each refusal has the filter to write instead.
// ParseFact, Filter.Match and Matcher.Match do exactly what a server does, its
// oddities included, because the lab must answer as a real server.
package filter

import (
	"strings"
)

// Fact is one comparison of a fact with a value. Name is a gjson path, Operator
// one of == != =~ < <= > >=, Value what was typed, regex slashes included.
type Fact struct {
	Name     string
	Operator string
	Value    string
}

// String is the fact filter as it can be typed again.
func (f Fact) String() string {
	text := f.Name + f.Operator + f.Value
	if again, err := ParseFact(text); err == nil && again == f {
		return text
	}
	return f.Name + " " + f.Operator + " " + f.Value
}

// Filter reports which nodes are meant. Facts, Classes, Agents and Compound must
// all hold, one of Identities must; an empty Filter is every node. Classes,
// Agents and Identities may be regexes between slashes.
type Filter struct {
	Facts      []Fact
	Classes    []string
	Agents     []string
	Identities []string
	Compound   []string
}

// Empty reports whether the filter is no restriction at all. A filter on an
// agent alone is not empty.
func (f Filter) Empty() bool {
	return len(f.Facts) == 0 && len(f.Classes) == 0 && len(f.Agents) == 0 &&
		len(f.Identities) == 0 && len(f.Compound) == 0
}

// ExactIdentities returns the names of the nodes when the filter is nothing but
// exact names, agents aside, so that no request is needed to find the nodes. Names
// that a discovery method expands itself (pql:, group:) are not exact. The
// slice is the caller's.
func (f Filter) ExactIdentities() ([]string, bool) {
	if len(f.Identities) == 0 || len(f.Facts) > 0 || len(f.Classes) > 0 || len(f.Compound) > 0 {
		return nil, false
	}
	for _, id := range f.Identities {
		if isRegex(id) || isExpanded(id) {
			return nil, false
		}
	}
	return append([]string(nil), f.Identities...), true
}

// isExpanded reports whether an identity is a query of a discovery method
// rather than a name.
func isExpanded(id string) bool {
	return strings.HasPrefix(id, "pql:") || strings.HasPrefix(id, "group:")
}

// isRegex reports whether servers read s as a regex. A lone slash counts, and
// is then the empty regex, which matches everything.
func isRegex(s string) bool {
	return strings.HasPrefix(s, "/") && strings.HasSuffix(s, "/")
}

// regexBody strips one slash from each end, as servers do for classes, agents
// and identities.
func regexBody(s string) string {
	return strings.TrimSuffix(strings.TrimPrefix(s, "/"), "/")
}
