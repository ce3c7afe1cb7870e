package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/choria"
	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/journal"
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
	inputs  inputs
	data    json.RawMessage
	found   discovery.Result
	// filtered tells that somebody chose the nodes: a filter, a file, names.
	filtered bool
	settings config.Settings
	writer   *resultWriter
	start    time.Time
}

func (a *app) runReq(ctx context.Context, o reqOptions) error {
	f, err := o.parse()
	if err != nil {
		return err
	}
	j, err := a.newJob(ctx, o)
	if err != nil {
		return err
	}
	defer j.network.close()
	if err := j.oneFederation(); err != nil {
		return err
	}
	id, err := j.toResume(ctx)
	if err != nil {
		return err
	}
	if id != "" {
		return j.resumeInstead(ctx, id)
	}
	return j.write(func() error {
		if j.doc.Metadata.Service {
			return j.service(ctx, f)
		}
		return j.nodes(ctx, f)
	})
}

// minTTL is the shortest time to live that servers of protocol v1 accept.
const minTTL = 30 * time.Second

// newJob checks everything that can be checked without the network.
func (a *app) newJob(ctx context.Context, o reqOptions) (*job, error) {
	j := &job{app: a, o: o, start: time.Now()}
	j.filtered = o.nodesFile != "" || o.filtered()
	var err error
	if j.settings, err = a.settings(); err != nil {
		return nil, err
	}
	if j.network, err = a.network(ctx, o.collective); err != nil {
		return nil, err
	}
	err = j.check(ctx)
	if err == nil {
		err = j.forwardable()
	}
	if err != nil {
		j.network.close()
		return nil, err
	}
	return j, nil
}

// write runs the work with the result's writer open.
func (j *job) write(work func() error) (err error) {
	if j.writer, err = newResultWriter(j.app, j); err != nil {
		return err
	}
	defer func() { err = j.writer.end(err) }()
	id, err := j.network.identity()
	if err != nil {
		return err
	}
	if ttl := j.request().TTL; id.Version() == choria.V1 && ttl < minTTL {
		return usage(fmt.Errorf("a time to live of %s is too short: servers of protocol v1 drop such requests in silence", ttl), "use --ttl 30 or longer")
	}
	return work()
}

// check resolves the agent's document and turns the inputs into data, before any other network work.
func (j *job) check(ctx context.Context) error {
	var err error
	if j.doc, err = j.network.documents().Resolve(ctx, j.o.agent); err != nil {
		return err
	}
	action, ok := j.doc.Action(j.o.action)
	if !ok {
		hint := j.o.agent + " has " + strings.Join(j.doc.ActionNames(), ", ")
		if near := filter.Nearest(j.o.action, j.doc.ActionNames()); near != "" {
			hint = fmt.Sprintf("did you mean %s#%s?", j.o.agent, near)
		}
		return usage(fmt.Errorf("unknown action %s#%s", j.o.agent, j.o.action), hint)
	}
	j.action = action
	j.o.command = redactCommand(j.o, action)
	for _, name := range j.network.federations {
		j.o.command = append(j.o.command, "--federations", name)
	}
	if j.o.stored && j.o.dryRun {
		return nil // checked when the run was begun; to tell what is left of it needs no secret
	}
	if j.inputs, err = j.app.resolveInputs(ctx, j.o.agent, action, j.o.inputs); err != nil {
		return err
	}
	j.app.scrub.add(j.inputs)
	j.data, err = j.inputs.check(j.o.agent, action)
	return err
}

// redactCommand is what was typed, for the record, with every secret taken out.
func redactCommand(o reqOptions, action *ddl.Action) []string {
	out := []string{"req", o.agent, o.action}
	for _, key := range slices.Sorted(maps.Keys(o.inputs)) {
		value := o.inputs[key]
		if secretInput(action, key) {
			value = redacted
		}
		out = append(out, key+"="+value)
	}
	return append(out, o.targets.arguments()...)
}

