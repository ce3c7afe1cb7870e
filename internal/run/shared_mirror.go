package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/journal"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
)

const (
	// shareTimeout is how long the shared record may be silent before its run stops, when the operator names no time.
	shareTimeout = time.Minute
	// describeEvery is how often the head of the shared record follows the counts.
	describeEvery = time.Second
	shareGuard    = "--share"
	runLock       = "run_" // and an id: the lock that a run with a shared record holds
)

// mirroring is a call whose record is shared with operators elsewhere.
type mirroring struct{ *call }

// mirrored is the shared record of a run that this process drives.
type mirrored struct {
	*lease.Mirror
	at        int64 // how much of the record it was given, in bytes
	opened    bool
	stop      context.CancelFunc
	keep      sync.WaitGroup
	interrupt chan error         // that an operator elsewhere stops the run
	control   chan batch.Control // that one pauses or continues it
	described time.Time
}

// mirrored reports whether the record of this run is shared. A run whose nodes count in the ledger is: without their names,
// no other machine could settle it.
func (c sharing) mirrored() bool {
	return (c.req.Shared.Mirror || c.Settings.Share && c.changes() || c.counts()) && !c.service()
}

// counts reports whether nodes of this run count in the ledger of all runs. Limits that bind every run are known only after
// the ledger was read. The guard refuses a run with limits that has no record, or no replies.
func (c sharing) counts() bool {
	if c.req.Record.Off || c.req.ReplyTo != "" {
		return false
	}
	return c.budget != nil || c.changes() && len(budgeting(c).asked()) > 0
}

// allLocks are the locks that this run holds, sorted: the named ones, its own, and that of the run which it retries.
func (c sharing) allLocks() []string {
	names := c.lockNames()
	if c.mirrored() {
		names = append(names, runLock+c.runID())
		if c.parent != "" {
			names = append(names, runLock+c.parent)
		}
	}
	return names
}

// ready is the guard's check: there is a place for the record, and a recorded run is what its shared record says.
func (c mirroring) ready(ctx context.Context, p guardInput) error {
	if c.req.Record.Off {
		return refuse("leave out --no-journal: share in "+c.SettingsFile, "cannot share a run without a record")
	}
	store, err := sharing(c).bucket(ctx, lease.Shared)
	if err != nil {
		return err
	}
	if _, err := store.Status(ctx); err != nil {
		return BucketFailure(err)
	}
	if c.adopting != nil {
		return c.adopting.unchanged(ctx)
	}
	if p.stored == nil {
		return nil
	}
	c.end, err = c.current(ctx, store, *p.stored, p.verb())
	return err
}

// current refuses to continue a record when its shared copy knows more: another process has adopted the run. It returns
// where the shared record ends; nil when there is none.
func (c mirroring) current(ctx context.Context, store lease.Store, s Stored, verb string) (*lease.Reader, error) {
	found, err := lease.FindRun(ctx, store, s.ID)
	switch {
	case errors.Is(err, lease.ErrNoKey) && (!s.Meta.Share || c.req.Record.Trust):
		return nil, nil
	case errors.Is(err, lease.ErrNoKey):
		return nil, refuse("if no other operator has adopted the run: --trust-record", "cannot %s run %s: its shared record is gone, and another operator may have adopted it", verb, s.ID)
	case err != nil:
		return nil, BucketFailure(err)
	}
	gone := refuse("continue there, or adopt it when its driver is dead: `"+job(c).next(s.ID).Command("adopt")+"`",
		"cannot %s run %s: it was adopted by %s, and this record ends before that", verb, s.ID, plain.Line(found.Head.Who()))
	if found.Head.Bytes > s.size {
		return nil, gone
	}
	ours, err := c.Store.raw(s.ID)
	if err != nil {
		return nil, err
	}
	end, err := endOf(ctx, store, found, ours)
	if err == nil && end == nil {
		err = gone
	}
	return end, err
}

