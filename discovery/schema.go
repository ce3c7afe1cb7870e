package discovery

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// inventorySchema is what an inventory file says that it is.
const inventorySchema = "https://choria.io/schemas/choria/discovery/v1/inventory_file.json"

// shape is what a value of an inventory file may be: the JSON schema of these files, as data (docs/protocol.md,
// discovery, inventory). It accepts what the schema accepts.
type shape struct {
	kind     string // "an object", "an array", "a text"
	only     string // texts: this one and no other
	pattern  *regexp.Regexp
	item     *shape            // arrays
	keys     map[string]*shape // objects; nil leaves them free
	required []string
}

const (
	anObject = "an object"
	anArray  = "an array"
	aText    = "a text"
)

var inventoryShape = sync.OnceValue(func() *shape {
	texts := &shape{kind: anArray, item: &shape{kind: aText}}
	groupShape := &shape{kind: anObject, required: []string{"name"}, keys: map[string]*shape{
		"name": {kind: aText, pattern: regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)},
		"filter": {kind: anObject, keys: map[string]*shape{
			"agents": texts, "classes": texts, "facts": texts, "identities": texts, "compound": {kind: aText},
		}},
	}}
	nodeShape := &shape{kind: anObject, required: []string{"name", "collectives", "facts", "classes", "agents"}, keys: map[string]*shape{
		"name": {kind: aText, pattern: regexp.MustCompile(`(?s).`)}, "collectives": texts, "facts": {kind: anObject}, "classes": texts, "agents": texts,
	}}
	return &shape{kind: anObject, required: []string{"$schema", "nodes"}, keys: map[string]*shape{
		"$schema": {kind: aText, only: inventorySchema},
		"groups":  {kind: anArray, item: groupShape},
		"nodes":   {kind: anArray, item: nodeShape},
	}}
})

// violation is one place where a file is not what it has to be.
type violation struct {
	steps   []any // keys and indexes
	problem string
}

// place writes steps as nodes[3].name.
func (v violation) place() string {
	var s strings.Builder
	for _, step := range v.steps {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&s, "[%d]", step)
		case string:
			if s.Len() > 0 {
				s.WriteByte('.')
			}
			s.WriteString(shorten(step, 60))
		}
	}
	if s.Len() == 0 {
		return "the file"
	}
	return s.String()
}

// kindOf names what a value is.
func kindOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return anObject
	case []any:
		return anArray
	case string:
		return aText
	case nil:
		return "null"
	case bool:
		return "a truth value"
	}
	return "a number"
}

// check appends the violations of v, in the order of the file as far as it has one.
func (s *shape) check(found []violation, v any, steps ...any) []violation {
	steps = slices.Clip(steps)
	report := func(format string, args ...any) {
		found = append(found, violation{steps, fmt.Sprintf(format, args...)})
	}
	if kind := kindOf(v); kind != s.kind {
		report("is %s, not %s", kind, s.kind)
		return found
	}
	switch v := v.(type) {
	case string:
		switch {
		case s.only != "" && v != s.only:
			report("is %q, not %q", shorten(v, 100), s.only)
		case s.pattern != nil && v == "":
			report("is blank")
		case s.pattern != nil && !s.pattern.MatchString(v):
			report("is %q: letters, digits, _ and - only", shorten(v, 100))
		}
	case []any:
		for i, item := range v {
			found = s.item.check(found, item, append(steps, i)...)
		}
	case map[string]any:
		for _, key := range s.required {
			if _, there := v[key]; !there {
				report("lacks %s", key)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if s.keys == nil {
				break
			}
			if value, known := s.keys[key]; known {
				found = value.check(found, v[key], append(steps, key)...)
			} else {
				report("has the unknown key %q", shorten(key, 60))
			}
		}
	}
	return found
}

// maxViolations is how many violations an error lists.
const maxViolations = 20

// explain puts violations into one error; nil when there are none.
func (d *document) explain(found []violation) error {
	if len(found) == 0 {
		return nil
	}
	var lines []string
	for _, v := range found[:min(len(found), maxViolations)] {
		where := ""
		if n := d.line(v.steps); n > 0 {
			where = fmt.Sprintf("line %d: ", n)
		}
		lines = append(lines, where+v.place()+" "+v.problem)
	}
	if more := len(found) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%s", strings.Join(lines, "; "))
}

// inventoryData is an inventory file, checked.
type inventoryData struct {
	Schema string           `json:"$schema"`
	Groups []inventoryGroup `json:"groups"`
	Nodes  []inventoryNode  `json:"nodes"`
}

type inventoryGroup struct {
	Name   string `json:"name"`
	Filter struct {
		Agents     []string `json:"agents"`
		Classes    []string `json:"classes"`
		Facts      []string `json:"facts"`
		Identities []string `json:"identities"`
		Compound   string   `json:"compound"`
	} `json:"filter"`
}

type inventoryNode struct {
	Name        string          `json:"name"`
	Collectives []string        `json:"collectives"`
	Facts       json.RawMessage `json:"facts"`
	Classes     []string        `json:"classes"`
	Agents      []string        `json:"agents"`
}

// readInventory reads an inventory file; format as for readDocument. Without validation only what has a use
// is looked at. The names of all nodes can be addressed.
func readInventory(content []byte, format string, validate bool) (*inventoryData, error) {
	d, err := readDocument(content, format)
	if err != nil {
		return nil, err
	}
	if validate {
		if err := d.explain(inventoryShape().check(nil, d.tree)); err != nil {
			return nil, err
		}
	}
	text, err := plainJSON(d.tree)
	if err != nil {
		return nil, err
	}
	var data inventoryData
	if err := json.Unmarshal(text, &data); err != nil {
		if wrong, ok := err.(*json.UnmarshalTypeError); ok {
			return nil, fmt.Errorf("%s is %s", wrong.Field, wrong.Value)
		}
		return nil, err
	}
	var found []violation
	if data.Schema != inventorySchema {
		found = append(found, violation{[]any{"$schema"}, fmt.Sprintf("is %q, not %q", shorten(data.Schema, 100), inventorySchema)})
	}
	for i, n := range data.Nodes {
		if err := checkName(n.Name); err != nil {
			found = append(found, violation{[]any{"nodes", i, "name"}, "cannot be addressed: " + err.Error()})
		}
	}
	return &data, d.explain(found)
}
