package filter

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseTakesPlainFilters(t *testing.T) {
	got, err := Parse(Flags{
		Facts:      []string{"country=mt", "country=mt", `disks.#(name="x").size>=64`, "s=/^a/", "s=~b", "n>1.5", "a=x/y"},
		Classes:    []string{"role::web", "role::web", "/^db/"},
		Agents:     []string{"rpcutil", "/x/"},
		Identities: []string{"web1", "/web/", "pql:nodes[certname] { a = 1 }", "group:all"},
		With:       []string{"country=de  common /x/"},
		Select:     []string{`with("a") and (fact("b") matches "x" or scout("y").state == "OK") and site_data("q").x > 1`},

		DataFunctions: []string{"site_data", "fact"},
	})
	want := Filter{
		Facts: []Fact{{"country", "==", "mt"}, {"country", "==", "mt"}, {`disks.#(name="x").size`, ">=", "64"},
			{"s", "=~", "/^a/"}, {"s", "=~", "b"}, {"n", ">", "1.5"}, {"a", "==", "x/y"}, {"country", "==", "de"}},
		Classes:    []string{"role::web", "/^db/", "common", "/x/"},
		Agents:     []string{"rpcutil", "/x/"},
		Identities: []string{"web1", "/web/", "pql:nodes[certname] { a = 1 }", "group:all"},
		Compound:   []string{`with("a") and (fact("b") matches "x" or scout("y").state == "OK") and site_data("q").x > 1`},
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("filter (-want +got):\n%s", d)
	}
}

