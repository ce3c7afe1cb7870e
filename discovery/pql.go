package discovery

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"fleetctl/internal/filter"
)

// pqlQuery is the filter as a PuppetDB query (docs/protocol.md, discovery, puppetdb). Texts are escaped as the
// JSON strings that PuppetDB reads; what PuppetDB cannot express is refused.
func pqlQuery(q Query) (string, error) {
	w := WireFilter(q.Filter, q.Agent)
	if len(w.Compound) > 0 {
		return "", misuse(MethodPuppetDB, "use --dm mc", "cannot use -S with PuppetDB: it is judged by the servers")
	}
	var parts []string
	add := func(glue string, conditions []string) {
		if len(conditions) > 0 {
			parts = append(parts, "("+strings.Join(conditions, glue)+")")
		}
	}
	if q.Collective != "" {
		add("", []string{`certname in inventory[certname] { facts.mcollective.server.collectives.match("\d+") = ` + pqlText(q.Collective) + ` }`})
	}
	identities, err := pqlIdentities(w.Identity)
	if err != nil {
		return "", err
	}
	add(" or ", identities)
	for _, kind := range []struct {
		values []string
		pql    func(string) (string, error)
	}{
		{w.Class, pqlClass}, {w.Agent, pqlAgent},
	} {
		conditions, err := each(kind.values, kind.pql)
		if err != nil {
			return "", err
		}
		add(" and ", conditions)
	}
	facts, err := each(q.Filter.Facts, pqlFact)
	if err != nil {
		return "", err
	}
	add(" and ", facts)
	return "nodes[certname, deactivated] { " + strings.Join(parts, " and ") + " }", nil
}

func each[T any](values []T, pql func(T) (string, error)) ([]string, error) {
	var conditions []string
	for _, v := range values {
		c, err := pql(v)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, c)
	}
	return conditions, nil
}

// pqlText is a text between double quotes, whose content PuppetDB reads as JSON.
func pqlText(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// slashed returns what stands between the slashes of a regex.
func slashed(s string) (string, bool) {
	if len(s) > 2 && s[0] == '/' && s[len(s)-1] == '/' {
		return s[1 : len(s)-1], true
	}
	return "", false
}

func cannotAsk(flag, text, why string) error {
	return misuse(MethodPuppetDB, "write it otherwise, or as a query: -I 'pql:...', or use --dm mc",
		"cannot use %s %q with PuppetDB: %s", flag, text, why)
}

// maxNames is how many names are written as Choria writes them, with "or" between. PuppetDB 7.12.1 takes 5 s to
// parse 20 of those, more than 8 s for 40, and stalls on 2000; a list of 2000 takes it 3 s.
const maxNames = 10

func pqlIdentities(ids []string) ([]string, error) {
	var names, others []string
	for _, id := range ids {
		if _, regex := slashed(id); regex || strings.HasPrefix(id, "pql:") {
			others = append(others, id)
		} else {
			names = append(names, pqlText(id))
		}
	}
	if len(names) <= maxNames {
		return each(ids, pqlIdentity)
	}
	conditions, err := each(others, pqlIdentity)
	return append(conditions, "certname in ["+strings.Join(names, ", ")+"]"), err
}

func pqlIdentity(id string) (string, error) {
	if query, ok := strings.CutPrefix(id, "pql:"); ok {
		query = strings.TrimSpace(query)
		if why := unbalanced(query); query == "" || why != "" {
			return "", misuse(MethodPuppetDB, "write -I 'pql:nodes[certname] { ... }'", "cannot use -I %q: %s", id, cmp.Or(why, "there is no query"))
		}
		return "certname in " + query, nil
	}
	if body, ok := slashed(id); ok {
		pattern, err := anyCase("-I", id, body)
		return "certname ~ " + pqlText(pattern), err
	}
	return "certname = " + pqlText(id), nil
}

// unbalanced reports why a query would end before, or continue beyond, its place; "" when it would not.
func unbalanced(query string) string {
	var open []byte
	closers := map[byte]byte{'(': ')', '[': ']', '{': '}'}
	for i := 0; i < len(query); i++ {
		switch c := query[i]; c {
		case '"', '\'':
			end := i + 1
			for end < len(query) && query[end] != c {
				if query[end] == '\\' {
					end++
				}
				end++
			}
			if end >= len(query) {
				return "a quote is not closed"
			}
			i = end
		case '(', '[', '{':
			open = append(open, closers[c])
		case ')', ']', '}':
			if len(open) == 0 || open[len(open)-1] != c {
				return fmt.Sprintf("%q closes nothing", c)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return fmt.Sprintf("%q is missing at its end", open[len(open)-1])
	}
	return ""
}

var puppetClass = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*(::[A-Za-z][A-Za-z0-9_]*)*$`) })

func pqlClass(class string) (string, error) {
	if body, ok := slashed(class); ok {
		pattern, err := anyCase("-C", class, body)
		return `resources {type = "Class" and title ~ ` + pqlText(pattern) + `}`, err
	}
	if !puppetClass().MatchString(class) {
		return "", cannotAsk("-C", class, "no Puppet class has such a name")
	}
	parts := strings.Split(strings.ToLower(class), "::")
	for i, p := range parts {
		parts[i] = strings.ToUpper(p[:1]) + p[1:]
	}
	return `resources {type = "Class" and title = ` + pqlText(strings.Join(parts, "::")) + `}`, nil
}

// builtinAgents come with the server itself: no file of theirs is in a catalog, so the class stands for them.
var builtinAgents = []string{"rpcutil", "choria_util", "scout"}

func pqlAgent(agent string) (string, error) {
	if slices.Contains(builtinAgents, agent) {
		return `(resources {type = "Class" and title = "Choria::Service"} or resources {type = "Class" and title = "Mcollective::Service"})`, nil
	}
	if body, ok := slashed(agent); ok {
		if anchored(body) {
			return "", cannotAsk("-A", agent, "the pattern is looked for inside a longer tag, where ^ and $ never match")
		}
		pattern, err := anyCase("-A", agent, body)
		return `resources {type = "File" and tag ~ ` + pqlText("mcollective_agent_.*?"+pattern+".*?_server") + `}`, err
	}
	return `resources {type = "File" and tag = ` + pqlText("mcollective_agent_"+agent+"_server") + `}`, nil
}

// anchored reports whether a regex has an anchor.
func anchored(body string) bool {
	class := false
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '[':
			class = true
		case ']':
			class = false
		case '^', '$':
			if !class {
				return true
			}
		}
	}
	return false
}

// factPath is what PuppetDB can look up: parts with dots between, each a name, a name in quotes, or match("regex").
var factPath = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(` + factPart + `)(\.(` + factPart + `))*$`) })

