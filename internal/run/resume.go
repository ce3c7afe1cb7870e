package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/journal"
	"fleetctl/internal/plain"
)

// toResume finds the interrupted run of the same command that is to be resumed: because Record.Resume says so, or
// because the operator does. Elsewhere a hint is all. One that another process is doing cannot be resumed: Record.Resume
// refuses, because it must never ask a node twice.
func (c job) toResume(ctx context.Context) (string, error) {
	if !c.recorded() || c.req.DryRun && !c.req.Record.Resume {
		return "", nil
	}
	run, ok := c.Store.unfinished(entry(c).mark())
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
	return c.offer(ctx, run)
}

// offer asks whether an interrupted run of this command is to be resumed, and shows what is left of it and what differs.
// Nothing is offered where the resumed run would not do what was typed, where a rule stopped it, or where a retry of it has
// sent to its nodes.
func (c job) offer(ctx context.Context, run Stored) (string, error) {
	stopped, how := run.Progress.Summary().Stop.Kind == batch.StopRule, "interrupted"
	if stopped {
		how = "stopped by a rule"
	}
	hint := Noted{Hint, fmt.Sprintf("run %s of this command was %s; to resume it: %s", run.ID, how, c.next(run.ID).Command("resume"))}
	other, taken := c.Store.takenOver(run)
	if taken {
		hint.Text = fmt.Sprintf("run %s of this command was %s, and run %s, a retry of it, has sent to its nodes; see `%s`", run.ID, how, other.ID, other.further())
	}
	if err := c.Asker.Reachable(); err != nil || c.req.Guards.NoInput || c.req.Guards.Yes || stopped || taken || !c.sameBatches(run) {
		return "", c.Reporter.Report(hint)
	}
	left := remaining(run)
	text := fmt.Sprintf("Run %s of this command was interrupted: %s left to be sent to, %d open in all.", run.ID, plain.Count(left.plan.Nodes(), "node"), run.Progress.Open())
	lines := append([]string{text}, differences(c.req, run.Progress)...)
	if err := c.Reporter.Report(Noted{Plain, strings.Join(lines, "\n  ")}); err != nil {
		return "", err
	}
	ok, err := c.Asker.Yes(ctx, "Resume it?")
	if err != nil {
		return "", err
	}
	if !ok {
		return "", nil
	}
	return run.ID, nil
}

// sameBatches reports whether the nodes would be batched in the way that the run's were.
func (c job) sameBatches(run Stored) bool {
	now, then := c.policy(), run.Progress.Plan().Policy
	now.TakesToken, then.TakesToken = false, false
	return reflect.DeepEqual(now, then)
}

// differences lists what was typed now and differs from the record, one line each. What was not typed is kept.
func differences(r Request, p batch.Progress) []string {
	var out []string
	add := func(typed bool, flag string, now, then any) {
		if n, t := fmt.Sprint(now), cmp.Or(fmt.Sprint(then), "none"); typed && n != t {
			out = append(out, fmt.Sprintf("%s is now %s, and was %s", flag, n, t))
		}
	}
	pace, rules := p.Pace(), p.Rules()
	add(r.Pace.Sleep.Set, "--batch-sleep", r.Pace.Sleep.D, pace.Sleep)
	add(r.Pace.ReplyTimeout.Set, "--reply-timeout", r.Pace.ReplyTimeout.D, pace.ReplyTimeout)
	add(r.Pace.Deadline.Set, "--deadline", r.Pace.Deadline.D, pace.Deadline)
	add(r.Pace.NotSince.Set, "--not-since", r.Pace.NotSince.D, rules.NotSince)
	add(r.Pace.Hours.Set, "--within", r.Pace.Hours.Within, pace.Within)
	add(r.Pace.ConfirmEach.Set, "--confirm-each", r.Pace.ConfirmEach.On, pace.ConfirmEach)
	add(!r.Rules.MaxFailed.IsZero(), "--max-failed", r.Rules.MaxFailed, rules.MaxFailed)
	add(!r.Rules.MaxNoReply.IsZero(), "--max-no-reply", r.Rules.MaxNoReply, rules.MaxNoReply)
	add(!r.Rules.MaxAbsent.IsZero(), "--max-absent", r.Rules.MaxAbsent, rules.MaxAbsent)
	add(!r.Rules.MaxFailedBatch.IsZero(), "--max-failed-batch", r.Rules.MaxFailedBatch, rules.MaxFailedBatch)
	add(!r.Rules.MaxNoReplyBatch.IsZero(), "--max-no-reply-batch", r.Rules.MaxNoReplyBatch, rules.MaxNoReplyBatch)
	add(r.Rules.FailFast, "--fail-fast", r.Rules.FailFast, rules.FailFast)
	if g := p.Gates(); r.Gates.any() {
		add(true, "--gate", strings.Join(r.Gates.Commands, ", "), strings.Join(g.Commands, ", "))
		add(true, "--gate-promql", strings.Join(r.Gates.Queries, ", "), strings.Join(g.Queries, ", "))
	}
	return out
}

