package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/rpcclient"
)

// describe gives the planner the facts that it wants of every node, through one request. A node that does not tell has
// no value, which the plan says.
func (j *job) describe(ctx context.Context, names, wanted []string) ([]batch.Node, error) {
	nodes := make([]batch.Node, len(names))
	for i, n := range names {
		nodes[i] = batch.Node{Identity: n}
	}
	if len(wanted) == 0 {
		return nodes, nil
	}
	values, err := j.facts(ctx, names, wanted)
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		nodes[i].Facts = values[nodes[i].Identity]
	}
	return nodes, nil
}

func (j *job) facts(ctx context.Context, names, wanted []string) (map[string]map[string]string, error) {
	doc, err := j.network.documents().Resolve(ctx, discoveryFor)
	if err != nil {
		return nil, err
	}
	action, ok := doc.Action("get_facts")
	if !ok {
		return nil, errors.New("rpcutil has no get_facts")
	}
	data, err := action.Check(discoveryFor, map[string]string{"facts": strings.Join(wanted, ",")})
	if err != nil {
		return nil, usage(fmt.Errorf("facts to plan with: %w", err), "")
	}
	client, err := j.network.dial(ctx)
	if err != nil {
		return nil, err
	}
	req := rpcclient.Request{Agent: discoveryFor, Action: "get_facts", Data: data, Collective: j.network.collective, Wait: replyTimeout(doc)}
	out := make(map[string]map[string]string, len(names))
	for r, err := range client.Call(ctx, req, names) {
		if err != nil {
			return nil, err
		}
		if r.Code == choria.OK {
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
