package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"fleetctl/internal/filter"
)

// Exclusions is what the flags --exclude name, read and checked. It is safe for concurrent use.
type Exclusions struct{ entries []exclusion }

// exclusion is one entry: names, or a regex that judges them.
type exclusion struct {
	spec   string
	listed bool
	names  []string
	regex  *filter.Matcher // nil for names
}

// Exclusion is what one entry did to a list of nodes. The parts of a node set that commas separate are entries of
// their own, so that a misspelled name beside a right one is seen.
type Exclusion struct {
	Spec    string   // as given: web1, web[1-3], /^db/, @FILE
	Listed  bool     // it is @FILE: a standing list, whose names need not be among the nodes
	Out     int      // nodes that it names, those included that another entry names too
	Named   int      // names that it has; 0 for a regex
	Missing []string // its names that are not among the nodes, sorted; nil for a regex
	Nearest string   // where a single name is missing: the node whose name is nearest, "" for none
}

// Idle reports whether the entry was typed to spare nodes and spares none: an action that changes something is
// refused then. A standing list is never idle.
func (e Exclusion) Idle() bool { return e.Out == 0 && !e.Listed }

// Note is what there is to report about the entry, "" for nothing: that it is idle, or has names that are missing.
func (e Exclusion) Note() string {
	about := fmt.Sprintf("--exclude %q", e.Spec)
	switch {
	case e.Idle() && e.Nearest != "":
		return fmt.Sprintf("%s excludes no node: is %s meant?", about, e.Nearest)
	case e.Idle():
		return about + " excludes no node"
	case e.Listed && e.Named == 0:
		return about + " names no node: the file has none"
	case len(e.Missing) > 0:
		return fmt.Sprintf("%s: %d of its %d names are none of the nodes: %s", about, len(e.Missing), e.Named, Fold(e.Missing))
	}
	return ""
}

// ReadExclusions reads entries as -I reads them, names, node sets and /regex/, and @FILE for a list as ReadNodesFile
// reads it; home is what ~/ stands for, "" leaves it alone. What can be none of them is a *SourceError of kind Misuse or
// a *filter.SurpriseError. A name that no node has is not an error here: From reports it.
func ReadExclusions(ctx context.Context, specs []string, home string) (Exclusions, error) {
	var x Exclusions
	for _, spec := range specs {
		entries, err := readExclusion(ctx, spec, home)
		if err != nil {
			return Exclusions{}, err
		}
		x.entries = append(x.entries, entries...)
	}
	return x, nil
}

func readExclusion(ctx context.Context, spec, home string) ([]exclusion, error) {
	if path, isFile := strings.CutPrefix(spec, "@"); isFile {
		names, err := ReadNodesFile(ctx, expandHome(path, home), nil)
		if err != nil {
			return nil, fmt.Errorf("--exclude %q: %w", spec, err)
		}
		return []exclusion{{spec: spec, listed: true, names: names}}, nil
	}
	if isNodeSet(spec) {
		if _, err := unfoldFlag("--exclude", spec); err != nil {
			return nil, err
		}
		var entries []exclusion
		for _, part := range parts(spec) {
			names, err := unfoldSorted(part)
			if err != nil {
				return nil, misuse("discovery", "", "--exclude %q: %w", spec, err)
			}
			entries = append(entries, exclusion{spec: part, names: names})
		}
		return entries, nil
	}
	if err := checkExclusion(spec); err != nil {
		return nil, err
	}
	if strings.HasPrefix(spec, "/") {
		return []exclusion{{spec: spec, regex: filter.Filter{Identities: []string{spec}}.Matcher()}}, nil
	}
	return []exclusion{{spec: spec, names: []string{spec}}}, nil
}

// checkExclusion refuses what -I refuses, and what only a method of discovery could expand.
func checkExclusion(spec string) error {
	if isQuery(spec) {
		return misuse("discovery", "write its nodes into a file, and exclude @FILE",
			"cannot use --exclude %q: only names, node sets, /regex/ and @FILE can be left out", spec)
	}
	_, err := filter.Parse(filter.Flags{Identities: []string{spec}})
	refusal, surprising := errors.AsType[*filter.SurpriseError](err)
	if !surprising {
		return err
	}
	hint := "write a name, a node set, /regex/ or @FILE"
	switch instead, isName := strings.CutPrefix(refusal.Instead, "-I "); {
	case isName:
		hint = "write --exclude " + instead
	case strings.HasPrefix(refusal.Instead, "-F '"):
		hint = "leave nodes out by a fact with -S: " + withoutFact(refusal.Instead)
	case strings.TrimSpace(spec) == "":
		return misuse("discovery", hint, "--exclude is blank")
	}
	return misuse("discovery", hint, "cannot use --exclude %q: %s", spec, refusal.Why)
}

// withoutFact turns -F 'role==web' into the -S of all other nodes.
func withoutFact(flag string) string {
	fact := strings.TrimSuffix(strings.TrimPrefix(flag, "-F '"), "'")
	return fmt.Sprintf(`-S 'not with("%s")'`, strings.Replace(fact, "==", "=", 1))
}

// From returns the nodes that no entry names, in the order that they had, and what each entry did, in the order that
// they were given. nodes is not changed.
func (x Exclusions) From(nodes []string) (kept []string, did []Exclusion) {
	here := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		here[n] = true
	}
	out := map[string]bool{}
	for _, e := range x.entries {
		did = append(did, e.mark(nodes, here, out))
	}
	kept = make([]string, 0, len(nodes))
	for _, n := range nodes {
		if !out[n] {
			kept = append(kept, n)
		}
	}
	return kept, did
}

// mark adds to out the nodes that the entry names.
func (e exclusion) mark(nodes []string, here, out map[string]bool) Exclusion {
	done := Exclusion{Spec: e.spec, Listed: e.listed, Named: len(e.names)}
	take := func(n string) {
		done.Out++
		out[n] = true
	}
	if e.regex != nil {
		for n := range here {
			if e.regex.Match(filter.Node{Identity: n}) {
				take(n)
			}
		}
		return done
	}
	for _, n := range e.names {
		if here[n] {
			take(n)
		} else {
			done.Missing = append(done.Missing, n)
		}
	}
	if len(e.names) == 1 && len(done.Missing) == 1 {
		done.Nearest = filter.Nearest(e.names[0], nodes)
	}
	return done
}
