package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/proof"
)

// Settled is what Settle found.
type Settled struct {
	Answered []string // and no longer count
	Left     []string // did not answer, and still count
}

// Settle looks, read-only, at the nodes of a recorded run that count as down, and takes those that answer off the budget. It
// first waits until no request of the run can act any more. s is of a record of this machine, or comes from SharedRun.Dead.
func Settle(ctx context.Context, c Context, s Stored) (Settled, error) {
	books, err := openBooks(ctx, c, s)
	if err != nil {
		return Settled{}, err
	}
	ledger, err := lease.ReadLedger(ctx, books.store, books.collective) // before the record is compared with the shared one
	if err != nil {
		return Settled{}, BucketFailure(err)
	}
	if err := books.current(ctx); err != nil {
		return Settled{}, err
	}
	if s.Live {
		return Settled{}, refuse("its process takes nodes off the budget when they are proved to be up; end it with `"+s.Next().Command("stop")+"`, or take nodes off by name: `"+s.Next().Command("forget", "NODES", "--reason", "WHY")+"`",
			"cannot settle run %s: process %d on %s is doing it", s.ID, s.Owner.PID, s.Owner.Host)
	}
	if err := books.driven(ctx); err != nil {
		return Settled{}, err
	}
	if wait := books.quiet(time.Now()); wait > 0 {
		text := fmt.Sprintf("waiting %s, until no request of run %s can act any more", wait.Round(time.Second), s.ID)
		if err := c.Reporter.Report(Noted{Plain, text}); err != nil {
			return Settled{}, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Settled{}, context.Cause(ctx)
		}
	}
	up, err := books.answer(ctx)
	if err != nil {
		return Settled{}, err
	}
	var found Settled
	found.Answered, found.Left, err = lease.Settle(ctx, books.store, books.collective, s.ID, ledger.Runs[s.ID], books.down, up, books.facts(), books.value)
	if errors.Is(err, lease.ErrTakenUp) {
		return Settled{}, refuse("a process takes nodes off the budget when they are proved to be up", "cannot settle run %s: another process has taken it up meanwhile", s.ID)
	}
	if err != nil {
		return found, BucketFailure(err)
	}
	return found, nil
}

// Forget takes nodes of a recorded run off the budget because an operator says so, and returns them. Others than those that
// the record has down are refused. A damaged shared record does not matter: the operator decides, and no other node leaves
// the budget. s is of a record of this machine, or comes from SharedRun.Known.
func Forget(ctx context.Context, c Context, s Stored, nodes []string, reason string) ([]string, error) {
	books, err := openBooks(ctx, c, s)
	if err != nil {
		return nil, err
	}
	if err := books.current(ctx); err != nil && !errors.Is(err, lease.ErrDamaged) {
		return nil, err
	}
	if other := discovery.Without(nodes, books.down); len(other) > 0 {
		return nil, usage(fmt.Errorf("run %s has no request open to %s", s.ID, discovery.Fold(other)), "see `"+s.Next().Command("show", s.where()...)+"`")
	}
	who, err := c.Fleet.Who()
	if err != nil {
		return nil, err
	}
	word := plain.Line(fmt.Sprintf("%s: %s: %s", who.ID, discovery.Fold(nodes), reason))
	live := s.Live || s.shared != nil && s.shared.Alive()
	gone, err := lease.Forget(ctx, books.store, books.collective, s.ID, live, nodes, books.facts(), books.value, word)
	if err != nil {
		return nil, BucketFailure(err)
	}
	return gone, nil
}

// books are the ledger, and a recorded run that has nodes down in it.
type books struct {
	Context
	of         Stored
	collective string
	store      lease.Store
	elections  lease.Store
	down       []string
	values     map[string]map[string]string // by fact, by node
}

func openBooks(ctx context.Context, c Context, s Stored) (*books, error) {
	b := &books{Context: c, of: s, collective: s.Meta.Collective, down: ruleOf(&s).all(s.Progress), values: s.values()}
	var err error
	for _, open := range []struct {
		name string
		to   *lease.Store
	}{{lease.Shared, &b.store}, {lease.Elections, &b.elections}} {
		if *open.to, err = c.Fleet.Bucket(ctx, open.name); err != nil {
			return nil, BucketFailure(err)
		}
	}
	return b, nil
}

