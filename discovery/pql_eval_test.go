package discovery

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file is a small PuppetDB: it parses the part of PQL that PuppetDB's own grammar shares with the queries
// of Choria, and evaluates it over nodes. It was written from that grammar, and compared with a real PuppetDB
// 7.12.1; it knows nothing of how our queries are built.

// pdbNode is what PuppetDB knows of a node.
type pdbNode struct {
	certname    string
	deactivated any // null, a truth value or a time, as in the reply
	facts       map[string]any
	classes     []string
	agents      []string
}

// pdbResource is a resource of a catalog.
type pdbResource struct {
	kind, title string
	tags        []string
}

func (n pdbNode) resources() []pdbResource {
	all := []pdbResource{{"Class", "Settings", []string{"class", "settings"}}}
	for _, c := range n.classes {
		all = append(all, pdbResource{"Class", c, []string{"class"}})
	}
	for _, a := range n.agents {
		all = append(all, pdbResource{"File", "/" + a + ".rb", []string{"file", "mcollective_agent_" + a + "_server"}})
	}
	return all
}

// pdbRow is one row of an entity; a row of resources has several tags.
type pdbRow struct {
	node     pdbNode
	resource *pdbResource
}

func pdbRows(entity string, nodes []pdbNode) ([]pdbRow, error) {
	var rows []pdbRow
	for _, n := range nodes {
		switch {
		case n.deactivated != nil && n.deactivated != false: // inactive nodes are left out unless asked for
		case entity == "nodes" || entity == "inventory":
			rows = append(rows, pdbRow{node: n})
		case entity == "resources":
			for _, r := range n.resources() {
				rows = append(rows, pdbRow{n, &r})
			}
		default:
			return nil, fmt.Errorf("unknown entity %q", entity)
		}
	}
	return rows, nil
}

// pdbCondition judges a row.
type pdbCondition func(pdbRow) (bool, error)

// pdbQuery is a parsed query.
type pdbQuery struct {
	entity string
	fields []string
	where  pdbCondition
}

// run returns the certnames of the rows that match.
func (q pdbQuery) run(nodes []pdbNode) ([]string, error) {
	rows, err := pdbRows(q.entity, nodes)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range rows {
		ok, err := q.where(r)
		if err != nil {
			return nil, err
		}
		if ok && !slices.Contains(names, r.node.certname) {
			names = append(names, r.node.certname)
		}
	}
	return names, nil
}

// pqlParser reads a query from left to right. literals collects the texts, as PuppetDB understands them.
type pqlParser struct {
	text     string
	at       int
	nodes    []pdbNode
	entity   string
	literals []string
}

type pqlSyntax struct{ error }

// parsePQL parses a query. nodes are what subqueries look at.
func parsePQL(text string, nodes []pdbNode) (q pdbQuery, literals []string, err error) {
	p := &pqlParser{text: text, nodes: nodes}
	defer func() {
		if r := recover(); r != nil {
			s, ok := r.(pqlSyntax)
			if !ok {
				panic(r)
			}
			err = s.error
		}
	}()
	p.space()
	q = p.from()
	p.space()
	if p.at < len(p.text) {
		p.fail("the end")
	}
	return q, p.literals, nil
}

func (p *pqlParser) fail(wanted string) {
	panic(pqlSyntax{fmt.Errorf("PQL parse error at column %d of %s: expected %s", p.at+1, p.text, wanted)})
}

func (p *pqlParser) space() bool {
	from := p.at
	for p.at < len(p.text) && strings.ContainsRune(" \t\r\n", rune(p.text[p.at])) {
		p.at++
	}
	return p.at > from
}

func (p *pqlParser) try(s string) bool {
	if strings.HasPrefix(p.text[p.at:], s) {
		p.at += len(s)
		return true
	}
	return false
}

func (p *pqlParser) must(s string) {
	if !p.try(s) {
		p.fail(strconv.Quote(s))
	}
}

func (p *pqlParser) find(re *regexp.Regexp) (string, bool) {
	m := re.FindString(p.text[p.at:])
	p.at += len(m)
	return m, m != ""
}

