package run

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"fleetctl/batch"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/journal"
	"fleetctl/internal/proof"
)

// Start does what the operator asks for: it checks, finds the nodes, plans, passes the guards, records and runs; or it
// resumes the interrupted run of the same command, where the operator wants that. What the run came to is reported; the
// error is nil when it was, whatever the verdict.
func Start(ctx context.Context, c Context, r Request) (Result, error) {
	parsed, err := r.Targets.Parse()
	if err != nil {
		return Result{}, err
	}
	checked, err := prepare(ctx, c, r)
	if err != nil {
		return Result{}, err
	}
	j := job{checked}
	defer sharing(j).unlock(ctx)
	if err := j.oneFederation(); err != nil {
		return Result{}, err
	}
	earlier, err := j.toResume(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := j.announce(); err != nil {
		return Result{}, err
	}
	if earlier != "" {
		return j.resume(ctx, earlier)
	}
	if err := sharing(j).checkWait(); err != nil {
		return Result{}, err
	}
	if err := j.canSend(); err != nil {
		return Result{}, err
	}
	if j.service() {
		if r.Detach {
			return Result{}, usage(fmt.Errorf("--detach is for runs over nodes: %s is a service, one server answers at once", r.Agent), "leave --detach out")
		}
		return j.askService(ctx, parsed)
	}
	return j.nodes(ctx, parsed)
}

// job is a checked request on its way to the nodes.
type job struct{ *call }

func (c *call) checkpoint() checkpoint { return checkpoint{c} }
func (c *call) planner() planner       { return planner{c} }

// announce reports that the checks are done.
func (c job) announce() error {
	return c.Reporter.Report(Prepared{Agent: c.req.Agent, Action: c.action, Proves: c.proves(), Changes: c.changes(), Dangerous: proof.Of(c.req.Agent, c.req.Action) != 0})
}

// nodes finds the nodes and runs the plan over them.
func (c job) nodes(ctx context.Context, parsed filter.Filter) (Result, error) {
	if err := budgeting(c).look(ctx, true); err != nil {
		return Result{}, err
	}
	t := c.req.Targets
	method := c.fleet.MethodName(t, parsed)
	if err := c.Reporter.Report(Searching{Method: method, Piped: t.NodesFile == "-"}); err != nil {
		return Result{}, err
	}
	if c.changes() {
		c.fleet.AskOfAbsence()
	}
	found, err := c.fleet.Find(ctx, t, parsed, c.req.Agent)
	if rerr := c.Reporter.Report(Found{Method: method, Nodes: len(found.Nodes), Took: found.Took, Err: err}); err != nil || rerr != nil {
		return Result{}, errors.Join(err, rerr)
	}
	if len(found.Nodes) == 0 {
		return Result{}, &fleet.NoNodesError{Hint: t.EmptyHint()}
	}
	plan, err := c.planner().plan(ctx, found.Nodes)
	if err != nil {
		return Result{}, err
	}
	plan.Notes = append(plan.Notes, c.keepSeed(found.Seed)...)
	plan.Notes = append(plan.Notes, c.planner().absenceNotes(ctx)...)
	whole, err := noter(c).noted(ctx, guardInput{plan: plan, nodes: plan.Nodes(), found: found.Nodes, excluded: found.Excluded})
	if err != nil {
		return Result{}, err
	}
	if c.req.Save.File != "" {
		return Result{}, application(c).save(ctx, whole)
	}
	if c.req.DryRun {
		return Result{}, c.rehearse(ctx, whole)
	}
	if err := sharing(c).clear(ctx, whole); err != nil {
		return Result{}, err
	}
	if c.req.ReplyTo != "" {
		return Result{}, c.forward(ctx, found.Nodes)
	}
	return c.begin(ctx, whole.plan, "")
}

// keepSeed puts the seed that --limit drew into the recorded command, so that it means the same nodes, and notes it in the
// plan.
func (c job) keepSeed(seed int64) []string {
	if seed == 0 || c.req.Targets.LimitSeed != 0 {
		return nil
	}
	text := strconv.FormatInt(seed, 10)
	c.command = append(c.command, "--limit-seed", text)
	return []string{"--limit chose the nodes at random: --limit-seed " + text + " makes the same choice of the same nodes"}
}

// absenceNotes report that this broker does not report nodes that are not connected. A connection that cannot be had is a
// matter of the next step.
func (c planner) absenceNotes(ctx context.Context) []string {
	if !c.changes() || len(c.about.Federations) > 0 {
		return nil
	}
	client, err := c.fleet.Dial(ctx)
	if err != nil {
		return nil
	}
	if reports, err := client.ReportsAbsence(ctx, c.about.Collective); err != nil || reports {
		return nil
	}
	return []string{"this broker does not report absent nodes: timeouts decide"}
}

// begin records a new run and runs it.
func (c job) begin(ctx context.Context, plan batch.Plan, parent string) (Result, error) {
	if c.req.Detach {
		return Result{}, handing(c).over(ctx, "", plan, parent)
	}
	header, err := entry(c).header(parent, plan)
	if err != nil {
		return Result{}, err
	}
	from, err := batch.Begin(header, plan)
	if err != nil {
		return Result{}, err
	}
	if !c.recorded() {
		if c.changes() {
			if err := c.Reporter.Report(Noted{Warning, "no record is kept: this run cannot be resumed, retried or looked up"}); err != nil {
				return Result{}, err
			}
		}
		return c.drive(ctx, from, nil)
	}
	if err := mirroring(c).claim(ctx, header, plan.Nodes()); err != nil {
		return Result{}, err
	}
	file, err := c.Store.create(header.Run, c.Reporter)
	if err != nil {
		mirroring(c).unbegun(ctx)
	}
	if errors.Is(err, journal.ErrExists) && c.req.plan != nil { // another process was faster
		return Result{}, application(c).applied(header.Run)
	}
	if err != nil {
		return Result{}, err
	}
	return c.driveRecorded(ctx, from, file)
}

// driveRecorded runs and closes the record.
func (c job) driveRecorded(ctx context.Context, from batch.Progress, file *journal.Journal) (Result, error) {
	if err := mirroring(c).open(ctx, file); err != nil {
		return Result{}, errors.Join(err, file.Close())
	}
	res, err := c.drive(ctx, from, file)
	err = errors.Join(err, mirroring(c).close(ctx, from)) // where it did not come so far
	if cerr := file.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("close the record: %w", cerr))
	}
	return res, err
}