// current refuses a record of this machine that lacks what another driver of the run has done since: nodes would leave the
// budget that it has down.
func (b *books) current(ctx context.Context) error {
	if b.of.shared != nil || !b.of.Meta.Share {
		return nil
	}
	found, err := lease.FindRun(ctx, b.store, b.of.ID)
	if errors.Is(err, lease.ErrNoKey) {
		return nil
	}
	if err != nil {
		return BucketFailure(err)
	}
	ours, err := b.Store.raw(b.of.ID)
	if err != nil {
		return err
	}
	end, err := endOf(ctx, b.store, found, ours)
	if err != nil || end != nil {
		return err
	}
	return refuse("use the record of that process: add --shared", "the record of run %s on this machine is outdated: the run was adopted by %s", b.of.ID, plain.Line(found.Head.Who()))
}

func (b *books) facts() []string { return slices.Collect(maps.Keys(b.values)) }

func (b *books) value(node, fact string) string { return b.values[fact][node] }

// driven refuses a run that a process elsewhere drives: it holds the run's lock. The lock of a process of this machine that
// has ended is waited for: no process renews it.
func (b *books) driven(ctx context.Context) error {
	start := time.Now()
	for told := false; ; told = true {
		held, err := lease.HolderOf(ctx, b.elections, runLock+b.of.ID)
		switch {
		case errors.Is(err, lease.ErrNoBucket), err == nil && held == nil:
			return nil
		case err != nil:
			return BucketFailure(err)
		}
		waited := time.Since(start)
		if renewed := held.Renewed < waited-time.Second; renewed || held.Holder.Host != b.Host || waited > lockLife+clockMargin {
			return refuse("its process takes nodes off the budget when they are proved to be up", "cannot settle run %s: %s", b.of.ID, heldText(held))
		}
		if !told {
			text := fmt.Sprintf("waiting at most %s, until the lock of the process that drove run %s has expired", max(lockLife-held.Renewed, time.Second).Round(time.Second), b.of.ID)
			if err := b.Reporter.Report(Noted{Plain, text}); err != nil {
				return err
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// quiet is how long a request of the run may still act, or a node that acted may need to come back.
func (b *books) quiet(now time.Time) time.Duration {
	_, _, timeout := b.of.Meta.proof().limits(b.of.Meta.Agent, b.of.Meta.Action, splayOf(b.of.Meta.Inputs))
	hold := b.of.Meta.TTL + proof.LongestDelay(proof.Of(b.of.Meta.Agent, b.of.Meta.Action), splayOf(b.of.Meta.Inputs)) + timeout + clockMargin
	if r := b.of.shared; r != nil && len(b.down) > 0 { // what it sent is older than its last sign of life, and as much as its lock outlived that
		return min(hold, max(hold+lockLife-r.Found.Age, 0))
	}
	var left time.Duration
	for _, n := range b.down {
		if t, ok := b.of.Progress.Reached(n); ok {
			left = max(left, hold-b.of.clock.Since(t.LeftBy()))
		}
	}
	return left
}

// proof is the recorded proof with its times.
func (m Meta) proof() Proof {
	p := m.Proof
	p.Timeout, p.Settle = Wait{m.Timeout, m.Timeout > 0}, Wait{m.Settle, m.SettleSet}
	return p
}

// answer are the nodes that answer.
func (b *books) answer(ctx context.Context) ([]string, error) {
	if len(b.down) == 0 {
		return nil, nil
	}
	client, err := b.Fleet.Dial(ctx)
	if err != nil {
		return nil, err
	}
	o := proof.Options{Client: client, Collective: b.collective, Action: proof.Restart, TTL: b.of.Meta.TTL}
	said, err := proof.New(o).Baseline(ctx, b.down)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("look at the nodes of run %s: %w", b.of.ID, err)
	}
	return slices.DeleteFunc(slices.Clone(b.down), func(n string) bool { s, ok := said[n]; return !ok || s.Absent || s.Silent }), nil
}

// Text is what was found, for people.
func (s Settled) Text(id string) string {
	if len(s.Answered)+len(s.Left) == 0 {
		return "no node of run " + id + " counts as down"
	}
	parts := []string{fmt.Sprintf("%s answered and no longer %s", plain.Count(len(s.Answered), "node"), counts(len(s.Answered)))}
	if len(s.Left) > 0 {
		parts = append(parts, fmt.Sprintf("%s did not answer and still %s as down: %s", plain.Count(len(s.Left), "node"), counts(len(s.Left)), discovery.Fold(s.Left)))
	}
	return strings.Join(parts, "; ")
}

var _ batch.Admitter = (*budget)(nil)