// nodes finds the nodes and runs the plan over them.
func (j *job) nodes(ctx context.Context, f filter.Filter) error {
	j.writer.discovering(j.o.methodName(j.network, f))
	found, err := j.app.nodesOf(ctx, j.network, &j.o.targets, f, j.o.agent)
	if err != nil {
		j.writer.undiscovered()
		return err
	}
	j.found = found
	j.writer.discovered(len(found.Nodes), found.Took)
	if len(found.Nodes) == 0 {
		return noNodes(j.o.emptyHint())
	}
	plan, err := j.plan(ctx)
	if err != nil {
		return err
	}
	if j.o.dryRun {
		return j.writer.plan(plan, plan.Estimate(j.pace()))
	}
	if err := j.guard(ctx, plan); err != nil {
		return err
	}
	if j.o.replyTo != "" {
		return j.forward(ctx, j.found.Nodes)
	}
	return j.begin(ctx, plan, "")
}

// begin records a new run and runs it.
func (j *job) begin(ctx context.Context, plan batch.Plan, parent string) error {
	header, err := j.header(parent)
	if err != nil {
		return err
	}
	from, err := batch.Begin(header, plan)
	if err != nil {
		return err
	}
	if !j.recorded() {
		if j.changes() {
			fmt.Fprintln(j.app.err, "warning: no record is kept: this run cannot be resumed, retried or looked up")
		}
		return j.run(ctx, from, nil)
	}
	file, err := j.openJournal(header.Run)
	if err != nil {
		return err
	}
	return errors.Join(j.run(ctx, from, file), file.Close())
}

func (j *job) plan(ctx context.Context) (batch.Plan, error) {
	_, token := j.action.Inputs["token"]
	policy, err := j.o.policy(token)
	if err != nil {
		return batch.Plan{}, err
	}
	nodes, err := j.describe(ctx, j.found.Nodes, policy.Facts())
	if err != nil {
		return batch.Plan{}, err
	}
	plan, err := batch.NewPlan(nodes, policy)
	if err != nil {
		return batch.Plan{}, usage(err, "")
	}
	plan.Notes = append(plan.Notes, j.federationNotes()...)
	return plan, nil
}

func (j *job) pace() batch.Pace {
	p := j.o.pace(replyTimeout(j.doc))
	p.LongestDelay, p.Settle, p.VerifyTimeout = j.proofLimits()
	return p
}

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

// run hands a run to the engine, from wherever it is. The first signal is an event of the engine, not the end of its
// context: what is in flight is still collected.
func (j *job) run(ctx context.Context, from batch.Progress, file *journal.Journal) error {
	client, err := j.network.dial(ctx)
	if err != nil {
		return err
	}
	session, err := client.Open(ctx, j.network.collective)
	if err != nil {
		return err
	}
	defer session.Close()
	actor := newActor(session, j.request(), client.NewID, j.app.scrub)
	actor.protocol = j.o.output.kind == formatLines
	defer actor.close()
	verifier, err := j.verifier(client)
	if err != nil {
		return err
	}
	interrupt := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { interrupt <- context.Cause(ctx) })
	defer stop()
	runner := batch.Runner{
		Actor: actor, Outcomes: actor.outcomes, Observer: j.writer, Rules: j.o.rules(j.changes()), Pace: j.pace(), Interrupt: interrupt,
		Confirm: j.confirm,
	}
	if verifier != nil {
		runner.Verifier, runner.Prober = verifier, verifier
	}
	if file != nil {
		runner.Journal = file
		j.writer.run = file.ID()
	}
	if file != nil {
		outlivePipes()
	}
	j.writer.begin(actor, from)
	summary, err := runner.Run(context.WithoutCancel(ctx), from)
	j.writer.ran(session.Strays(), summary, context.Cause(ctx))
	return errors.Join(j.writer.result(summary), err)
}

// outlivePipes keeps this process going when nobody reads any more what it says: Ctrl-C on `fleetctl req ... 2>&1 | tee log`
// ends tee as well, and what is in flight must still be collected. Writing to such a pipe is an error then, not the end.
func outlivePipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// service asks a service agent: nobody is discovered, the first reply ends it.
func (j *job) service(ctx context.Context, f filter.Filter) error {
	if !f.Empty() || j.o.nodesFile != "" || j.o.limit != "" {
		return usage(fmt.Errorf("%s is a service: one of its servers answers, whichever", j.o.agent), "drop the filter")
	}
	if j.o.replyTo != "" {
		return j.forward(ctx, nil)
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
