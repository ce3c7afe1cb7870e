package discovery

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fleetctl/internal/filter"
)

// inventorySource finds the nodes in a file that describes the fleet, with the servers' own rules of matching
// (docs/protocol.md, discovery, inventory).
type inventorySource struct {
	path     string
	validate bool
}

// newInventory makes the source. It reads Options (file, novalidate), InventoryFile and Home of the settings.
// The file is opened by Discover.
func newInventory(s Settings) (*inventorySource, error) {
	if err := checkOptions(methodInventory, s.Options); err != nil {
		return nil, err
	}
	path, given := s.Options["file"]
	if !given {
		path = s.InventoryFile
	}
	if path == "" {
		return nil, misuse(methodInventory, "add --do file=FILE, or set plugin.choria.discovery.inventory.source",
			"discovery method inventory needs a file")
	}
	_, unchecked := s.Options["novalidate"]
	return &inventorySource{path: expandHome(path, s.Home), validate: !unchecked}, nil
}

// Discover matches the nodes of the file that are in the query's collective. Identities group:NAME stand for
// the nodes of that group, in any collective; they cannot be mixed with other filters, and of agents only one
// is tolerated, and passed over. Exact names have to be in the file too. Data functions match nothing here.
func (i *inventorySource) Discover(ctx context.Context, q Query) (Result, error) {
	if err := suits(methodInventory, q.Filter); err != nil {
		return Result{}, err
	}
	start := time.Now()
	content, name, err := readSource(ctx, methodInventory, i.path, nil)
	if err != nil {
		return Result{}, err
	}
	format := "json"
	if ext := filepath.Ext(i.path); ext == ".yaml" || ext == ".yml" {
		format = "yaml"
	}
	data, err := readInventory(content, format, i.validate)
	if err != nil {
		return Result{}, misuse(methodInventory, "", "read inventory %q: %w", name, err)
	}
	names, err := data.find(ctx, q)
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("find nodes in inventory %q: %w", name, context.Cause(ctx))
	}
	if err != nil {
		return Result{}, misuse(methodInventory, "", "find nodes in inventory %q: %w", name, err)
	}
	return result(methodInventory, names, start), nil
}

// find returns the names of the nodes that match, as they stand.
func (d *inventoryData) find(ctx context.Context, q Query) ([]string, error) {
	w := WireFilter(q.Filter, q.Agent)
	groups := 0
	for _, id := range w.Identity {
		if strings.HasPrefix(id, "group:") {
			groups++
		}
	}
	if groups == 0 {
		f := q.Filter
		f.Agents = w.Agent
		return d.match(ctx, q.Collective, f)
	}
	if groups < len(w.Identity) || len(w.Fact)+len(w.Class)+len(w.Compound) > 0 || len(w.Agent) > 1 {
		return nil, errors.New("cannot use -I group: together with other filters: write them into the group")
	}
	var names []string
	for _, id := range w.Identity {
		found, err := d.group(ctx, strings.TrimPrefix(id, "group:"))
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	return names, nil
}

func (d *inventoryData) group(ctx context.Context, name string) ([]string, error) {
	at := slices.IndexFunc(d.Groups, func(g inventoryGroup) bool { return g.Name == name })
	if at < 0 {
		var known []string
		for _, g := range d.Groups {
			known = append(known, g.Name)
		}
		if len(known) == 0 {
			known = []string{"none"}
		}
		return nil, fmt.Errorf("unknown group %q; there are: %s", name, shorten(strings.Join(known, ", "), 200))
	}
	g := d.Groups[at].Filter
	flags := filter.Flags{Facts: g.Facts, Classes: g.Classes, Agents: g.Agents, Identities: g.Identities}
	if g.Compound != "" {
		flags.Select = []string{g.Compound}
	}
	f, err := filter.Parse(flags)
	if err != nil {
		return nil, fmt.Errorf("group %q: %w", name, err)
	}
	for _, id := range f.Identities {
		if strings.HasPrefix(id, "group:") || strings.HasPrefix(id, "pql:") {
			return nil, fmt.Errorf("group %q: cannot use the identity %q: groups are made of names and regexes", name, id)
		}
	}
	return d.match(ctx, "", f)
}

// match returns the nodes of a collective, or of any for "", that match.
func (d *inventoryData) match(ctx context.Context, collective string, f filter.Filter) ([]string, error) {
	var names []string
	m := f.Matcher()
	for _, n := range d.Nodes {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if collective != "" && !slices.Contains(n.Collectives, collective) {
			continue
		}
		if m.Match(filter.Node{Identity: n.Name, Agents: n.Agents, Classes: n.Classes, Facts: n.Facts}) {
			names = append(names, n.Name)
		}
	}
	return names, nil
}
