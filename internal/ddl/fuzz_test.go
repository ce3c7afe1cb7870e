package ddl

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	for _, name := range Embedded() {
		data, err := documents.ReadFile("documents/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"metadata":{"name":"x"},"actions":[{"action":"a","aggregate":[{"function":"chart","args":["o",{"format":"%s"}]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parse(data)
		if err != nil {
			return
		}
		if d.Metadata.Name == "" || d.Metadata.Timeout <= 0 {
			t.Fatalf("document without a name or timeout: %+v", d.Metadata)
		}
		for i := range d.Actions {
			a := &d.Actions[i]
			if a.Name == "" || a.Display == "" || !slices.Contains(d.ActionNames(), a.Name) {
				t.Fatalf("action %+v", a)
			}
			g := a.NewAggregator()
			g.Add(json.RawMessage(`{"o":1}`))
			g.Text()
			if !json.Valid(g.JSON()) {
				t.Fatalf("summaries are not JSON: %s", g.JSON())
			}
			if inputs, err := a.Check(d.Metadata.Name, nil); err == nil && !json.Valid(inputs) {
				t.Fatalf("inputs are not JSON: %s", inputs)
			}
		}
	})
}

func FuzzCheck(f *testing.F) {
	for i, text := range []string{"", "x", "1", "-1", "1.5", "true", "{}", `{"a":1}`, "[]", "a;b", "NaN", "1e400", "::1"} {
		f.Add(uint8(i), "token", text, "^[a-z]+$")
		f.Add(uint8(i), "value", text, "shellsafe")
	}
	types := []string{"string", "integer", "number", "float", "boolean", "list", "Hash", "Array", "odd"}
	f.Fuzz(func(t *testing.T, kind uint8, name, text, validation string) {
		if name == "" || !utf8.ValidString(name) {
			return
		}
		input := Input{Name: name, Type: types[int(kind)%len(types)], MaxLength: 20, Validation: validation, List: []string{"a", "b"}}
		a := &Action{Name: "restart", Inputs: map[string]Input{name: input}}
		got, err := a.Check("choria_provision", map[string]string{name: text})
		if err != nil {
			refusal, ok := errors.AsType[*InputError](err)
			if !ok {
				t.Fatalf("%q: %v is no refusal", text, err)
			}
			const marker = "a-value-to-keep-secret"
			input.Name = "token"
			_, problem := input.convert(marker)
			if strings.Contains(problem, marker) && !strings.Contains(validation, marker) {
				t.Fatalf("secret is quoted: %s", problem)
			}
			if refusal.Input != name || refusal.Problem == "" {
				t.Fatalf("refusal %+v", refusal)
			}
			return
		}
		var sent map[string]any
		if err := json.Unmarshal(got, &sent); err != nil || len(sent) != 1 {
			t.Fatalf("sent %s: %v", got, err)
		}
		if s, ok := sent[name].(string); ok && s != text {
			t.Fatalf("sent %q for %q", s, text)
		}
		if n, ok := sent[name].(float64); ok && name == "splay" && (n < 0 || n > maxSplay) {
			t.Fatalf("splay %v was accepted", n)
		}
	})
}
