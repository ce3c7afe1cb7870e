package filter

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseFactFollowsTheSharedGrammar(t *testing.T) {
	tests := []struct {
		text string
		want Fact
	}{
		{"country=mt", Fact{"country", "==", "mt"}},
		{" country = mt ", Fact{"country", "==", "mt"}},
		{"a==b", Fact{"a", "==", "b"}},
		{"a=>1", Fact{"a", ">=", "1"}},
		{"a=<1", Fact{"a", "<=", "1"}},
		{"a<=1", Fact{"a", "<=", "1"}},
		{"a!=b", Fact{"a", "!=", "b"}},
		{"a=~^b", Fact{"a", "=~", "^b"}},
		{"foo!=/x/", Fact{"foo", "=~", "/x/"}},
		{"foo>/x/", Fact{"foo", "=~", "/x/"}},
		{"foo=/a=b/", Fact{"foo=/a", "==", "b/"}},
		{"foo=ba<r", Fact{"foo=ba", "<", "r"}},
		{`storage.#(name="x").size=64`, Fact{`storage.#(name="x").size`, "==", "64"}},
	}
	for _, tt := range tests {
		got, err := ParseFact(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("ParseFact(%q) = %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"", "foo", "=x", "foo=", "a==b=", "<a=b", "a=b<", "= =", "foo= "} {
		if got, err := ParseFact(text); err == nil {
			t.Errorf("ParseFact(%q) = %+v, want an error", text, got)
		}
	}
}

const testFacts = `{"s":"Hello World","i":1,"f":1.5,"t":true,"b":false,"n":null,"a":["x",1],"o":{"k":"v"},
	"list":[{"n":"a","v":1},{"n":"b","v":2}],"v":"1.2.3"}`

func TestFactsMatchAsOnServers(t *testing.T) {
	tests := []struct {
		fact Fact
		want bool
	}{
		{Fact{"s", "==", "hello WORLD"}, true},
		{Fact{"s", "!=", "hello WORLD"}, false},
		{Fact{"s", "=~", "/^hello/"}, true},
		{Fact{"s", "=~", "^HELLO"}, true},
		{Fact{"s", "=~", "/(/"}, false},
		{Fact{"s", "<", "I"}, true},
		{Fact{"s", ">=", "hello world"}, true},
		{Fact{"s", ">", "hello world"}, false},
		{Fact{"i", "==", "1"}, true},
		{Fact{"i", "==", "01"}, false},
		{Fact{"i", "==", "1.0"}, true},
		{Fact{"i", "!=", "1"}, false},
		{Fact{"f", "==", "1"}, true}, // truncated
		{Fact{"f", "==", "1.5"}, true},
		{Fact{"f", "=~", `/^1\.5000$/`}, true},
		{Fact{"f", "=~", `/^1$/`}, true},
		{Fact{"f", ">", "1"}, false},
		{Fact{"f", ">", "1.5"}, true}, // means >=
		{Fact{"f", "<", "1.5"}, false},
		{Fact{"i", "<", "x"}, false},
		{Fact{"i", "==", "x"}, false},
		{Fact{"i", "!=", "x.y"}, false},
		{Fact{"t", "==", "T"}, true},
		{Fact{"t", "==", "tRuE"}, false},
		{Fact{"t", "!=", "bob"}, true},
		{Fact{"t", "=~", "TRUE"}, true},
		{Fact{"b", "==", "bob"}, true},
		{Fact{"b", "!=", "false"}, true}, // the servers' inversion
		{Fact{"b", "!=", "true"}, false},
		{Fact{"t", "<", "1"}, false},
		{Fact{"n", "==", ""}, false},
		{Fact{"n", "!=", "x"}, false},
		{Fact{"a", "==", "x"}, false},
		{Fact{"a.0", "==", "x"}, true},
		{Fact{"a.#", "==", "2"}, true},
		{Fact{"o", "=~", "v"}, false},
		{Fact{"o.k", "==", "V"}, true},
		{Fact{`list.#(n=="b").v`, "==", "2"}, true},
		{Fact{"missing", "==", "x"}, false},
		{Fact{"missing", "!=", "x"}, false},
		{Fact{"s", "bogus", "x"}, false},
	}
	for _, tt := range tests {
		f := Filter{Facts: []Fact{tt.fact}}
		if got := f.Match(Node{Facts: []byte(testFacts)}); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.fact, got, tt.want)
		}
	}
}

