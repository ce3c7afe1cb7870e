package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/proof"
)

const (
	// lockTTL is the longest time to live of a request under a lock: the brokers keep a lock for a minute, and a request
	// must be over before that.
	lockTTL = 30 * time.Second
	// lockPace is how often a lock that another holds is tried again, and lockLook how often a run that waits for its own
	// lock looks at it.
	lockPace = 5 * time.Second
	lockLook = time.Second
	// clockMargin is added to what a request may still do, for clocks that differ.
	clockMargin = 10 * time.Second
	// releaseTime bounds the giving back of a lock.
	releaseTime = 5 * time.Second
)

// SharedError reports that the brokers have no place for what operators share, or do not let us use it. Nothing was sent.
type SharedError struct {
	Err  error
	Hint string
}

// Error implements error.
func (e *SharedError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *SharedError) Unwrap() error { return e.Err }

// lockNames are the locks of this run, sorted: those asked for, and that of the settings for what changes something.
func (c sharing) lockNames() []string {
	names := slices.Clone(c.req.Shared.Locks)
	if c.changes() {
		names = append(names, c.Settings.Locks...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// checkWait refuses a time to wait for a lock where there is none. A run that is resumed may have one.
func (c sharing) checkWait() error {
	if c.req.Shared.Wait.Set && len(c.lockNames()) == 0 && !c.mirrored() {
		return usage(errors.New("--lock-wait without a lock"), "add --lock NAME, or --share or --max-down, whose run has a lock of its own")
	}
	return nil
}

// sharing is a call as one that shares with the runs of other operators.
type sharing struct{ *call }

// locks are what a run holds.
type locks struct {
	held   []*lease.Lock
	stop   context.CancelFunc
	keep   sync.WaitGroup
	sealed bool // a request may have been sealed under them
	over   bool // given back, or left to expire
	mirror *mirrored
}

// clear takes the run's locks, takes up its part of the budget, and passes the guards: a plan that cannot start is not
// confirmed.
func (c sharing) clear(ctx context.Context, p guardInput) error {
	if err := budgeting(c).look(ctx, false); err != nil { // a run with limits holds a lock of its own
		return err
	}
	if err := c.takeLocks(ctx, p.nodes); err != nil {
		return err
	}
	if err := budgeting(c).open(ctx, p); err != nil {
		return err
	}
	return c.checkpoint().pass(ctx, p)
}

// takeLocks takes the locks of the run, before the operator is asked. A run without any takes none.
func (c sharing) takeLocks(ctx context.Context, nodes int) error {
	names := c.allLocks()
	if len(names) == 0 || c.req.ReplyTo != "" { // the guard refuses that
		return nil
	}
	who, err := c.fleet.Who()
	if err != nil {
		return err
	}
	store, err := c.bucket(ctx, lease.Elections)
	if err != nil {
		return err
	}
	me := lease.Holder{
		Run: c.runID(), Caller: who.ID, Host: c.Host, Action: c.req.Agent + "#" + c.req.Action, Nodes: nodes, Since: c.start.UTC().Truncate(time.Second),
	}
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.locks = &locks{stop: stop}
	for _, name := range names {
		l, err := c.takeLock(ctx, store, name, me)
		if err != nil {
			c.unlock(ctx)
			return err
		}
		c.locks.held = append(c.locks.held, l)
		c.locks.keep.Go(func() { l.Keep(keep) })
		if l.Blind() {
			text := fmt.Sprintf("lock %s is renewed without a look at it: a token with election_user alone cannot read its holder", name)
			if err := c.Reporter.Report(Noted{Warning, text}); err != nil {
				c.unlock(ctx)
				return err
			}
		}
	}
	return nil
}

// takeLock takes one lock, and waits for it as long as the operator allows.
func (c sharing) takeLock(ctx context.Context, store lease.Store, name string, me lease.Holder) (*lease.Lock, error) {
	end := time.Now().Add(c.req.Shared.Wait.D)
	said := ""
	for {
		l, err := lease.Take(ctx, store, name, me, c.message().TTL)
		if err == nil {
			return l, nil
		}
		held, isHeld := errors.AsType[*lease.HeldError](err)
		if !isHeld && !errors.Is(err, lease.ErrNoBucket) || !time.Now().Before(end) {
			return nil, c.lockError(err, name)
		}
		text := err.Error()
		if isHeld {
			text = heldText(held)
		}
		if what := err.Error(); what != said {
			said = what
			if err := c.Reporter.Report(Noted{Plain, text + "; waiting for it"}); err != nil {
				return nil, err
			}
		}
		select {
		case <-time.After(min(lockPace, max(time.Until(end), time.Millisecond))):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// heldText describes who holds a lock, and how fresh that is.
func heldText(e *lease.HeldError) string {
	text := plain.Line(e.Error())
	if renewed := e.Renewed.Round(time.Second); renewed > 0 {
		text += fmt.Sprintf(", renewed %s ago", renewed)
	}
	return text
}

// lockError gives the errors of a lock the types that decide about exit codes.
func (c sharing) lockError(err error, name string) error {
	if held, ok := errors.AsType[*lease.HeldError](err); ok {
		if id, ok := strings.CutPrefix(name, runLock); ok {
			return driven(id, held)
		}
		if run := held.Holder.Run; run != "" && (run == c.id || run == c.parent) { // that no process executes any more: Reopen looked
			return &GuardError{
				Guard: lockGuard, Err: fmt.Errorf("lock %s is still that of run %s, whose process has ended", plain.Line(held.Name), plain.Line(run)),
				Hint: "it is free within 65s: wait for it with --lock-wait 2m",
			}
		}
		return &GuardError{
			Guard: lockGuard, Err: errors.New(heldText(held)),
			Hint: "wait for it with --lock-wait 10m, or see `fleetctl shared locks`; a lock whose holder has died is free within 65s",
		}
	}
	if _, ok := errors.AsType[*lease.ShortError](err); ok {
		return &SharedError{Err: fmt.Errorf("cannot take lock %s: %w", name, err), Hint: "use a shorter --ttl, or ask the broker's administrator for the default of plugin.choria.network.leader_election_ttl"}
	}
	if denied, ok := errors.AsType[*lease.DeniedError](err); ok && c.mirrored() {
		err = &lease.DeniedError{Permission: "streams_user", Err: denied.Err} // a shared record needs more than a lock does
	}
	return SharedFailure(err)
}

// SharedFailure gives the errors of a bucket the type that decides about exit codes.
func SharedFailure(err error) error {
	wrapped := fmt.Errorf("cannot use the brokers' streams: %w", err)
	if denied, ok := errors.AsType[*lease.DeniedError](err); ok {
		return &SharedError{Err: wrapped, Hint: "ask the broker's administrator for a token with " + denied.Permission}
	}
	switch {
	case errors.Is(err, lease.ErrNoStreams):
		return &SharedError{Err: wrapped, Hint: "what operators share needs brokers with plugin.choria.network.stream.store; a run without --lock, --max-down and --share needs none"}
	case errors.Is(err, lease.ErrDamaged):
		return &SharedError{Err: err, Hint: "take its nodes that are up off the budget by name: `fleetctl runs forget RUN NODES --reason WHY`"}
	case errors.Is(err, lease.ErrNoPeers):
		return &SharedError{Err: fmt.Errorf("the brokers cannot make the bucket: %w", err), Hint: "see which broker of the cluster is down, or ask for fewer copies, as with `fleetctl shared init --replicas 1`"}
	case errors.Is(err, lease.ErrNoBucket):
		return &SharedError{Err: wrapped, Hint: "brokers make their bucket within 70s of their start: wait for it with --lock-wait 2m"}
	}
	if errors.Is(err, errProvisioning) {
		return &SharedError{Err: err, Hint: "locks, limits and shared runs work in the fleet's own collectives"}
	}
	return err
}

var errProvisioning = errors.New("the provisioning account has no streams")

// bucket opens a bucket of the brokers. The provisioning account has none.
func (c sharing) bucket(ctx context.Context, name string) (lease.Store, error) {
	if c.about.Collective == fleet.ProvisioningCollective {
		return nil, &SharedError{Err: errProvisioning, Hint: "locks, limits and shared runs work in the fleet's own collectives"}
	}
	store, err := c.fleet.Bucket(ctx, name)
	if err != nil {
		return nil, SharedFailure(err)
	}
	return store, nil
}

// runID is the name of this run, chosen when it is first needed.
func (c *call) runID() string {
	if c.id == "" {
		switch c.id = newID(c.start); {
		case c.req.handed != nil:
			c.id = c.req.handed.ID
		case c.req.plan != nil:
			c.id = c.req.plan.Plan.ID
		}
	}
	return c.id
}

// may returns nil while a request may be sealed. What does not pass counts before what does.
func (k *locks) may() error {
	var passes error
	if k.mirror != nil {
		if passes = k.mirror.May(); passes != nil && !lease.Unconfirmed(passes) {
			return passes
		}
	}
	for _, l := range k.held {
		err := l.May()
		if err != nil && !lease.Unconfirmed(err) {
			return err
		}
		passes = cmp.Or(passes, err)
	}
	return passes
}

// Admit implements batch.Admitter: nothing is sent while a lock is not confirmed, and nothing any more when it is lost.
func (k *locks) Admit(ctx context.Context, _ []string, waiting func(string)) error {
	for {
		err := k.may()
		if !lease.Unconfirmed(err) {
			return err
		}
		waiting(err.Error())
		select {
		case <-time.After(lockLook):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Dismiss implements batch.Admitter.
func (k *locks) Dismiss([]string) {}

// unlock gives back what nothing was sealed under. It does nothing when the run has done so.
func (c sharing) unlock(ctx context.Context) {
	if k := c.locks; k != nil && !k.over && !k.sealed {
		_ = c.giveBack(ctx) // it expires
	}
}

// giveBack ends the renewals and frees the locks.
func (c sharing) giveBack(ctx context.Context) error {
	k := c.locks
	k.over = true
	k.stop()
	k.keep.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	var err error
	for _, l := range k.held {
		err = errors.Join(err, l.Release(ctx))
	}
	return err
}

// release gives the locks of a run that has ended back, as soon as no request of it can act any more. When the operator
// does not wait for that, they expire.
func (c sharing) release(ctx context.Context, p batch.Progress) error {
	k := c.locks
	if k == nil || k.over {
		return nil
	}
	names := strings.Join(c.allLocks(), ", ")
	if wait := time.Until(c.quiet(p)); wait > 0 {
		text := fmt.Sprintf("lock %s is given back in %s, when no request of this run can act any more", names, wait.Round(time.Second))
		if err := c.Reporter.Report(Noted{Plain, text}); err != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			k.over = true
			k.stop()
			k.keep.Wait()
			return c.Reporter.Report(Noted{Warning, fmt.Sprintf("lock %s is left to expire within 65s", names)})
		}
	}
	if err := c.giveBack(ctx); err != nil {
		return c.Reporter.Report(Noted{Warning, fmt.Sprintf("%v: it expires within 65s", err)})
	}
	return nil
}

// quiet is when the last request of a run can act no more.
func (c sharing) quiet(p batch.Progress) time.Time {
	longest := proof.LongestDelay(proof.Of(c.req.Agent, c.req.Action), c.splay())
	var last time.Time
	for r := range p.Results() {
		var until time.Time
		switch r.State {
		case batch.Accepted, batch.Unverified:
			until = r.Replied.Add(r.Delay)
		case batch.Sending, batch.NoReply, batch.Unknown:
			if !r.Sent.IsZero() {
				until = r.Sent.Add(c.message().TTL + longest + clockMargin)
			}
		}
		if until.After(last) {
			last = until
		}
	}
	return last
}

const lockGuard = "--lock"

// lockText is the guard's sentence.
func (c sharing) lockText() string {
	if len(c.lockNames()) == 0 {
		return ""
	}
	text := "holds lock " + strings.Join(c.lockNames(), ", ") + " while it runs"
	if len(c.about.Federations) > 0 {
		text += ", on the brokers of the federation"
	}
	return text
}

// lockFree is the guard's check: a dry run takes no lock, and reports one that is held, or could not be.
func (c sharing) lockFree(ctx context.Context) error {
	switch {
	case c.locks != nil:
		return nil
	case c.req.ReplyTo != "":
		return refuse("leave out --reply-to", "lock %s cannot be held: replies go elsewhere, and this process does not learn when the nodes are done", c.allLocks()[0])
	}
	store, err := c.bucket(ctx, lease.Elections)
	if err != nil {
		return err
	}
	for _, name := range c.allLocks() {
		held, err := lease.HolderOf(ctx, store, name)
		if err != nil {
			return c.lockError(err, name)
		}
		if held != nil {
			return c.lockError(held, name)
		}
	}
	return nil
}
