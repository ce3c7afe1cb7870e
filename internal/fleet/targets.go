package fleet

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
)

// Targets choose nodes. The zero value is every node of the main collective.
type Targets struct {
	Filter     filter.Flags
	Collective string // empty: the main one
	NodesFile  string // "-" for stdin
	Exclude    []string
	Method     string // of discovery; empty: as configured
	Do         []string
	Timeout    time.Duration // of discovery; zero: as configured
	Window     bool          // end discovery when nothing new has come for a while
	Known      string        // a file of nodes that are expected to answer a broadcast; empty: those of the last one
	Limit      string        // N or N%
	LimitSeed  int64
}

// filtered reports that a filter was given.
func (t Targets) filtered() bool {
	f := t.Filter
	return len(f.Facts)+len(f.Classes)+len(f.Agents)+len(f.Identities)+len(f.With)+len(f.Select) > 0
}

// Chosen reports that the nodes were chosen: by a filter, a file or names. An agent alone does not count, as in upstream:
// every request has one.
func (t Targets) Chosen() bool {
	t.Filter.Agents = nil
	return t.NodesFile != "" || t.filtered()
}

// Narrowed reports that the operator named the nodes by a filter or a list, as upstream judges it.
func (t Targets) Narrowed() bool {
	return t.Chosen() || slices.ContainsFunc(t.Do, func(option string) bool { return strings.HasPrefix(option, "file") })
}

// FilterRequiredError reports that plugin.choria.require_client_filter forbids to ask every node. Nothing was sent.
type FilterRequiredError struct{ File string }

// Error implements error.
func (e *FilterRequiredError) Error() string {
	return "cannot ask every node of the fleet: plugin.choria.require_client_filter is set in " + e.File
}

// MayAsk refuses targets without a filter of the operator's own where the configuration forbids those. It returns a
// *FilterRequiredError.
func (f *Fleet) MayAsk(t Targets) error {
	if f.Config.RequireFilter && !t.Narrowed() {
		return &FilterRequiredError{f.Config.File}
	}
	return nil
}

// Arguments are the targets as they would be typed, for the record.
func (t Targets) Arguments() []string {
	var out []string
	for _, set := range []struct {
		flag   string
		values []string
	}{
		{"-F", t.Filter.Facts}, {"-C", t.Filter.Classes}, {"-A", t.Filter.Agents}, {"-I", t.Filter.Identities},
		{"-W", t.Filter.With}, {"-S", t.Filter.Select}, {"-T", once(t.Collective)}, {"--nodes", once(t.NodesFile)},
		{"--dm", once(t.Method)}, {"--do", t.Do},
		{"--exclude", t.Exclude}, {"--limit", once(t.Limit)}, {"--limit-seed", once(seedText(t.LimitSeed))},
	} {
		for _, v := range set.values {
			out = append(out, set.flag, v)
		}
	}
	return out
}

func seedText(seed int64) string {
	if seed == 0 {
		return ""
	}
	return strconv.FormatInt(seed, 10)
}

func once(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// Parse checks the targets without any network. Errors are *UsageError and *discovery.SourceError.
func (t Targets) Parse() (filter.Filter, error) {
	if _, err := discovery.Method(t.Method); err != nil {
		return filter.Filter{}, err
	}
	if t.Limit != "" {
		if _, err := discovery.Limit([]string{"any"}, t.Limit, "first", 0); err != nil {
			return filter.Filter{}, usage(err, "")
		}
	}
	flags := t.Filter
	var err error
	if flags.Identities, err = discovery.UnfoldIdentities(flags.Identities); err != nil {
		return filter.Filter{}, err
	}
	f, err := filter.Parse(flags)
	if err != nil {
		return filter.Filter{}, usage(err, "")
	}
	if t.Method != "" || t.NodesFile != "" { // otherwise the configuration decides, which is not read yet
		if _, err := discovery.Choose(discovery.Request{Method: t.Method, NodesFile: t.NodesFile, Options: t.Do, Filter: f}); err != nil {
			return filter.Filter{}, err
		}
	}
	return f, nil
}

// EmptyHint is the hint when no node matched.
func (t Targets) EmptyHint() string {
	switch {
	case len(t.Exclude) > 0:
		return "--exclude takes nodes out: does it leave any?"
	case t.NodesFile != "":
		return "the list of --nodes has no names"
	case t.filtered():
		return "no server matches the filter, or none answered in time: try it without, or with a longer --discovery-timeout"
	}
	return "no server answered: are they connected to this broker, in this collective (-T), is this caller allowed, and is the wait long enough?"
}

// Stdin reports what reads nodes from stdin, "" where nothing does.
func (t Targets) Stdin() string {
	if t.NodesFile == "-" {
		return "--nodes -"
	}
	for _, text := range t.Do {
		if text == "file=-" || text == "file:-" {
			return "--do file=-"
		}
	}
	return ""
}

// ReadNodes reads a list of nodes from a file, or from stdin where the name is "-".
func (o Options) ReadNodes(ctx context.Context, name string) ([]string, error) {
	return discovery.ReadNodesFile(ctx, name, o.Stdin)
}

// ErrNoNodes is returned where no node is left to work on.
var ErrNoNodes = errors.New("no node matched")

// NoNodesError is ErrNoNodes with what to look at.
type NoNodesError struct {
	What string // in place of ErrNoNodes' own words; may be empty
	Hint string
}

// Error implements error.
func (e *NoNodesError) Error() string { return cmp.Or(e.What, ErrNoNodes.Error()) }

// Unwrap returns ErrNoNodes.
func (e *NoNodesError) Unwrap() error { return ErrNoNodes }
