package run

import (
	"context"
	"encoding/json"
	"fmt"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/plain"
	"fleetctl/rpcclient"
)

// lastIf is the expression of --last-if, made ready to judge nodes.
func lastIf(text string) (*filter.Matcher, error) {
	f, err := filter.Parse(filter.Flags{Select: []string{text}})
	if err != nil {
		return nil, usage(fmt.Errorf("--last-if: %w", err), `such as 'fact("role") == "leader"', as --select has it`)
	}
	return f.Matcher(), nil
}

// markLast asks the nodes for what the expression may be about, and marks those that go last: those for which it holds,
// and those that do not answer, because it may hold for them. It returns what the plan should say of that.
func (c planner) markLast(ctx context.Context, nodes []batch.Node, expression string) (notes []string, err error) {
	matcher, err := lastIf(expression)
	if err != nil {
		return nil, err
	}
	doc, err := c.fleet.Documents().Resolve(ctx, utilityAgent)
	if err != nil {
		return nil, err
	}
	client, err := c.fleet.Dial(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Identity
	}
	holds := make(map[string]bool, len(nodes))
	req := rpcclient.Request{Agent: utilityAgent, Action: "inventory", Data: json.RawMessage("{}"), Collective: c.about.Collective, Wait: fleet.ReplyTimeout(doc)}
	for r, err := range client.Call(ctx, req, names) {
		if err != nil {
			return nil, err
		}
		var body struct {
			Agents  []string        `json:"agents"`
			Classes []string        `json:"classes"`
			Facts   json.RawMessage `json:"facts"`
		}
		if r.OK() && json.Unmarshal(r.Data, &body) == nil {
			holds[r.Node] = matcher.Match(filter.Node{Identity: r.Node, Agents: body.Agents, Classes: body.Classes, Facts: body.Facts})
		}
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var silent []string
	last := 0
	for i := range nodes {
		held, answered := holds[nodes[i].Identity]
		if nodes[i].Last = held || !answered; nodes[i].Last {
			last++
		}
		if !answered {
			silent = append(silent, nodes[i].Identity)
		}
	}
	switch {
	case last == 0:
		notes = append(notes, "--last-if holds for no node: none goes last")
	case last == len(nodes):
		notes = append(notes, "--last-if holds for every node, or none answered: it changes nothing")
	case len(silent) > 0:
		notes = append(notes, fmt.Sprintf("%s did not answer when asked for --last-if, and go last, too: %s", plain.Count(len(silent), "node"), discovery.Fold(silent)))
	}
	return notes, nil
}