func TestKindsMatchAsOnServers(t *testing.T) {
	node := Node{Identity: "web1.example.net", Agents: []string{"rpcutil", "scout"},
		Classes: []string{"role::web", "Common"}, Facts: []byte(testFacts)}
	tests := []struct {
		name   string
		filter Filter
		want   bool
	}{
		{"empty", Filter{}, true},
		{"identity exact", Filter{Identities: []string{"x", "web1.example.net"}}, true},
		{"identity case", Filter{Identities: []string{"WEB1.example.net"}}, false},
		{"identity regex", Filter{Identities: []string{"/^web/"}}, true},
		{"identity regex case", Filter{Identities: []string{"/^WEB/"}}, false},
		{"identity bad regex", Filter{Identities: []string{"/(/"}}, false},
		{"agents and", Filter{Agents: []string{"rpcutil", "/^sc/"}}, true},
		{"agents and missing", Filter{Agents: []string{"rpcutil", "x"}}, false},
		{"agent case", Filter{Agents: []string{"Rpcutil"}}, false},
		{"class needle is lowered", Filter{Classes: []string{"ROLE::web"}}, true},
		{"class stored with capitals", Filter{Classes: []string{"Common"}}, false},
		{"class regex ignores case", Filter{Classes: []string{"/^COMMON$/"}}, true},
		{"kinds and", Filter{Identities: []string{"/web/"}, Facts: []Fact{{"i", "==", "2"}}}, false},
		{"facts and", Filter{Facts: []Fact{{"i", "==", "1"}, {"s", "=~", "hello"}}}, true},
	}
	for _, tt := range tests {
		if got := tt.filter.Match(node); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestCompoundMatchesAsOnServers(t *testing.T) {
	node := Node{Agents: []string{"rpcutil"}, Classes: []string{"role::web"}, Facts: []byte(testFacts),
		Data: map[string]func(args ...any) (any, error){
			"scout":  func(args ...any) (any, error) { return map[string]any{"name": args[0]}, nil },
			"broken": func(...any) (any, error) { return nil, errors.New("no data") },
			"fact":   func(...any) (any, error) { return "taken", nil },
		}}
	tests := []struct {
		compound []string
		want     bool
	}{
		{[]string{`with("role::web") and with("rpcutil") and with("i=1")`}, true},
		{[]string{`with("/ROLE/")`}, true},
		{[]string{`fact("i") == 1`}, true},
		{[]string{`include(fact("a"), 1) and include(fact("a"), "x")`}, true},
		{[]string{`include(fact("missing"), 1)`}, false},
		{[]string{`semver(fact("v"), ">= 1.2, < 2")`}, true},
		{[]string{`"rpcutil" in agents`}, true},
		{[]string{`fact("s") matches "hello"`}, false},
		{[]string{`fact("i") matches "1"`}, false}, // not a string: fails to run
		{[]string{`not (fact("i") matches "1")`}, false},
		{[]string{`not (fact("missing") matches "1")`}, true},
		{[]string{`unknown != "x"`}, true}, // an undefined variable is nil
		{[]string{`unknown("x")`}, false},
		{[]string{`facts.i == 1`}, false},
		{[]string{`1`}, false},
		{[]string{`fact("i")`}, false},
		{[]string{`(`}, false},
		{[]string{`scout("x").name == "x"`}, true},
		{[]string{`broken()`}, false},
		{[]string{`true`, `true`, `false`}, true},
		{[]string{`true`, `false`}, false},
		{[]string{`true`, `true`, `(`}, false},
	}
	for _, tt := range tests {
		if got := (Filter{Compound: tt.compound}).Match(node); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.compound, got, tt.want)
		}
	}
}

func TestMatcherIsReusable(t *testing.T) {
	m := Filter{Facts: []Fact{{"s", "=~", "/x/"}}, Compound: []string{`with("s=/x/")`}}.Matcher()
	for range 2 {
		if !m.Match(Node{Facts: []byte(`{"s":"axb"}`)}) || m.Match(Node{Facts: []byte(`{"s":"ab"}`)}) {
			t.Error("a matcher that is used twice changes its mind")
		}
	}
}

func TestRegexCacheStaysBounded(t *testing.T) {
	c := newRegexCache()
	for i := range 3 * maxRegexes {
		c.match("a"+string(rune('b'+i)), "x")
		c.match("("+string(rune('b'+i)), "x")
	}
	if n := len(c.compiled) + len(c.failed); n > maxRegexes {
		t.Errorf("cache holds %d patterns, limit is %d", n, maxRegexes)
	}
	if !c.match("a", "cat") || c.match("(", "cat") {
		t.Error("cache does not match after it was emptied")
	}
}

func TestExactIdentities(t *testing.T) {
	tests := []struct {
		name   string
		filter Filter
		want   []string
		ok     bool
	}{
		{"names", Filter{Identities: []string{"b", "a"}}, []string{"b", "a"}, true},
		{"names and agents", Filter{Identities: []string{"a"}, Agents: []string{"rpcutil"}}, []string{"a"}, true},
		{"none", Filter{Agents: []string{"rpcutil"}}, nil, false},
		{"regex", Filter{Identities: []string{"a", "/b/"}}, nil, false},
		{"query", Filter{Identities: []string{"pql:nodes {}"}}, nil, false},
		{"group", Filter{Identities: []string{"group:web"}}, nil, false},
		{"fact", Filter{Identities: []string{"a"}, Facts: []Fact{{"x", "==", "y"}}}, nil, false},
		{"class", Filter{Identities: []string{"a"}, Classes: []string{"x"}}, nil, false},
		{"compound", Filter{Identities: []string{"a"}, Compound: []string{"true"}}, nil, false},
	}
	for _, tt := range tests {
		got, ok := tt.filter.ExactIdentities()
		if ok != tt.ok || !cmp.Equal(got, tt.want) {
			t.Errorf("%s: got %v, %v, want %v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestEmpty(t *testing.T) {
	if !(Filter{}).Empty() {
		t.Error("a filter of nothing is not empty")
	}
	for _, f := range []Filter{{Agents: []string{"a"}}, {Classes: []string{"a"}}, {Identities: []string{"a"}},
		{Compound: []string{"a"}}, {Facts: []Fact{{"a", "==", "b"}}}} {
		if f.Empty() {
			t.Errorf("%+v is empty", f)
		}
	}
}

func BenchmarkMatcher(b *testing.B) {
	m := Filter{Facts: []Fact{{"s", "=~", "/^hello/"}}, Compound: []string{`with("role::web") and fact("i") == 1`}}.Matcher()
	node := Node{Classes: []string{"role::web"}, Facts: []byte(testFacts)}
	for b.Loop() {
		if !m.Match(node) {
			b.Fatal("no match")
		}
	}
}