// endOf returns where the shared record of a run ends; nil when it has something else than our record, or more.
func endOf(ctx context.Context, store lease.Store, found lease.Found, ours []byte) (*lease.Reader, error) {
	end := lease.NewReader(store, found.Head.Run)
	if int64(len(ours)) < found.Head.Bytes || !end.Skip(found.Head.Segments, ours[:found.Head.Bytes], found.Head.Digest) {
		return nil, nil
	}
	for {
		at := end.Bytes()
		segment, err := end.Next(ctx)
		if errors.Is(err, lease.ErrNoKey) {
			return end, nil
		}
		if err != nil {
			return nil, BucketFailure(err)
		}
		if end.Bytes() > int64(len(ours)) || string(ours[at:end.Bytes()]) != string(segment.Data) {
			return nil, nil
		}
	}
}

// head is what operators elsewhere see of the run.
func (c mirroring) head(run, parent string, nodes int) lease.Head {
	h := lease.Head{
		Run: run, Parent: parent, Host: c.Host, User: c.User, Agent: c.req.Agent, Action: c.req.Action, Collective: c.about.Collective,
		Nodes: nodes, Status: "running", Began: c.start.UTC(),
	}
	if c.req.plan != nil {
		h.Plan = c.req.plan.Digest
	}
	if who, err := c.fleet.Who(); err == nil {
		h.Caller = who.ID
	}
	return h
}

// options are how the record is shared.
func (c mirroring) options(m *mirrored) (lease.MirrorOptions, error) {
	id, err := c.fleet.Identity()
	if err != nil {
		return lease.MirrorOptions{}, err
	}
	m.interrupt, m.control = make(chan error, 2), make(chan batch.Control, 16)
	o := lease.MirrorOptions{Timeout: c.req.Shared.Timeout.or(shareTimeout), Asked: m.asked}
	if _, signs := id.Signatory(); signs {
		o.Sign = (&signing{id: id}).sign
		return o, nil
	}
	return o, c.Reporter.Report(Noted{Warning, "the shared record is not signed: there is no key of ours to sign with, so other operators can follow this run, and cannot adopt it"})
}

// claim makes the shared record of a new run, before the record itself: one process in the world begins a run of this id. A
// saved plan is claimed also where its run is not shared.
func (c mirroring) claim(ctx context.Context, header batch.Header, nodes int) error {
	shared := sharing(c).mirrored()
	if !shared && c.req.plan == nil || !c.recorded() {
		return nil
	}
	head := c.head(header.Run, header.Parent, nodes)
	store, err := sharing(c).bucket(ctx, lease.Shared)
	m := &mirrored{}
	if err == nil {
		var o lease.MirrorOptions
		if shared {
			if o, err = c.options(m); err != nil {
				return err
			}
		} else {
			head.Status = lease.Applied
		}
		m.Mirror, err = lease.Claim(ctx, store, head, o)
	}
	if claimed, ok := errors.AsType[*lease.ClaimedError](err); ok {
		return appliedElsewhere(claimed.Head)
	}
	if err != nil && !shared {
		return c.unclaimed(err)
	}
	if err != nil {
		return BucketFailure(err)
	}
	if c.claimed = m.Mirror; shared {
		c.mirror = m
	}
	return nil
}

// unbegun takes the claim of a run back that has no record.
func (c mirroring) unbegun(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	_ = c.claimed.Abandon(ctx) // the plan is used up then
	c.mirror = nil
}

// open begins to share a record. Of a run that is resumed or adopted, what this process has added is shared before it returns.
func (c mirroring) open(ctx context.Context, file *journal.Journal) error {
	if !sharing(c).mirrored() || file == nil || c.mirror != nil && c.mirror.opened {
		return nil
	}
	fresh := c.mirror != nil
	if !fresh {
		if err := c.reopen(ctx, file.ID()); err != nil {
			return err
		}
	}
	m := c.mirror
	raw, err := file.Raw(m.at)
	if err != nil {
		return err
	}
	m.Add(raw)
	m.at += int64(len(raw))
	if !fresh {
		err := m.Open(ctx)
		if _, lost := errors.AsType[*lease.LostMirrorError](err); lost {
			return refuse("see `"+job(c).next(file.ID()).Command("show", "--shared")+"`", "cannot take over run %s: another process has done so, or still drives it", file.ID())
		}
		if err != nil {
			return BucketFailure(err)
		}
	}
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.opened, m.stop = true, stop
	m.keep.Go(func() { m.Keep(keep) })
	return nil
}