const factPart = `[^\s."',\[\]!<=>~(){}#|*?\\@]+(\[[0-9]+\])?|"[^"\\]+"|match\("[^"()]+"\)`

func pqlFact(f filter.Fact) (string, error) {
	if !factPath().MatchString(f.Name) || strings.HasPrefix(f.Name, "match(") {
		return "", cannotAsk("-F", f.String(), fmt.Sprintf("%q is no fact that it can look up", f.Name))
	}
	name := "facts." + f.Name
	switch f.Operator {
	case "=~":
		body, ok := slashed(f.Value)
		if !ok {
			body = f.Value
		}
		pattern, err := anyCase("-F", f.String(), body)
		return "inventory {" + name + " ~ " + pqlText(pattern) + "}", err
	case "==":
		return "inventory {" + pqlEquals(name, f.Value) + "}", nil
	case "!=":
		return "inventory {!(" + pqlEquals(name, f.Value) + ")}", nil
	case "<", "<=", ">", ">=":
		number, ok := pqlNumber(f.Value)
		if !ok {
			return "", cannotAsk("-F", f.String(), f.Operator+" compares numbers only")
		}
		return "inventory {" + name + " " + f.Operator + " " + number + "}", nil
	}
	return "", cannotAsk("-F", f.String(), "it has no operator "+f.Operator)
}

// pqlEquals compares with the text, and with the number or truth value that the text can be.
func pqlEquals(name, value string) string {
	literal, ok := pqlNumber(value)
	if value == "true" || value == "false" {
		literal, ok = value, true
	}
	if !ok {
		return name + " = " + pqlText(value)
	}
	return name + " = " + literal + " or " + name + " = " + pqlText(value)
}

var pqlLiteral = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-?[0-9]+(\.[0-9]+([eE][-+]?[0-9]+)?)?$`) })

// pqlNumber writes a number as PQL has it; Choria sends 1e5, .5 and inf as they are, which are errors there.
func pqlNumber(s string) (string, bool) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n != n || n-n != 0 {
		return "", false
	}
	if pqlLiteral().MatchString(s) {
		_, overflow := strconv.ParseInt(s, 10, 64)
		return s, overflow == nil || strings.Contains(s, ".")
	}
	text := strconv.FormatFloat(n, 'f', -1, 64)
	return text, pqlLiteral().MatchString(text) && len(text) < 19
}