var (
	pqlEntity = regexp.MustCompile(`^(nodes|inventory|resources|facts|reports|catalogs)`)
	pqlWord   = regexp.MustCompile(`^[a-zA-Z0-9_]+`)
	pqlPart   = regexp.MustCompile(`^([^\s.",\[\]!<=>~]+(\[\d+\])?)`)
	pqlQuoted = regexp.MustCompile(`^".*?"`)
	pqlMatch  = regexp.MustCompile(`^match\(.*?\)`)
	pqlString = regexp.MustCompile(`^"(?:[^"\\]|\\.)*"`)
	pqlReal   = regexp.MustCompile(`^-?[0-9]+\.[0-9]+([Ee][-+]?[0-9]+)?`)
	pqlInt    = regexp.MustCompile(`^-?[0-9]+`)
)

func (p *pqlParser) from() pdbQuery {
	entity, ok := p.find(pqlEntity)
	if !ok {
		p.fail("an entity")
	}
	outer := p.entity
	p.entity = entity
	defer func() { p.entity = outer }()
	q := pdbQuery{entity: entity, where: func(pdbRow) (bool, error) { return true, nil }}
	p.space()
	if p.try("[") {
		for {
			p.space()
			word, ok := p.find(pqlWord)
			if !ok {
				p.fail("a field")
			}
			q.fields = append(q.fields, word)
			p.space()
			if !p.try(",") {
				break
			}
		}
		p.must("]")
		p.space()
	}
	p.must("{")
	p.space()
	if !p.try("}") {
		q.where = p.or()
		p.space()
		p.must("}")
	}
	return q
}

// chain reads conditions with a word between them; the word stands in white space.
func (p *pqlParser) chain(word string, next func() pdbCondition, end bool) pdbCondition {
	all := []pdbCondition{next()}
	for {
		from := p.at
		if !p.space() || !p.try(word) || !p.space() {
			p.at = from
			break
		}
		all = append(all, next())
	}
	return func(r pdbRow) (bool, error) {
		for _, c := range all {
			if ok, err := c(r); err != nil || ok == end {
				return ok, err
			}
		}
		return !end, nil
	}
}

func (p *pqlParser) or() pdbCondition  { return p.chain("or", p.and, true) }
func (p *pqlParser) and() pdbCondition { return p.chain("and", p.not, false) }

func (p *pqlParser) not() pdbCondition {
	if p.try("!") {
		p.space()
		c := p.not()
		return func(r pdbRow) (bool, error) { ok, err := c(r); return !ok, err }
	}
	if p.try("(") {
		p.space()
		c := p.or()
		p.space()
		p.must(")")
		return c
	}
	from := p.at
	if _, ok := p.find(pqlEntity); ok {
		p.space()
		isSubquery := p.at < len(p.text) && p.text[p.at] == '{'
		p.at = from
		if isSubquery {
			return p.in(p.from())
		}
	}
	return p.compare()
}

// in is true for the rows whose node is among those of the query.
func (p *pqlParser) in(q pdbQuery) pdbCondition {
	nodes := p.nodes
	return func(r pdbRow) (bool, error) {
		names, err := q.run(nodes)
		return slices.Contains(names, r.node.certname), err
	}
}

func (p *pqlParser) compare() pdbCondition {
	values, name := p.field()
	p.space()
	for _, op := range []string{"in", "=", "~", "<=", ">=", "<", ">"} {
		if !p.try(op) {
			continue
		}
		p.space()
		if op == "in" {
			if p.try("[") {
				var list []any
				for {
					p.space()
					list = append(list, p.literal())
					p.space()
					if !p.try(",") {
						break
					}
				}
				p.must("]")
				return func(r pdbRow) (bool, error) {
					return slices.ContainsFunc(values(r), func(v any) bool { return slices.Contains(list, v) }), nil
				}
			}
			q := p.from()
			if name != "certname" || !slices.Equal(q.fields, []string{"certname"}) {
				p.fail("certname in a query of certnames")
			}
			return p.in(q)
		}
		want := p.literal()
		judge, err := comparison(op, want)
		if err != nil {
			panic(pqlSyntax{err})
		}
		return func(r pdbRow) (bool, error) { return slices.ContainsFunc(values(r), judge), nil }
	}
	p.fail("an operator")
	return nil
}

