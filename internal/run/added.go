package run

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/plain"
	"fleetctl/internal/saved"
)

// selection is the filter of a request, for a saved plan. It is nil where a list named the nodes, where --limit took a part of
// them, and where the options of the discovery could make another operator's machine run a program or read a file.
func selection(t fleet.Targets) *saved.Selection {
	f := t.Filter
	method, err := discovery.Method(t.Method)
	switch {
	case err != nil, method != discovery.MethodBroadcast, t.NodesFile != "", t.Limit != "", len(t.Do) > 0, len(f.DataFunctions) > 0:
		return nil
	case slices.ContainsFunc(t.Exclude, func(text string) bool { return strings.HasPrefix(text, "@") }):
		return nil
	}
	return &saved.Selection{Facts: f.Facts, Classes: f.Classes, Agents: f.Agents, Identities: f.Identities, With: f.With, Select: f.Select, Exclude: t.Exclude}
}

// maxAdded is how many nodes that were added are named.
const maxAdded = 5

// added names the nodes that the filter of the saved plan matches now, and that are not in it. They are not sent to. That they
// cannot be looked for is reported and refuses nothing.
func (c application) added(ctx context.Context) error {
	p := &c.req.plan.Plan
	s := p.Selection
	if s == nil {
		return nil
	}
	t := fleet.Targets{Collective: p.Collective, Exclude: s.Exclude,
		Filter: filter.Flags{Facts: s.Facts, Classes: s.Classes, Agents: s.Agents, Identities: s.Identities, With: s.With, Select: s.Select}}
	parsed, err := t.Parse()
	if err == nil {
		var extra []string
		if extra, err = c.beyond(ctx, t, parsed, p.Plan.Names()); len(extra) > 0 {
			text := fmt.Sprintf("the filter of the plan now also finds %s, to which nothing is sent: %s", plain.Count(len(extra), "node"), firstOf(extra, maxAdded))
			return c.Reporter.Report(Noted{Warning, text})
		}
	}
	if err == nil || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.Reporter.Report(Noted{Warning, fmt.Sprintf("cannot look for nodes that were added since the plan was saved: %v", err)})
}

// beyond are the nodes that are found now, without those of a plan.
func (c application) beyond(ctx context.Context, t fleet.Targets, parsed filter.Filter, planned []string) ([]string, error) {
	method := c.fleet.MethodName(t, parsed)
	if err := c.Reporter.Report(Searching{Method: method}); err != nil {
		return nil, err
	}
	found, err := c.fleet.Find(ctx, t, parsed, c.req.Agent)
	if rerr := c.Reporter.Report(Found{Method: method, Nodes: len(found.Nodes), Took: found.Took, Err: err}); rerr != nil {
		return nil, rerr
	}
	return discovery.Without(found.Nodes, planned), err
}

// firstOf names the first nodes of a list, and counts the others.
func firstOf(nodes []string, most int) string {
	if len(nodes) <= most {
		return discovery.Fold(nodes)
	}
	return fmt.Sprintf("%s and %d more", discovery.Fold(nodes[:most]), len(nodes)-most)
}
