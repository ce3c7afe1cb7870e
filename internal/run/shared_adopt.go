package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/journal"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/proof"
)

// An adoption continues a run of which another machine has the record, from its shared copy. The copy may lack what the dead
// driver did last, so it is a resume of an outdated copy: nodes that may have been sent to are probed, and nodes that were
// not are looked at before they are sent to.

// Adopt takes over the run of a dead driver. r comes from Reopen, s from SharedRun.Dead.
func Adopt(ctx context.Context, c Context, r Request, s Stored) (Result, error) {
	r.Shared.Mirror = true
	checked, err := prepare(ctx, c, r)
	if err != nil {
		return Result{}, err
	}
	j := job{checked}
	defer sharing(j).unlock(ctx)
	if err := j.announce(); err != nil {
		return Result{}, err
	}
	return adoption(j).adopt(ctx, s)
}

// adoption is a call as the adoption of a run.
type adoption struct{ *call }

func (c adoption) adopt(ctx context.Context, s Stored) (Result, error) {
	id, err := c.fleet.Identity()
	if err != nil {
		return Result{}, err
	}
	owner, err := s.shared.signed(id)
	if err != nil {
		return Result{}, refuse("such a record may have been made by any caller with streams_user; resume the run on the machine of its driver", "cannot adopt run %s: its shared record cannot be trusted: %w", s.ID, err)
	}
	if _, err := c.Store.machine().Held(c.Store.Dir, s.ID); err == nil {
		return Result{}, refuse("resume it: `"+job(c).next(s.ID).Command("resume")+"`; if another operator adopted it since, name another --state-dir", "cannot adopt run %s: this machine has a record of it", s.ID)
	} else if !errors.Is(err, journal.ErrNotFound) {
		return Result{}, err
	}
	text := fmt.Sprintf("run %s of %s, signed by %s, was driven by %s, last heard of %s ago", s.ID, plain.Line(s.Meta.User+"@"+s.Meta.Host), plain.Line(owner),
		plain.Line(s.shared.Found.Head.Who()), s.shared.Found.Age.Round(time.Second))
	if err := c.Reporter.Report(Noted{Plain, text}); err != nil {
		return Result{}, err
	}
	c.adopting = s.shared
	return job(c).resumeStored(ctx, s)
}

// handed adopts a run that another process has passed the guards for.
func (c adoption) handed(ctx context.Context, id string) (Result, error) {
	store, err := sharing(c).bucket(ctx, lease.Shared)
	if err != nil {
		return Result{}, err
	}
	shared, err := OpenShared(ctx, store, id)
	if err != nil {
		return Result{}, err
	}
	s, err := shared.Dead(ctx)
	if err != nil {
		return Result{}, err
	}
	return c.adopt(ctx, s)
}

// unchanged refuses an adoption when the run has grown since it was read.
func (r *SharedRun) unchanged(ctx context.Context) error {
	if err := r.look(ctx); err != nil { // its lock may have been waited for
		return err
	}
	end := *r.end
	_, err := end.Next(ctx)
	switch {
	case errors.Is(err, lease.ErrNoKey):
		return nil
	case err != nil:
		return BucketFailure(err)
	}
	return refuse("type the command again", "cannot adopt run %s: its shared record has grown since it was read", r.id)
}

// take makes the record of an adopted run on this machine.
func (c adoption) take(s Stored) (*journal.Journal, batch.Progress, error) {
	meta, err := json.Marshal(entry(c).adopted(s.Meta))
	if err != nil {
		return nil, batch.Progress{}, err
	}
	from := s.shared.Found.Head.Who()
	line, err := batch.AdoptedLine(time.Now().UTC(), mirroring(c).head(s.ID, "", 0).Who(), batch.Adoption{From: from, Size: s.size, Meta: meta})
	if err != nil {
		return nil, batch.Progress{}, err
	}
	file, err := c.Store.machine().Import(c.Store.Dir, s.ID, s.shared.data, line, s.Copied)
	if err != nil {
		return nil, batch.Progress{}, recordError(err)
	}
	progress, err := batch.Replay(file.Lines())
	if err != nil {
		return nil, progress, errors.Join(fmt.Errorf("run %s: %w", s.ID, err), file.Discard())
	}
	return file, progress, nil
}

// adopted describes a run as its new driver does: whose it is, and with which configuration, locks and limits it is resumed.
func (c entry) adopted(was Meta) Meta {
	now := c.meta()
	was.Caller, was.User, was.Host, was.Version = now.Caller, now.User, now.Host, now.Version
	was.Config, was.Site, was.Locks, was.Share = now.Config, now.Site, now.Locks, true
	was.MaxDown, was.BudgetWait, was.ShareTimeout = now.MaxDown, now.BudgetWait, now.ShareTimeout
	return was
}

// outlast waits until nothing that the dead driver sent can act any more. Its lock has expired: then its requests are too
// old for servers, and only their delays are left. Or it was given back or evicted, or may be lost with its bucket: then the
// driver may have sent something just before.
func (c adoption) outlast(ctx context.Context, s Stored) error {
	longest, _, _ := demand(c).limits()
	longest = max(longest, proof.LongestDelay(proof.Of(c.req.Agent, c.req.Action), c.splay()))
	wait := longest
	if c.locks.marked() || s.shared.Found.Age < lockLife {
		wait += 2*lease.Skew + max(c.message().TTL, s.Meta.TTL)
	}
	text := fmt.Sprintf("waiting %s until no request of the driver before can act any more", wait)
	if err := c.Reporter.Report(Noted{Plain, text}); err != nil {
		return err
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// lockLife is how long a lock lives after its last renewal.
const lockLife = time.Minute

// marked reports that the run's own lock was taken in place of one that was given back or evicted.
func (k *locks) marked() bool {
	for _, l := range k.held {
		if l.Marked() {
			return true
		}
	}
	return false
}

// linkedElsewhere returns the runs with shared records that are linked to a run.
func (c mirroring) linkedElsewhere(ctx context.Context, of Stored) (linkedRuns, error) {
	store, err := sharing(c).bucket(ctx, lease.Shared)
	if err != nil {
		return linkedRuns{}, err
	}
	found, err := lease.FindRuns(ctx, store)
	if err != nil {
		return linkedRuns{}, BucketFailure(err)
	}
	l := linkedRuns{parents: map[string]string{of.ID: of.Progress.Summary().Parent}, shared: true}
	byID := map[string]lease.Found{}
	var all []string
	for _, f := range found {
		if f.Head.Mirrored() {
			all = append(all, f.Head.Run)
			byID[f.Head.Run], l.parents[f.Head.Run] = f, f.Head.Parent
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	l.ids = linkTo(of.ID, all, l.parents)
	l.read = func(id string) (Stored, error) {
		other := &SharedRun{Found: byID[id], store: store, id: id, end: lease.NewReader(store, id)}
		if err := other.grow(ctx); err != nil {
			return Stored{}, err
		}
		s, err := other.stored(c.Store.machine())
		s.Live = other.Alive()
		return s, err
	}
	return l, nil
}