func TestParseRefusesSurprises(t *testing.T) {
	tests := []struct {
		name    string
		flags   Flags
		instead string
	}{
		{"negated regex", Flags{Facts: []string{"foo!=/x/"}}, `-S 'not with("foo=/x/")'`},
		{"negated regex with backslash", Flags{Facts: []string{`foo!=/\d"/`}}, "-S 'not with(`foo=/\\d\"/`)'"},
		{"negated regex with quote", Flags{Facts: []string{`foo!=/it's/`}}, `-S 'not with("foo=/it'\''s/")'`},
		{"ordered regex", Flags{Facts: []string{"foo>=/x/"}}, `-F 'foo=/x/', or -S 'fact("foo") >= "/x/"'`},
		{"root directory", Flags{Facts: []string{"mount=/"}}, `-S 'fact("mount") == "/"'`},
		{"not the root directory", Flags{Facts: []string{"mount!=/"}}, `-S 'fact("mount") != "/"'`},
		{"value with operator", Flags{Facts: []string{"foo=a=b"}}, `-S 'fact("foo") == "a=b"'`},
		{"regex with operator", Flags{Facts: []string{"foo=/a=b/"}}, `-S 'fact("foo") matches "(?i)a=b"'`},
		{"negated regex with operator", Flags{Facts: []string{"foo!=/a=b/"}}, `-S 'not (fact("foo") matches "(?i)a=b")'`},
		{"too many operators", Flags{Facts: []string{"foo!==bar"}}, `-F 'foo!=bar'`},
		{"not false", Flags{Facts: []string{"virtual!=false"}}, `-F 'virtual=true'`},
		{"not true", Flags{Facts: []string{"virtual!=True"}}, `-F 'virtual=false'`},
		{"a quoted class", Flags{With: []string{`role=web "common"`}}, `-W 'role=web common'`},
		{"a quoted value", Flags{With: []string{`role='web' common`}}, `-W 'role=web common'`},
		{"fact regex", Flags{Facts: []string{"foo=/(/"}}, `-F 'foo=/\(/'`},
		{"empty fact", Flags{Facts: []string{""}}, ``},
		{"empty class", Flags{Classes: []string{" "}}, ``},
		{"class regex", Flags{Classes: []string{"/a(/"}}, `-C '/a\(/'`},
		{"agent regex", Flags{Agents: []string{"/a(/"}}, `-A '/a\(/'`},
		{"identity regex", Flags{Identities: []string{"/(unclosed/"}}, `-I '/\(unclosed/'`},
		{"empty regex", Flags{Identities: []string{"//"}}, `-I '/./'`},
		{"half a regex", Flags{Identities: []string{"/web"}}, `-I '/web/'`},
		{"wildcard", Flags{Identities: []string{"web*.a"}}, `-I '/^web.*\.a$/'`},
		{"a fact as a name", Flags{Identities: []string{"role=web"}}, `-F 'role==web'`},
		{"quotes in a name", Flags{Identities: []string{`"web1"`}}, `-I 'web1'`},
		{"white space after a name", Flags{Identities: []string{"web1 "}}, `-I 'web1'`},
		{"a dot after a name", Flags{Identities: []string{"web1.example.net."}}, `-I 'web1.example.net'`},
		{"braces", Flags{Identities: []string{"web{1..2}"}}, `-I '/^web\{1\.\.2\}$/'`},
		{"two names", Flags{Identities: []string{"web1, web2"}}, `-I '/^(web1|web2)$/'`},
		{"a flag", Flags{Identities: []string{"-F"}}, `-I '/^-F$/'`},
		{"fact as class", Flags{Classes: []string{"a=b"}}, `-F 'a==b'`},
		{"with: unparsable", Flags{With: []string{"role a==b="}}, `-F 'a==b'`},
		{"with: spaces", Flags{With: []string{"country = mt"}}, `-F 'country==mt'`},
		{"with: no value", Flags{With: []string{"web foo="}}, `-S 'fact("foo") == ""'`},
		{"with: no value negated", Flags{With: []string{"foo!="}}, `-S 'fact("foo") != ""'`},
		{"with: negation", Flags{With: []string{"!web"}}, `-S 'not with("web")'`},
		{"with: no fact", Flags{With: []string{"=web"}}, `-C 'web'`},
		{"with: quotes", Flags{With: []string{`os="Red Hat"`}}, `-F 'os==Red Hat'`},
		{"with: negated regex", Flags{With: []string{"a foo!=/x/"}}, `-S 'not with("foo=/x/")'`},
		{"with: empty", Flags{With: []string{" "}}, ``},
		{"several selects", Flags{Select: []string{"a or b", "c"}}, `-S '(fact("a") or fact("b")) and (fact("c"))'`},
		{"select: empty", Flags{Select: []string{""}}, ``},
		{"select: bare fact", Flags{Select: []string{`country != "mt"`}}, `-S 'fact("country") != "mt"'`},
		{"select: dotted fact", Flags{Select: []string{`true and os.family == "x"`}}, `-S 'true and fact("os.family") == "x"'`},
		{"select: facts", Flags{Select: []string{`facts.os.family == "x"`}}, `-S 'fact("os.family") == "x"'`},
		{"select: unknown function", Flags{Select: []string{`wiht("x")`}},
			`with, fact, include, semver or a data plugin (choria(), config_item(), machine_state(), scout())`},
		{"select: surprise in with", Flags{Select: []string{`with("foo!=/x/")`}}, `-S 'not with("foo=/x/")'`},
		{"select: regex in with", Flags{Select: []string{`with("/(/")`}}, `-W '/\(/'`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse(tt.flags)
			refusal, ok := errors.AsType[*SurpriseError](err)
			if !ok {
				t.Fatalf("got %+v, %v, want a refusal", f, err)
			}
			if refusal.Instead != tt.instead {
				t.Errorf("instead: got %s, want %s", refusal.Instead, tt.instead)
			}
			if refusal.Why == "" || !strings.Contains(err.Error(), refusal.Instead) {
				t.Errorf("message does not say why or what else: %v", err)
			}
		})
	}
}

func TestParseRefusesWhatNoServerCanRead(t *testing.T) {
	for _, flags := range []Flags{
		{Facts: []string{"bad"}},
		{Identities: []string{"a\xff"}},
		{Facts: []string{"a="}},
		{Select: []string{"("}},
		{Select: []string{"1"}},
		{Select: []string{`fact(1)`}},
		{Select: []string{`fact("x") matches "("`}},
		{Select: []string{`semver(fact("v"), "banana")`}},
		{Select: []string{`with("a") and with("b=")`}},
	} {
		if f, err := Parse(flags); err == nil {
			t.Errorf("Parse(%+v) = %+v, want an error", flags, f)
		}
	}
}

