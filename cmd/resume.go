package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"fleetctl/batch"
	"fleetctl/internal/journal"
)

// canConfirm refuses to begin what would end at the first question between batches, for want of somebody to ask.
func (j *job) canConfirm() error {
	if !j.o.confirmEach || j.o.guard.yes {
		return nil
	}
	k, err := j.app.asker()
	if err == nil {
		k.close()
	}
	if err != nil || j.o.guard.noInput {
		return refuse("leave out --confirm-each, or go on without asking: --yes", "cannot ask between batches: %v", cmp.Or(err, errNoInput))
	}
	return nil
}

// errNoInput says that nobody may be asked.
var errNoInput = errors.New("--no-input")

// confirm asks between batches.
func (j *job) confirm(ctx context.Context, p batch.Step) (bool, error) {
	if j.o.guard.yes {
		return true, nil
	}
	if j.o.guard.noInput {
		return false, nil
	}
	k, err := j.app.asker()
	if err != nil {
		return false, err
	}
	defer k.close()
	j.writer.progress.Clear()
	return k.yes(ctx, fmt.Sprintf("batch %d is done (%d nodes left); go on with batch %d of %d nodes?", p.Done, p.Left, p.Next, p.Nodes))
}

// toResume finds the interrupted run of the same command that is to be gone on with: because --resume says so, or
// because the operator does. Elsewhere a hint is all. One that another process is doing cannot be gone on with: --resume
// refuses, because it must never ask a node twice.
func (j *job) toResume(ctx context.Context) (string, error) {
	if !j.recorded() || j.o.dryRun && !j.o.record.resume {
		return "", nil
	}
	run, ok := j.unfinished()
	id := run.id
	switch {
	case !ok:
		return "", nil
	case run.live && j.o.record.resume:
		return "", busy(run)
	case run.live:
		fmt.Fprintf(j.app.err, "warning: process %d on %s is doing this very command, as run %s\n", run.owner.PID, run.owner.Host, id)
		return "", nil
	case j.o.record.resume:
		return id, nil
	}
	k, err := j.app.asker()
	if err != nil || j.o.guard.noInput || j.o.guard.yes {
		fmt.Fprintf(j.app.err, "hint: run %s of this command was interrupted; to go on with it: fleetctl runs resume %s\n", id, id)
		return "", nil
	}
	defer k.close()
	if ok, err := k.yes(ctx, fmt.Sprintf("Run %s of this command was interrupted. Go on with it?", id)); err == nil && ok {
		return id, nil
	}
	return "", nil
}

// busy refuses to take a run away from the process that is doing it.
func busy(run storedRun) error {
	return refuse("see `fleetctl runs watch "+run.id+"`, or end it with `fleetctl runs stop "+run.id+"`",
		"cannot take over run %s: process %d on %s is doing it", run.id, run.owner.PID, run.owner.Host)
}

// planToGoOn shows what going on with a run would do, and touches nothing: neither the fleet nor the record.
func (j *job) planToGoOn(from batch.Progress) error {
	plan := from.Remaining()
	return j.writer.plan(plan, plan.Estimate(j.pace()))
}

// resumeInstead goes on with an earlier run of the same command, with this one's secrets and pacing.
func (j *job) resumeInstead(ctx context.Context, id string) error {
	if j.o.dryRun {
		run, err := readRun(j.app.runsDir(j.o.record), id)
		if err != nil {
			return err
		}
		return j.write(func() error { return j.planToGoOn(run.progress) })
	}
	file, from, err := takeRun(j.app.runsDir(j.o.record), id)
	if err != nil {
		return err
	}
	return j.write(func() error { return j.goOn(ctx, from, file) })
}

// takeRun opens a run's record for this process alone, and rebuilds where it was.
func takeRun(dir, id string) (*journal.Journal, batch.Progress, error) {
	file, err := journal.Open(dir, id)
	if err != nil {
		return nil, batch.Progress{}, runError(err)
	}
	from, err := batch.Replay(file.Lines())
	if err != nil {
		return nil, from, errors.Join(fmt.Errorf("run %s: %w", id, err), file.Close())
	}
	return file, from, nil
}

// goOn resumes a run whose record is open, and closes the record.
func (j *job) goOn(ctx context.Context, from batch.Progress, file *journal.Journal) error {
	if file.Torn() > 0 {
		fmt.Fprintf(j.app.err, "warning: the last %d bytes of the record were cut short and are dropped; nothing had been sent on their account\n", file.Torn())
	}
	if from.Open() == 0 {
		fmt.Fprintf(j.app.err, "run %s is finished: there is nothing to go on with\n", file.ID())
		j.writer.run = file.ID()
		return errors.Join(j.writer.result(from.Summary()), file.Close())
	}
	if err := cmp.Or(j.canConfirm(), j.limits(from.Open())); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := j.secretsAreSafe(ctx); err != nil {
		return errors.Join(err, file.Close())
	}
	return errors.Join(j.run(ctx, from, file), file.Close())
}
