package discovery

import (
	"fmt"
	"slices"
	"strings"
)

// UnfoldIdentities turns the node sets among -I (web[01-12].example.net, a,b) into names. Regular expressions, and
// the queries that a discovery method expands, stay as they are; so do wildcards, which filter.Parse refuses.
func UnfoldIdentities(given []string) ([]string, error) {
	var out []string
	for _, id := range given {
		if !isNodeSet(id) {
			out = append(out, id)
			continue
		}
		names, err := unfoldFlag("-I", id)
		if err != nil {
			return nil, err
		}
		out = append(out, names...)
	}
	return out, nil
}

func unfoldFlag(flag, set string) ([]string, error) {
	names, err := unfoldSorted(set)
	if err == nil {
		return names, nil
	}
	hint := "write a node set such as web[01-12].example.net, or a regex between slashes"
	if brackets := withBrackets(set); brackets != "" {
		hint = fmt.Sprintf("write %s '%s'", flag, brackets)
	}
	return nil, misuse("discovery", hint, "%s %q: %w", flag, set, err)
}

func isNodeSet(id string) bool {
	switch {
	case strings.HasPrefix(id, "/"), strings.HasSuffix(id, "/"), isQuery(id):
		return false
	case strings.ContainsAny(id, "*?"):
		return false
	}
	return strings.ContainsAny(id, "[],{}")
}

// isQuery reports whether an identity is for one method of discovery to expand.
func isQuery(id string) bool { return strings.HasPrefix(id, "pql:") || strings.HasPrefix(id, "group:") }

// withBrackets is the node set that a set in the braces of shells, web{01,02} or web{1..9}, means; "" where there is
// none, as for web{a,b}.
func withBrackets(set string) string {
	if !strings.Contains(set, "{") {
		return ""
	}
	brackets := strings.NewReplacer("{", "[", "}", "]", "..", "-").Replace(set)
	if _, err := unfoldSorted(brackets); err != nil {
		return ""
	}
	return brackets
}

// parts splits a node set that Unfold reads at the commas outside brackets.
func parts(set string) []string {
	depth := 0
	split := func(c rune) bool {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		}
		return c == ',' && depth == 0
	}
	list := strings.FieldsFunc(set, split)
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return slices.DeleteFunc(list, func(part string) bool { return part == "" })
}
