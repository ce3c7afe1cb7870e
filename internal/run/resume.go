package run

import (
	"context"
	"errors"
	"fmt"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/journal"
)

// toResume finds the interrupted run of the same command that is to be resumed: because Record.Resume says so, or
// because the operator does. Elsewhere a hint is all. One that another process is doing cannot be resumed: Record.Resume
// refuses, because it must never ask a node twice.
func (c *call) toResume(ctx context.Context) (string, error) {
	if !c.recorded() || c.req.DryRun && !c.req.Record.Resume {
		return "", nil
	}
	run, ok := c.Store.unfinished(c.mark())
	switch {
	case !ok:
		return "", nil
	case run.Live && c.req.Record.Resume:
		return "", busy(run)
	case run.Live:
		return "", c.Reporter.Report(Noted{Warning, fmt.Sprintf("process %d on %s is doing this very command, as run %s", run.Owner.PID, run.Owner.Host, run.ID)})
	case c.req.Record.Resume:
		return run.ID, nil
	}
	if err := c.Asker.Reachable(); err != nil || c.req.Guards.NoInput || c.req.Guards.Yes {
		return "", c.Reporter.Report(Noted{Hint, fmt.Sprintf("run %s of this command was interrupted; to go on with it: fleetctl runs resume %s", run.ID, run.ID)})
	}
	if ok, err := c.Asker.Yes(ctx, fmt.Sprintf("Run %s of this command was interrupted. Go on with it?", run.ID)); err == nil && ok {
		return run.ID, nil
	}
	return "", nil
}

// busy refuses to take a run away from the process that is doing it.
func busy(run Stored) error {
	return refuse("see `fleetctl runs watch "+run.ID+"`, or end it with `fleetctl runs stop "+run.ID+"`",
		"cannot take over run %s: process %d on %s is doing it", run.ID, run.Owner.PID, run.Owner.Host)
}

// Reopen makes the request of a recorded run: what the record knows, and what was given now in its place.
func (r Request) Reopen(s Stored) (Request, error) {
	if s.Live {
		return r, busy(s)
	}
	if err := r.fromRecord(s.Meta); err != nil {
		return r, err
	}
	r.stored = true
	r.keepPace(s.Progress)
	return r, r.Validate()
}

// Resume goes on with a recorded run. r comes from Reopen; c.Fleet addresses the run's own federations.
func Resume(ctx context.Context, c Context, r Request, s Stored) (Result, error) {
	j, err := prepare(ctx, c, r)
	if err != nil {
		return Result{}, err
	}
	if err := j.announce(); err != nil {
		return Result{}, err
	}
	return j.resume(ctx, s.ID)
}

// resume goes on with the run of an id, with this call's secrets and pacing.
func (c *call) resume(ctx context.Context, id string) (Result, error) {
	if c.req.DryRun {
		run, err := c.Store.Read(id)
		if err != nil {
			return Result{}, err
		}
		if err := c.canSend(); err != nil {
			return Result{}, err
		}
		// It touches neither the fleet nor the record.
		return Result{}, c.Reporter.Report(Planned{c.proposal(run.Progress.Remaining())})
	}
	file, from, err := c.Store.take(id)
	if err != nil {
		return Result{}, err
	}
	if err := c.canSend(); err != nil {
		return Result{}, errors.Join(err, file.Close())
	}
	return c.goOn(ctx, from, file)
}

// goOn resumes a run whose record is open, and closes the record.
func (c *call) goOn(ctx context.Context, from batch.Progress, file *journal.Journal) (Result, error) {
	note := func(l Level, format string, args ...any) error {
		return c.Reporter.Report(Noted{l, fmt.Sprintf(format, args...)})
	}
	if file.Torn() > 0 {
		if err := note(Warning, "the last %d bytes of the record were cut short and are dropped; nothing had been sent on their account", file.Torn()); err != nil {
			return Result{}, errors.Join(err, file.Close())
		}
	}
	if from.Open() == 0 {
		res := Result{Summary: from.Summary(), ID: file.ID(), Secrets: c.secretsAgain()}
		err := errors.Join(note(Plain, "run %s is finished: there is nothing to go on with", file.ID()), c.Reporter.Report(Finished{res}))
		return res, errors.Join(err, file.Close())
	}
	if err := c.pass(ctx, passage{plan: from.Remaining(), nodes: from.Open(), resuming: true}); err != nil {
		return Result{}, errors.Join(err, file.Close())
	}
	return c.driveRecorded(ctx, from, file)
}

// Retry begins a new run over the nodes of an earlier one that are in the given states. r comes from Reopen.
func Retry(ctx context.Context, c Context, r Request, s Stored, which []batch.State) (Result, error) {
	j, err := prepare(ctx, c, r)
	if err != nil {
		return Result{}, err
	}
	plan, err := batch.Retry(s.Progress, which, j.policy(), nil)
	if errors.Is(err, batch.ErrNoNodes) {
		return Result{}, &fleet.NoNodesError{Hint: "the run has no nodes in these states: see `fleetctl runs show " + s.ID + "`"}
	}
	if err != nil {
		return Result{}, usage(err, "")
	}
	plan.Notes = append(plan.Notes, j.federationNotes()...)
	if err := j.announce(); err != nil {
		return Result{}, err
	}
	if err := j.canSend(); err != nil {
		return Result{}, err
	}
	if j.req.DryRun {
		return Result{}, j.Reporter.Report(Planned{j.proposal(plan)})
	}
	var found []string
	for _, b := range plan.Batches {
		found = append(found, b.Nodes...)
	}
	if err := j.pass(ctx, passage{plan: plan, nodes: plan.Nodes(), found: found}); err != nil {
		return Result{}, err
	}
	return j.begin(ctx, plan, s.ID)
}
