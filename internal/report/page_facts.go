package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"fleetctl/internal/filter"
	"fleetctl/internal/run"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// facts returns the values of the facts that the page shows, in the order of the plan.
func (o StoredOptions) facts(r run.Stored) (map[string][]string, error) {
	if o.Facts != "" {
		return savedFacts(o.Facts, o.By, r)
	}
	recorded := r.Facts()
	if len(o.By) == 0 {
		return recorded, nil
	}
	facts := map[string][]string{}
	for _, fact := range o.By {
		values, ok := recorded[fact]
		if !ok {
			has := "it has no facts of nodes"
			if len(recorded) > 0 {
				has = "it has only " + strings.Join(sortedKeys(recorded), ", ")
			}
			return nil, &FileError{Err: fmt.Errorf("the record of run %s has no values of the fact %q: %s", r.ID, fact, has),
				Hint: "take them from a saved inventory: fleetctl inventory --save FILE, then --facts FILE"}
		}
		facts[fact] = values
	}
	return facts, nil
}

// savedFacts reads the facts of the nodes from a saved inventory. A node that is not in it has no value.
func savedFacts(path string, names []string, r run.Stored) (map[string][]string, error) {
	saved, err := openSnapshot(path)
	if err != nil {
		return nil, err
	}
	defer saved.file.Close()
	facts, known := map[string][]string{}, map[string]bool{}
	for n := range r.Progress.Results() {
		node, _, err := saved.Node(n.Identity)
		if err != nil {
			return nil, &FileError{Err: fmt.Errorf("read snapshot %s: %w", path, err)}
		}
		for _, fact := range names {
			value, ok := filter.TextAt(node.Facts, fact)
			facts[fact], known[fact] = append(facts[fact], value), known[fact] || ok
		}
	}
	for _, fact := range names {
		if !known[fact] {
			return nil, &FileError{Err: fmt.Errorf("no node of run %s has the fact %q in %s", r.ID, fact, path)}
		}
	}
	return facts, nil
}