// field reads a field of the entity. It is looked up in a row; a field may have several values there.
func (p *pqlParser) field() (values func(pdbRow) []any, name string) {
	name, ok := p.find(pqlWord)
	if !ok {
		p.fail("a field")
	}
	one := func(f func(pdbRow) any) (func(pdbRow) []any, string) {
		return func(r pdbRow) []any { return []any{f(r)} }, name
	}
	switch {
	case name == "certname":
		return one(func(r pdbRow) any { return r.node.certname })
	case p.entity == "resources" && name == "type":
		return one(func(r pdbRow) any { return r.resource.kind })
	case p.entity == "resources" && name == "title":
		return one(func(r pdbRow) any { return r.resource.title })
	case p.entity == "resources" && name == "tag":
		return func(r pdbRow) []any {
			var tags []any
			for _, t := range r.resource.tags {
				tags = append(tags, t)
			}
			return tags
		}, name
	case p.entity == "inventory" && name == "facts":
		steps := p.path()
		return func(r pdbRow) []any { return dig([]any{r.node.facts}, steps) }, name
	}
	panic(pqlSyntax{fmt.Errorf("%q is not a field of %s", name, p.entity)})
}

// pathStep goes one level down: by name, or by everything that a regex matches.
type pathStep struct {
	name  string
	match *regexp.Regexp
}

func (p *pqlParser) path() []pathStep {
	var steps []pathStep
	for p.try(".") {
		if m, ok := p.find(pqlMatch); ok {
			pattern := strings.TrimSuffix(strings.TrimPrefix(m, `match("`), `")`)
			re, err := regexp.Compile("^(?:" + pattern + ")$")
			if err != nil {
				p.fail("a regex in match()")
			}
			steps = append(steps, pathStep{match: re})
			continue
		}
		if q, ok := p.find(pqlQuoted); ok {
			steps = append(steps, pathStep{name: strings.Trim(q, `"`)})
			continue
		}
		part, ok := p.find(pqlPart)
		if !ok {
			p.fail("a part of a fact")
		}
		name, index, indexed := strings.Cut(strings.TrimSuffix(part, "]"), "[")
		steps = append(steps, pathStep{name: name})
		if indexed {
			steps = append(steps, pathStep{name: index})
		}
	}
	if len(steps) == 0 {
		p.fail("a fact")
	}
	return steps
}

func dig(values []any, steps []pathStep) []any {
	for _, s := range steps {
		var next []any
		take := func(key string, v any) {
			if s.match == nil && key == s.name || s.match != nil && s.match.MatchString(key) {
				next = append(next, v)
			}
		}
		for _, v := range values {
			switch v := v.(type) {
			case map[string]any:
				for key, child := range v {
					take(key, child)
				}
			case []any:
				for i, child := range v {
					take(strconv.Itoa(i), child)
				}
			}
		}
		values = next
	}
	return values
}

// literal reads a text, a number or a truth value. Texts between double quotes are JSON.
func (p *pqlParser) literal() any {
	if s, ok := p.find(pqlString); ok {
		var text string
		if err := json.Unmarshal([]byte(s), &text); err != nil {
			panic(pqlSyntax{fmt.Errorf("text %s: %w", s, err)})
		}
		p.literals = append(p.literals, text)
		return text
	}
	for _, re := range []*regexp.Regexp{pqlReal, pqlInt} {
		if s, ok := p.find(re); ok {
			n, err := strconv.ParseFloat(s, 64)
			if err != nil {
				panic(pqlSyntax{err})
			}
			if _, err := strconv.ParseInt(s, 10, 64); err != nil && !strings.Contains(s, ".") {
				panic(pqlSyntax{err})
			}
			return n
		}
	}
	switch {
	case p.try("true"):
		return true
	case p.try("false"):
		return false
	}
	p.fail("a literal")
	return nil
}

// comparison judges one value, as PuppetDB does: types differ, regexes look at the text of any scalar.
func comparison(op string, want any) (func(any) bool, error) {
	switch op {
	case "=":
		return func(v any) bool { return v == want }, nil
	case "~":
		pattern, ok := want.(string)
		if !ok {
			return nil, errors.New("~ needs a text")
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("ERROR: invalid regular expression: %w", err)
		}
		return func(v any) bool { return v != nil && re.MatchString(fmt.Sprint(v)) }, nil
	}
	limit, ok := want.(float64)
	if !ok {
		return nil, fmt.Errorf("%s needs a number", op)
	}
	return func(v any) bool {
		// The database orders all values: null, texts, numbers, truth values, arrays, objects.
		order := 0
		switch n := v.(type) {
		case nil, string:
			order = -1
		case float64:
			order = cmp.Compare(n, limit)
		default:
			order = 1
		}
		return map[string]bool{"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[op]
	}, nil
}