// busy refuses to take a run away from the process that is doing it.
func busy(run Stored) error {
	return refuse("see `"+run.Next().Command("watch")+"`, or end it with `"+run.Next().Command("stop")+"`",
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

// Resume resumes a recorded run. r comes from Reopen; c.Fleet addresses the run's own federations.
func Resume(ctx context.Context, c Context, r Request, s Stored) (Result, error) {
	checked, err := prepare(ctx, c, r)
	if err != nil {
		return Result{}, err
	}
	j := job{checked}
	defer sharing(j).unlock(ctx)
	if err := j.announce(); err != nil {
		return Result{}, err
	}
	return j.resume(ctx, s.ID)
}

// resume resumes the run of an id, with this call's secrets. The recorded pace and rules are kept where nothing else was
// typed. The record is read only until every guard has passed; then it is taken.
func (c job) resume(ctx context.Context, id string) (Result, error) {
	run, err := c.Store.Read(id)
	if err != nil {
		return Result{}, err
	}
	return c.resumeStored(ctx, run)
}

// resumeStored resumes a run that was read, from its record or from its shared copy.
func (c job) resumeStored(ctx context.Context, run Stored) (Result, error) {
	id := run.ID
	c.id, c.parent = id, run.Progress.Header().Parent
	c.req.Shared.keep(run.Meta)
	if err := sharing(c).checkWait(); err != nil {
		return Result{}, err
	}
	switch {
	case run.Live:
		return Result{}, busy(run)
	case !run.Ours:
		return Result{}, recordError(fmt.Errorf("cannot resume run %s: %w", id, journal.ErrForeign))
	}
	if err := c.keep(run.Progress); err != nil {
		return Result{}, err
	}
	if err := c.canSend(); err != nil {
		return Result{}, err
	}
	if err := budgeting(c).look(ctx, true); err != nil {
		return Result{}, err
	}
	c.lagging = run.Copied != "" && (!c.req.Record.Trust || c.adopting != nil)
	left, err := noter(c).noted(ctx, remaining(run))
	if err != nil {
		return Result{}, err
	}
	if c.req.DryRun {
		return Result{}, c.rehearse(ctx, left) // it sends nothing and touches no record
	}
	if run.Progress.Open() == 0 {
		res := Result{Summary: run.Progress.Summary(), ID: id, Next: c.next(id)}
		note := Noted{Plain, fmt.Sprintf("run %s is finished: nothing is left to resume", id)}
		return res, errors.Join(c.Reporter.Report(note), c.Reporter.Report(Finished{res}))
	}
	if c.lacking != nil && left.nodes > 0 {
		return Result{}, c.lacking
	}
	if err := sharing(c).clear(ctx, left); err != nil {
		return Result{}, err
	}
	if c.req.Detach {
		return Result{}, handing(c).over(ctx, id, batch.Plan{}, "")
	}
	file, from, err := adoption(c).record(ctx, left)
	if err != nil {
		return Result{}, err
	}
	return c.continueRun(ctx, run, from, file)
}

// record opens the record of the run to resume for this process alone, unless a linked run has sent to its nodes meanwhile.
func (c adoption) record(ctx context.Context, left guardInput) (*journal.Journal, batch.Progress, error) {
	unlock, err := c.checkpoint().lockLinks(ctx, left)
	if err != nil {
		return nil, batch.Progress{}, err
	}
	defer unlock.Close()
	if c.adopting != nil {
		return c.take(*left.stored)
	}
	return c.Store.take(left.stored.ID)
}

// keep fills in the recorded pace, rules and gates, and refuses what the run's mode has no use for.
func (c job) keep(p batch.Progress) error {
	c.req.keepPace(p)
	if p.Plan().Rolls() {
		if err := c.req.rolls(); err != nil {
			return err
		}
	}
	if err := c.req.Gates.validate(c.req); err != nil {
		return err
	}
	return gatekeeping(c).open()
}

// remaining is what a resume may send to: the nodes never sent to, and those that a probe may prove untouched. Those that
// were found are all nodes of the run.
func remaining(run Stored) guardInput {
	plan, counts := run.Progress.Remaining(), run.Progress.Counts()
	return guardInput{
		plan: plan, nodes: plan.Nodes() + counts.Of(batch.Unknown) + counts.Of(batch.Sending),
		found: run.Progress.Plan().Names(), open: openNodes(run.Progress), stored: &run,
	}
}

// continueRun continues a run after the guards have passed and its record was taken over. It closes the record.
func (c job) continueRun(ctx context.Context, judged Stored, from batch.Progress, file *journal.Journal) (Result, error) {
	if file.Found() != judged.size {
		return Result{}, errors.Join(resumedMeanwhile("resume", judged.Next()), file.Close())
	}
	if file.Torn() > 0 {
		text := fmt.Sprintf("the last %d bytes of the record were cut short and are dropped; nothing had been sent on their account", file.Torn())
		if err := c.Reporter.Report(Noted{Warning, text}); err != nil {
			return Result{}, errors.Join(err, file.Close())
		}
	}
	c.clocks = append(c.clocks, file.Clock())
	if err := mirroring(c).open(ctx, file); err != nil {
		if c.adopting != nil {
			return Result{}, errors.Join(err, file.Discard()) // it was not adopted
		}
		return Result{}, errors.Join(err, file.Close())
	}
	if c.adopting != nil {
		if err := adoption(c).outlast(ctx, judged); err != nil {
			return Result{}, errors.Join(err, mirroring(c).close(ctx, from), file.Close())
		}
	} else if c.lagging {
		if err := c.outwait(ctx, judged.Copied); err != nil {
			return Result{}, errors.Join(err, mirroring(c).close(ctx, from), file.Close())
		}
	}
	return c.driveRecorded(ctx, from, file)
}

// copyMargin is added to the wait for what a copied record may lack: for clocks that differ.
const copyMargin = 5 * time.Second

// outwait waits until no request that the record may lack can act any more.
func (c job) outwait(ctx context.Context, why string) error {
	longest, _, _ := demand(c).limits()
	wait := c.message().TTL + longest + copyMargin
	text := fmt.Sprintf("the record may be an outdated copy (%s): waiting %s until a request that is missing in it can no longer act; --trust-record skips the wait", why, wait)
	if err := c.Reporter.Report(Noted{Warning, text}); err != nil {
		return err
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Retry begins a new run over the nodes of an earlier one that are in the given states. r comes from Reopen.
func Retry(ctx context.Context, c Context, r Request, s Stored, which []batch.State) (Result, error) {
	r.keepSplit(s)
	checked, err := prepare(ctx, c, r)
	if err != nil {
		return Result{}, err
	}
	checked.req.approved = 0 // approvals were of the plan that the earlier run applied
	j := job{checked}
	defer sharing(j).unlock(ctx)
	if j.lacking != nil {
		return Result{}, j.lacking
	}
	if j.clocks = append(j.clocks, s.clock); s.Copied != "" && !r.Record.Trust {
		s.Progress.MarkLagging()
	}
	if err := budgeting(j).look(ctx, true); err != nil {
		return Result{}, err
	}
	describe, err := j.planner().factsAgain(ctx, s, which)
	if err != nil {
		return Result{}, err
	}
	plan, err := batch.Retry(s.Progress, which, budgeting(j).caps(j.policy(), inStates(s.Progress, which)), describe)
	if errors.Is(err, batch.ErrNoNodes) {
		return Result{}, &fleet.NoNodesError{Hint: "the run has no nodes in these states: see `" + s.Next().Command("show") + "`"}
	}
	if err != nil {
		return Result{}, usage(err, "")
	}
	plan.Notes = append(plan.Notes, j.federationNotes()...)
	if plan.Rolls() && !s.Progress.Plan().Rolls() {
		plan.Notes = append(plan.Notes, "a window has no batches: --confirm-each and rules for one batch are not taken over from run "+s.ID)
	}
	if err := j.announce(); err != nil {
		return Result{}, err
	}
	if err := j.canSend(); err != nil {
		return Result{}, err
	}
	again, err := noter(j).noted(ctx, guardInput{plan: plan, nodes: plan.Nodes(), found: plan.Names(), stored: &s, retry: true})
	if err != nil {
		return Result{}, err
	}
	j.parent = s.ID
	if j.req.DryRun {
		return Result{}, j.rehearse(ctx, again)
	}
	if err := sharing(j).clear(ctx, again); err != nil {
		return Result{}, err
	}
	j.parentSize = s.size
	if j.req.Detach { // the process that drives it locks and looks
		return j.begin(ctx, again.plan, s.ID)
	}
	unlock, err := j.checkpoint().lockLinks(ctx, again)
	if err != nil {
		return Result{}, err
	}
	defer unlock.Close()
	j.planned = unlock // from then on, other processes see which nodes this run may send to
	if err := handing(j).unchanged(s.ID, s.size); err != nil {
		return Result{}, err
	}
	return j.begin(ctx, again.plan, s.ID)
}

// inStates is how many nodes are in some states.
func inStates(p batch.Progress, which []batch.State) (n int) {
	for _, s := range which {
		n += p.Counts().Of(s)
	}
	return n
}

// resumedMeanwhile refuses a record that has grown since it was judged: its nodes may have been sent to.
func resumedMeanwhile(what string, n Next) error {
	return refuse("look at it with `"+n.Command("show")+"`, and type the command again", "cannot %s run %s: another process has resumed it meanwhile", what, n.Run)
}
