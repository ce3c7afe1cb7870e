package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fleetctl/batch"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/inventory"
	"fleetctl/rpcclient"
)

// utilityAgent is the agent that every server has.
const utilityAgent = "rpcutil"

// planner asks the nodes for what a plan needs of them.
type planner struct{ *call }

// describe gives the planner the facts that it wants of every node, through one request. A node that does not answer has
// no value, which a note of the plan reports. A fact that is limited is needed of every node: the silent ones are asked
// twice.
func (c planner) describe(ctx context.Context, names, wanted []string, twice bool) ([]batch.Node, error) {
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
	if silent := silentOf(values, names); twice && len(silent) > 0 && c.budget.limitsAny(wanted) {
		late, err := c.facts(ctx, silent, wanted)
		if err != nil {
			return nil, err
		}
		maps.Copy(values, late)
	}
	c.known = values
	for i := range nodes {
		nodes[i].Facts = values[nodes[i].Identity]
	}
	return nodes, c.checkPlanFacts(ctx, nodes, wanted)
}

func (c planner) facts(ctx context.Context, names, wanted []string) (map[string]map[string]string, error) {
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
	req := rpcclient.Request{Agent: utilityAgent, Action: "get_facts", Data: data, Collective: c.about.Collective, Wait: fleet.ReplyTimeout(doc)}
	out := make(map[string]map[string]string, len(names))
	for r, err := range client.Call(ctx, req, names) {
		if err != nil {
			return nil, err
		}
		values := factValues(r.Data)
		if !r.OK() || values == nil {
			continue
		}
		for _, fact := range wanted { // a node without the fact has answered
			if _, ok := values[fact]; !ok {
				values[fact] = ""
			}
		}
		out[r.Node] = values
	}
	return out, context.Cause(ctx)
}

// factValues turns a reply into texts; what is absent or null has none. Nil where the data is not such a reply.
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

// checkPlanFacts refuses --spread-by and --max-per of a fact that no node has: they would spread and cap nothing.
func (c planner) checkPlanFacts(ctx context.Context, nodes []batch.Node, wanted []string) error {
	told := slices.IndexFunc(nodes, func(n batch.Node) bool { return n.Facts != nil })
	if told < 0 {
		return nil // a note of the plan reports that no node answered
	}
	for _, fact := range wanted {
		if c.budget != nil && c.budget.theirs(fact) {
			continue // a limit of all runs is for those nodes that have the fact
		}
		if slices.ContainsFunc(nodes, func(n batch.Node) bool { return n.Facts[fact] != "" }) {
			continue
		}
		flag := "--max-per"
		if _, ok := c.req.Shared.MaxDown[fact]; ok {
			flag = budgetGuard
		}
		if fact == c.req.Policy.SpreadBy {
			flag = "--spread-by"
		}
		hint := ""
		if near := filter.NearestFew(fact, c.factNames(ctx, nodes[told].Identity), 3); len(near) > 0 {
			hint = "did you mean one of these? " + strings.Join(near, ", ")
		}
		return usage(fmt.Errorf("cannot use %s %s: no node has a fact of this name", flag, fact), hint)
	}
	return nil
}

// factNames asks one node for the names of its facts; none when it does not answer.
func (c planner) factNames(ctx context.Context, node string) []string {
	client, err := c.fleet.Dial(ctx)
	if err != nil {
		return nil
	}
	n, _ := inventory.Fetch(ctx, client, c.about.Collective, node, c.pace().ReplyTimeout) // no answer gives no proposal
	return filter.FactNames(n.Facts)
}

// factsAgain asks the nodes of a retry for the facts that its policy needs; nil where none are, or the earlier plan has
// them. Of a node that does not answer, the record's facts count: it may be down.
func (c planner) factsAgain(ctx context.Context, s Stored, which []batch.State) (func(string) batch.Node, error) {
	p := s.Progress
	wanted, lastIf := c.policy().Facts(), c.policy().LastIf
	if p.Plan().Policy.LastIf == lastIf {
		lastIf = "" // the record knows
	}
	if p.Plan().Knows(wanted) && lastIf == "" {
		return nil, nil
	}
	var names []string
	for r := range p.Results() {
		if slices.Contains(which, r.State) {
			names = append(names, r.Identity)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	if err := c.canSend(); err != nil {
		return nil, err
	}
	nodes, err := c.describe(ctx, names, wanted, false) // the record knows the silent ones
	if err != nil {
		return nil, err
	}
	if lastIf != "" {
		if _, err := c.markLast(ctx, nodes, lastIf); err != nil {
			return nil, err
		}
	}
	known := make(map[string]batch.Node, len(nodes))
	values := s.values()
	for _, n := range nodes {
		if n.Facts == nil && len(wanted) > 0 {
			n.Facts = c.recorded(values, n.Identity, wanted)
		}
		known[n.Identity] = n
	}
	return func(name string) batch.Node { return known[name] }, nil
}

// recorded are the facts of a node that an earlier run recorded, nil where one is missing; they are known from then on.
func (c planner) recorded(values map[string]map[string]string, node string, wanted []string) map[string]string {
	facts := make(map[string]string, len(wanted))
	for _, fact := range wanted {
		value, ok := values[fact][node]
		if !ok {
			return nil
		}
		facts[fact] = value
	}
	c.known[node] = facts
	return facts
}

// plan splits the nodes into batches.
func (c planner) plan(ctx context.Context, names []string) (batch.Plan, error) {
	policy := budgeting(c).caps(c.policy(), len(names))
	nodes, err := c.describe(ctx, names, policy.Facts(), true)
	if err != nil {
		return batch.Plan{}, err
	}
	var notes []string
	if policy.LastIf != "" {
		if notes, err = c.markLast(ctx, nodes, policy.LastIf); err != nil {
			return batch.Plan{}, err
		}
	}
	plan, err := batch.NewPlan(nodes, policy)
	if err != nil {
		return batch.Plan{}, usage(err, "")
	}
	plan.Notes = append(plan.Notes, notes...)
	plan.Notes = append(plan.Notes, c.federationNotes()...)
	return plan, nil
}
