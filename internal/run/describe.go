package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/rpcclient"
)

// utilityAgent is the agent that every server has.
const utilityAgent = "rpcutil"

// describe gives the planner the facts that it wants of every node, through one request. A node that does not answer has
// no value, which the plan says.
func (c *call) describe(ctx context.Context, names, wanted []string) ([]batch.Node, error) {
	nodes := make([]batch.Node, len(names))
	for i, n := range names {
		nodes[i] = batch.Node{Identity: n}
	}
	if len(wanted) == 0 {
		return nodes, nil
	}
	values, err := c.facts(ctx, names, wanted)
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		nodes[i].Facts = values[nodes[i].Identity]
	}
	return nodes, nil
}

func (c *call) facts(ctx context.Context, names, wanted []string) (map[string]map[string]string, error) {
	doc, err := c.fleet.Documents().Resolve(ctx, utilityAgent)
	if err != nil {
		return nil, err
	}
	action, ok := doc.Action("get_facts")
	if !ok {
		return nil, errors.New("rpcutil has no get_facts")
	}
	data, err := action.Check(utilityAgent, map[string]string{"facts": strings.Join(wanted, ",")})
	if err != nil {
		return nil, usage(fmt.Errorf("facts to plan with: %w", err), "")
	}
	client, err := c.fleet.Dial(ctx)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, fleet.ReplyTimeout(doc))
	defer cancel()
	req := rpcclient.Request{Agent: utilityAgent, Action: "get_facts", Data: data, Collective: c.about.Collective}
	out := make(map[string]map[string]string, len(names))
	for r, err := range client.Call(wait, req, names) {
		if err != nil {
			return nil, err
		}
		if r.OK() {
			out[r.Node] = factValues(r.Data)
		}
	}
	return out, context.Cause(ctx)
}

// factValues turns a reply into texts; what is absent or null has none.
func factValues(data json.RawMessage) map[string]string {
	var body struct {
		Values map[string]json.RawMessage `json:"values"`
	}
	if json.Unmarshal(data, &body) != nil {
		return nil
	}
	out := make(map[string]string, len(body.Values))
	for name, raw := range body.Values {
		var text string
		switch {
		case string(raw) == "null":
		case json.Unmarshal(raw, &text) == nil:
			out[name] = text
		default:
			out[name] = string(raw)
		}
	}
	return out
}