// TestInsteadMeansWhatWasMeant evaluates proposals as a server would.
func TestInsteadMeansWhatWasMeant(t *testing.T) {
	tests := []struct {
		typed string
		facts string
		want  bool
	}{
		{"foo!=/x/", `{"foo":"aXb"}`, false},
		{"foo!=/x/", `{"foo":"ab"}`, true},
		{"n!=/^1/", `{"n":12}`, false},
		{"n!=/^1/", `{"n":22}`, true},
		{`foo!=/\d+/`, `{"foo":"a1"}`, false},
		{`foo!=/\d+/`, `{"foo":"a"}`, true},
		{"mount=/", `{"mount":"/"}`, true},
		{"mount=/", `{"mount":"/var"}`, false},
		{"foo=a=b", `{"foo":"a=b"}`, true},
		{"foo=a=b", `{"foo":"a"}`, false},
		{"foo=/a=b/", `{"foo":"xA=B"}`, true},
		{"foo!=/a=b/", `{"foo":"xA=B"}`, false},
		{"virtual!=false", `{"virtual":false}`, false},
		{"virtual!=false", `{"virtual":true}`, true},
		{"virtual!=true", `{"virtual":false}`, true},
		{"virtual!=true", `{"virtual":true}`, false},
	}
	for _, tt := range tests {
		_, err := Parse(Flags{Facts: []string{tt.typed}})
		refusal, ok := errors.AsType[*SurpriseError](err)
		if !ok {
			t.Errorf("%s: got %v, want a refusal", tt.typed, err)
			continue
		}
		f := mustParseInstead(t, refusal.Instead)
		if got := f.Match(Node{Facts: []byte(tt.facts)}); got != tt.want {
			t.Errorf("%s, instead %s, on %s: got %v, want %v", tt.typed, refusal.Instead, tt.facts, got, tt.want)
		}
	}
}

// mustParseInstead parses a proposal as a shell and Parse would.
func mustParseInstead(t *testing.T, instead string) Filter {
	t.Helper()
	flags, err := insteadFlags(instead)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(flags)
	if err != nil {
		t.Fatalf("proposal %s is refused too: %v", instead, err)
	}
	return f
}

func insteadFlags(instead string) (Flags, error) {
	instead, _, _ = strings.Cut(instead, ", or ")
	flag, quoted, _ := strings.Cut(instead, " ")
	if len(quoted) < 2 || quoted[0] != '\'' || quoted[len(quoted)-1] != '\'' {
		return Flags{}, errors.New("proposal is not a quoted flag: " + instead)
	}
	text := []string{strings.ReplaceAll(quoted[1:len(quoted)-1], `'\''`, "'")}
	switch flag {
	case "-F":
		return Flags{Facts: text}, nil
	case "-C":
		return Flags{Classes: text}, nil
	case "-A":
		return Flags{Agents: text}, nil
	case "-I":
		return Flags{Identities: text}, nil
	case "-W":
		return Flags{With: text}, nil
	case "-S":
		return Flags{Select: text}, nil
	}
	return Flags{}, errors.New("proposal names no flag: " + instead)
}

// vector is a captured discovery request of the real client.
type vector struct {
	Command  []string `json:"command"`
	Messages []struct {
		Decoded struct {
			Inner struct {
				Envelope struct {
					Filter struct {
						Fact     []struct{ Fact, Operator, Value string } `json:"fact"`
						Class    []string                                 `json:"cf_class"`
						Identity []string                                 `json:"identity"`
						Compound [][]struct {
							Expr string `json:"expr"`
						} `json:"compound"`
					} `json:"filter"`
				} `json:"envelope"`
			} `json:"inner"`
		} `json:"decoded"`
	} `json:"messages"`
}

func TestParseMakesTheFiltersOfTheRealClient(t *testing.T) {
	files, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("found %d vectors, %v", len(files), err)
	}
	more, _ := filepath.Glob("../../../shared/vectors/insecure/discovery_*.json")
	for _, file := range append(files, more...) {
		if strings.HasSuffix(file, "_bad.json") {
			continue // an expression that does not compile: refused, on purpose
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		var flags Flags
		for i, arg := range v.Command {
			into := map[string]*[]string{"-F": &flags.Facts, "-C": &flags.Classes, "-I": &flags.Identities,
				"-W": &flags.With, "-S": &flags.Select}[arg]
			if into != nil {
				*into = append(*into, v.Command[i+1])
			}
		}
		got, err := Parse(flags)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		wire := v.Messages[0].Decoded.Inner.Envelope.Filter
		want := Filter{Classes: wire.Class, Identities: wire.Identity}
		for _, f := range wire.Fact {
			want.Facts = append(want.Facts, Fact{Name: f.Fact, Operator: f.Operator, Value: f.Value})
		}
		for _, c := range wire.Compound {
			want.Compound = append(want.Compound, c[0].Expr)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s (-want +got):\n%s", file, d)
		}
	}
}