// reopen continues the shared record of a run, or makes it.
func (c mirroring) reopen(ctx context.Context, id string) error {
	store, err := sharing(c).bucket(ctx, lease.Shared)
	if err != nil {
		return err
	}
	m := &mirrored{}
	o, err := c.options(m)
	if err != nil {
		return err
	}
	head := c.head(id, c.passed.stored.Progress.Header().Parent, c.passed.stored.Progress.Counts().Total())
	head.Began, head.Plan = c.passed.stored.Progress.Header().Created, c.passed.stored.Meta.Plan
	end := c.end
	if c.adopting != nil {
		end = c.adopting.end
	}
	if end == nil {
		if m.Mirror, err = lease.Claim(ctx, store, head, o); err != nil {
			return BucketFailure(err)
		}
	} else {
		m.Mirror, m.at = lease.Continue(store, head, end, o), end.Bytes()
	}
	c.mirror = m
	return nil
}

// close shares the rest of a record.
func (c mirroring) close(ctx context.Context, p batch.Progress) error {
	m := c.mirror
	if m == nil || !m.opened || m.stop == nil {
		return nil
	}
	m.stop()
	m.stop = nil
	m.keep.Wait()
	m.Describe(func(h *lease.Head) {
		s := p.Summary()
		describe(h, p)
		if h.Status = s.Verdict.String(); !s.Ended.IsZero() {
			h.Ended = s.Ended.UTC()
		}
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*releaseTime)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		return c.Reporter.Report(Noted{Warning, fmt.Sprintf("%v: operators elsewhere do not see the end of this run", err)})
	}
	return nil
}

func describe(h *lease.Head, p batch.Progress) {
	h.States = map[string]int{}
	for _, s := range batch.States() {
		if n := p.Counts().Of(s); n > 0 {
			h.States[s.String()] = n
		}
	}
	switch h.Open, h.Status = p.Open(), "running"; {
	case p.Paused():
		h.Status = "paused"
	case p.Waits():
		h.Status = "waiting"
	}
}

// observe keeps the head of the shared record in step.
func (m *mirrored) observe(r batch.Record, p batch.Progress) {
	if m == nil {
		return
	}
	switch r.Kind {
	case batch.KindPaused, batch.KindContinued, batch.KindHours:
	default:
		if time.Since(m.described) < describeEvery {
			return
		}
	}
	m.described = time.Now()
	m.Describe(func(h *lease.Head) { describe(h, p) })
}

// copied is a record whose lines are shared as soon as they are durable.
type copied struct {
	file *journal.Journal
	to   *mirrored
}

// Append implements batch.Journal.
func (c copied) Append(lines ...[]byte) error {
	if err := c.file.Append(lines...); err != nil {
		return err
	}
	raw, err := c.file.Raw(c.to.at)
	if err != nil {
		return err
	}
	c.to.Add(raw)
	c.to.at += int64(len(raw))
	return nil
}

// hears returns where the run takes interrupts and controls of operators elsewhere; nil channels without a shared record.
func (m *mirrored) hears() (interrupt chan error, control <-chan batch.Control) {
	if m == nil {
		return make(chan error, 1), nil
	}
	return m.interrupt, m.control
}

// shareText is the guard's sentence.
func (c mirroring) shareText() string {
	if fleet.ProvisioningCollective == c.about.Collective {
		return ""
	}
	text := "shares its record: operators elsewhere can follow, pause, stop and adopt this run"
	if sharing(c).counts() {
		text += ", and settle its nodes that are down"
	}
	return text
}
