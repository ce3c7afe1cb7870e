package filter

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func FuzzParseFact(f *testing.F) {
	for _, s := range []string{"a=b", "a!=/x/", `x.#(n="y").z>=1`, "a==b=", " = ", "foo=/a=b/", "é=ü", "a=>/"} {
		f.Add(s)
	}
	wireOperators := []string{"==", "!=", "=~", "<", "<=", ">", ">="}
	f.Fuzz(func(t *testing.T, text string) {
		fact, err := ParseFact(text)
		if err != nil {
			return
		}
		if !slices.Contains(wireOperators, fact.Operator) || fact.Name == "" || fact.Value == "" {
			t.Fatalf("%q became %+v", text, fact)
		}
		if strings.TrimSpace(fact.Name) != fact.Name || strings.TrimSpace(fact.Value) != fact.Value {
			t.Fatalf("%q became %+v, untrimmed", text, fact)
		}
		if operators().MatchString(fact.Value) {
			t.Fatalf("%q became %+v, with an operator in the value", text, fact)
		}
		if isRegex(fact.Value) && fact.Operator != "=~" {
			t.Fatalf("%q became %+v, a regex that is not matched", text, fact)
		}
		spaced := fact.Name + " " + fact.Operator + " " + fact.Value
		if again, err := ParseFact(spaced); err != nil || again != fact {
			t.Fatalf("%q became %+v, and %q became %+v, %v", text, fact, spaced, again, err)
		}
	})
}

// FuzzParse checks that what is refused as a surprise comes with a filter that
// is accepted.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a=b", "a!=/x/", "a!==b", "foo=/a=b/", "a==b= c", "/x", "w*", "x='a b'", "!a", "m=/", "a=b==c<", "a(=)=b", "0 \rXjj=jjjj=a", "a>/0(/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		one := []string{text}
		for _, flags := range []Flags{{Facts: one}, {Classes: one}, {Agents: one}, {Identities: one}, {With: one}} {
			_, err := Parse(flags)
			refusal, ok := errors.AsType[*SurpriseError](err)
			if !ok || !strings.HasSuffix(refusal.Instead, "'") {
				continue
			}
			proposed, err := insteadFlags(refusal.Instead)
			if err != nil {
				t.Fatalf("%s %q: %v", refusal.Flag, text, err)
			}
			if _, err := Parse(proposed); err != nil {
				t.Fatalf("%s %q: proposal %s is refused: %v", refusal.Flag, text, refusal.Instead, err)
			}
		}
	})
}

func FuzzCompound(f *testing.F) {
	for _, s := range []string{`with("a")`, `fact("x") == 1`, `a.b == "c"`, `facts.x`, `1`, `(`, `let x = 1; x == 1`,
		`semver("1", "2")`, `with("a!=/b/")`, `any(agents, # == "x")`, "wiht(`x`)"} {
		f.Add(s)
	}
	node := Node{Identity: "a", Agents: []string{"x"}, Classes: []string{"a"}, Facts: []byte(testFacts)}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 200 {
			return
		}
		_, err := Parse(Flags{Select: []string{text}})
		if err == nil {
			if c := compileCompound(text); c.program == nil && !strings.Contains(text, "(") {
				t.Fatalf("%q is accepted, and no server compiles it", text)
			}
		}
		matched := (Filter{Compound: []string{text}}).Match(node)
		if matched && compileCompound(text).program == nil {
			t.Fatalf("%q does not compile, and matches", text)
		}
		if twice := (Filter{Compound: []string{text, text}}).Match(node); twice && !matched && !strings.Contains(text, "now") {
			t.Fatalf("%q matches when it is asked twice only", text)
		}
	})
}

func FuzzCompileReply(f *testing.F) {
	for _, s := range []string{`ok()`, `code == 1`, `data("x.y") > 1`, `nope`, `msg matches "("`, `semver(data("v"), "1")`} {
		f.Add(s, `{"x":{"y":2},"v":"1.0.0"}`)
	}
	f.Fuzz(func(t *testing.T, text, data string) {
		if len(text) > 200 {
			return
		}
		e, err := CompileReply(text)
		if err != nil {
			return
		}
		if got, err := e.Match(ReplyEnv{Data: []byte(data)}); err != nil && got {
			t.Fatalf("%q on %q: an error that matches: %v", text, data, err)
		}
	})
}
