package cmd

import (
	"fmt"
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// undescribed lists the keys of a valid document that no schema which applies to it describes: what a program writes and
// docs/schemas does not know.
func undescribed(s *jsonschema.Schema, doc any) []string {
	return undescribedAt(applying(s, doc), doc, "")
}

func undescribedAt(schemas []*jsonschema.Schema, doc any, path string) (missing []string) {
	switch doc := doc.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(doc)) {
			next, known, strict := ofKey(schemas, key, doc[key])
			if known {
				missing = append(missing, undescribedAt(next, doc[key], path+"."+key)...)
			} else if strict {
				missing = append(missing, path+"."+key)
			}
		}
	case []any:
		for i, item := range doc {
			var next []*jsonschema.Schema
			for _, s := range schemas {
				if s.Items2020 != nil {
					next = append(next, applying(s.Items2020, item)...)
				}
			}
			missing = append(missing, undescribedAt(next, item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return missing
}

// ofKey are the schemas of a key of an object. strict: it has to be known, because a schema
// lists keys of this object; documents of others, such as the claims of a token, have none.
func ofKey(schemas []*jsonschema.Schema, key string, value any) (next []*jsonschema.Schema, known, strict bool) {
	for _, s := range schemas {
		strict = strict || s.Properties != nil
		if p := s.Properties[key]; p != nil {
			next, known = append(next, applying(p, value)...), true
			continue
		}
		switch more := s.AdditionalProperties.(type) {
		case *jsonschema.Schema:
			next, known = append(next, applying(more, value)...), true
		case bool:
			known = known || more
		}
	}
	return next, known, strict
}

// applying are the schemas that hold for a document, those that a schema refers to included.
func applying(s *jsonschema.Schema, doc any) []*jsonschema.Schema {
	all := []*jsonschema.Schema{s}
	if s.Ref != nil {
		all = append(all, applying(s.Ref, doc)...)
	}
	for _, part := range s.AllOf {
		all = append(all, applying(part, doc)...)
	}
	for _, branch := range slices.Concat(s.OneOf, s.AnyOf) {
		if branch.Validate(doc) == nil {
			all = append(all, applying(branch, doc)...)
		}
	}
	return all
}
