package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/choria"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/render"
	"fleetctl/rpcclient"
)

// job is one `req`, from its checked inputs to its result.
type job struct {
	app     *app
	o       reqOptions
	network *network
	doc     *ddl.Document
	action  *ddl.Action
	data    json.RawMessage
	found   discovery.Result
	writer  *resultWriter
	start   time.Time
}

func (a *app) runReq(ctx context.Context, o reqOptions) (err error) {
	f, err := o.parse()
	if err != nil {
		return err
	}
	j := &job{app: a, o: o, start: time.Now()}
	if j.network, err = a.network(ctx, o.collective); err != nil {
		return err
	}
	defer j.network.close()
	if err := j.check(ctx); err != nil {
		return err
	}
	if j.writer, err = newResultWriter(a, j); err != nil {
		return err
	}
	defer func() { err = j.writer.end(err) }()
	if j.doc.Metadata.Service {
		return j.service(ctx, f)
	}
	return j.nodes(ctx, f)
}

// check resolves the agent's document and turns the inputs into data, before any other network work.
func (j *job) check(ctx context.Context) error {
	var err error
	if j.doc, err = j.network.documents().Resolve(ctx, j.o.agent); err != nil {
		return err
	}
	action, ok := j.doc.Action(j.o.action)
	if !ok {
		hint := ""
		if near := ddl.Nearest(j.o.action, j.doc.ActionNames()); near != "" {
			hint = fmt.Sprintf("did you mean %s#%s?", j.o.agent, near)
		}
		return usage(fmt.Errorf("unknown action %s#%s", j.o.agent, j.o.action), hint)
	}
	j.action = action
	j.data, err = action.Check(j.o.agent, j.o.inputs)
	return err
}

// nodes finds the nodes and runs the plan over them.
func (j *job) nodes(ctx context.Context, f filter.Filter) error {
	j.writer.discovering(j.o.methodName(j.network))
	found, err := j.app.nodesOf(ctx, j.network, &j.o.targets, f, j.o.agent)
	if err != nil {
		return err
	}
	j.found = found
	j.writer.discovered(len(found.Nodes), found.Took)
	if len(found.Nodes) == 0 {
		return noNodes(j.app.emptyHint(j.o.filter))
	}
	plan, err := j.plan()
	if err != nil {
		return err
	}
	if j.o.dryRun {
		return j.writer.plan(plan, plan.Estimate(j.pace()))
	}
	summary, err := j.run(ctx, plan)
	if err != nil {
		return err
	}
	return j.writer.result(summary)
}

func (j *job) plan() (batch.Plan, error) {
	_, token := j.action.Inputs["token"]
	policy, err := j.o.policy(token)
	if err != nil {
		return batch.Plan{}, err
	}
	nodes := make([]batch.Node, len(j.found.Nodes))
	for i, n := range j.found.Nodes {
		nodes[i] = batch.Node{Identity: n}
	}
	plan, err := batch.NewPlan(nodes, policy)
	if err != nil {
		return batch.Plan{}, usage(err, "")
	}
	return plan, nil
}

func (j *job) pace() batch.Pace { return j.o.pace(replyTimeout(j.doc)) }

func (j *job) changes() bool { return !j.doc.ReadOnly(j.o.action) }

func (j *job) request() rpcclient.Request {
	ttl := j.o.ttl.d
	if ttl == 0 && j.network.cfg.TTLSet {
		ttl = j.network.cfg.TTL
	}
	return rpcclient.Request{
		Agent: j.o.agent, Action: j.o.action, Data: j.data, Collective: j.network.collective, TTL: cmp.Or(ttl, rpcclient.DefaultTTL),
	}
}

// run hands the plan to the engine. The first signal is an event of the engine, not the end of its context: what is in
// flight is still collected.
func (j *job) run(ctx context.Context, plan batch.Plan) (batch.Summary, error) {
	client, err := j.network.dial(ctx)
	if err != nil {
		return batch.Summary{}, err
	}
	session, err := client.Open(ctx, j.network.collective)
	if err != nil {
		return batch.Summary{}, err
	}
	defer session.Close()
	actor := newActor(session, j.request(), client.NewID)
	actor.protocol = j.o.output.jsonl
	defer actor.close()
	from, err := batch.Begin(batch.Header{Created: j.start}, plan)
	if err != nil {
		return batch.Summary{}, err
	}
	j.writer.begin(actor, plan)
	interrupt := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { interrupt <- context.Cause(ctx) })
	defer stop()
	runner := batch.Runner{
		Actor: actor, Outcomes: actor.outcomes, Observer: j.writer, Rules: j.o.rules(j.changes()), Pace: j.pace(), Interrupt: interrupt,
	}
	summary, err := runner.Run(context.WithoutCancel(ctx), from)
	j.writer.ran(session.Strays(), summary, context.Cause(ctx))
	return summary, err
}

// service asks a service agent: nobody is discovered, the first reply ends it.
func (j *job) service(ctx context.Context, f filter.Filter) error {
	if !f.Empty() || j.o.nodesFile != "" || j.o.limit != "" {
		return usage(fmt.Errorf("%s is a service: one of its servers answers, whichever", j.o.agent), "drop the filter")
	}
	client, err := j.network.dial(ctx)
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, j.pace().ReplyTimeout)
	defer cancel()
	j.writer.start = time.Now()
	reply, err := client.Service(wait, j.request())
	if errors.Is(err, rpcclient.ErrNoReply) {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return &exitError{code: exitNoReply, err: err, hint: "does a server on this network offer the service?"}
	}
	if err != nil {
		return err
	}
	return j.writer.service(reply, render.Reply{
		Sender: reply.Node, Action: reply.Action, StatusCode: int(reply.Code), StatusMsg: reply.Message, Data: reply.Data,
		Time: reply.Time.UTC(), Protocol: reply.Protocol,
	}, reply.Code == choria.OK)
}
