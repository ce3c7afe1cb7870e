package filter

import (
	"regexp"
	"strings"
	"sync"
)

// Node is what a server knows of itself when it judges a filter. Facts is a
// JSON object; Data are its data plugins by name, callable from a compound
// filter. Match reads it only.
type Node struct {
	Identity string
	Agents   []string
	Classes  []string
	Facts    []byte
	Data     map[string]func(args ...any) (any, error)
}

// Match reports whether a server that is n would answer a request with this
// filter (docs/protocol.md, filters). To judge many nodes, make a Matcher.
func (f Filter) Match(n Node) bool { return f.Matcher().Match(n) }

// Matcher is a filter made ready to judge many nodes: its expressions and
// regexes are compiled once. Safe for concurrent use.
type Matcher struct {
	filter   Filter
	compound []compoundProgram
	regexes  *regexCache
}

// Matcher compiles the filter. What does not compile never fails here: it
// fails to match, as on a server.
func (f Filter) Matcher() *Matcher {
	m := &Matcher{filter: f, regexes: newRegexCache()}
	for _, text := range f.Compound {
		m.compound = append(m.compound, compileCompound(text))
	}
	return m
}

// Match reports whether a server that is n would answer. The kinds are judged
// in the servers' order, and the first that fails ends it.
func (m *Matcher) Match(n Node) bool {
	f := m.filter
	switch {
	case len(f.Identities) > 0 && !m.matchIdentity(n.Identity):
		return false
	case len(f.Agents) > 0 && !m.matchAgents(f.Agents, n.Agents):
		return false
	case len(f.Classes) > 0 && !m.matchClasses(f.Classes, n.Classes):
		return false
	case len(f.Facts) > 0 && !m.matchFacts(f.Facts, n.Facts):
		return false
	case len(f.Compound) > 0 && !m.matchCompound(n):
		return false
	}
	return true
}

// matchIdentity accepts any of the identities. A name between slashes also
// matches itself without them, because servers strip before they compare.
func (m *Matcher) matchIdentity(identity string) bool {
	for _, id := range m.filter.Identities {
		if isRegex(id) {
			id = regexBody(id)
			if m.regexes.match(id, identity) {
				return true
			}
		}
		if id == identity {
			return true
		}
	}
	return false
}

func (m *Matcher) matchAgents(wanted, have []string) bool {
	for _, want := range wanted {
		pattern := want
		if isRegex(want) {
			pattern = regexBody(want)
		}
		if !m.anyMatch(have, isRegex(want), pattern) {
			return false
		}
	}
	return len(wanted) > 0
}

// matchClasses compares the lower-cased needle with the class as it is stored,
// so a class that is stored with capitals only ever matches a regex.
func (m *Matcher) matchClasses(wanted, have []string) bool {
	for _, want := range wanted {
		pattern := strings.ToLower(want)
		if isRegex(want) {
			pattern = "(?i)" + regexBody(want)
		}
		if !m.anyMatch(have, isRegex(want), pattern) {
			return false
		}
	}
	return len(wanted) > 0
}

func (m *Matcher) anyMatch(have []string, regex bool, pattern string) bool {
	for _, h := range have {
		if regex && m.regexes.match(pattern, h) || !regex && h == pattern {
			return true
		}
	}
	return false
}

func (m *Matcher) matchFacts(wanted []Fact, facts []byte) bool {
	for _, f := range wanted {
		if ok, err := matchFact(f, facts, m.regexes); err != nil || !ok {
			return false
		}
	}
	return len(wanted) > 0
}

// maxRegexes bounds the cache: the patterns of with("...") can be computed, and
// so can be as many as there are nodes.
const maxRegexes = 256

// regexCache compiles each pattern once. Its mutex guards both maps' contents.
type regexCache struct {
	mu       sync.Mutex
	compiled map[string]*regexp.Regexp
	failed   map[string]error
}

func newRegexCache() *regexCache {
	return &regexCache{compiled: map[string]*regexp.Regexp{}, failed: map[string]error{}}
}

func (c *regexCache) compile(pattern string) (*regexp.Regexp, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if re, ok := c.compiled[pattern]; ok {
		return re, nil
	}
	if err, ok := c.failed[pattern]; ok {
		return nil, err
	}
	if len(c.compiled)+len(c.failed) >= maxRegexes {
		clear(c.compiled)
		clear(c.failed)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		c.failed[pattern] = err
		return nil, err
	}
	c.compiled[pattern] = re
	return re, nil
}

func (c *regexCache) match(pattern, text string) bool {
	re, err := c.compile(pattern)
	return err == nil && re.MatchString(text)
}
