package cmd

import (
	"fmt"
	"strings"

	"fleetctl/discovery"
)

// unfoldIdentities turns the node sets among -I (web[01-12].example.net, a,b) into names. Regular expressions, and the
// queries that a discovery method expands, stay as they are; so do wildcards, which are refused later.
func unfoldIdentities(given []string) ([]string, error) {
	var out []string
	for _, id := range given {
		if !isNodeSet(id) {
			out = append(out, id)
			continue
		}
		names, err := discovery.Unfold(id)
		if err != nil {
			return nil, usage(fmt.Errorf("-I %q: %w", id, err), "write a node set such as web[01-12].example.net, or a regex between slashes")
		}
		out = append(out, names...)
	}
	return out, nil
}

func isNodeSet(id string) bool {
	switch {
	case strings.HasPrefix(id, "/"), strings.HasSuffix(id, "/"), strings.HasPrefix(id, "pql:"), strings.HasPrefix(id, "group:"):
		return false
	case strings.ContainsAny(id, "*?"):
		return false
	}
	return strings.ContainsAny(id, "[],")
}
