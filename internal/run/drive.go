package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/journal"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/security"
	"fleetctl/internal/sender"
)

// drive hands a run to the engine, from wherever it is. The end of ctx is an event of the engine, not the end of its
// context: what is in flight is still collected. file is nil for a run that is not recorded, and stays the caller's.
func (c job) drive(ctx context.Context, from batch.Progress, file *journal.Journal) (Result, error) {
	if c.Expect != nil {
		c.Expect(from.Counts().Total())
	}
	client, err := c.fleet.Dial(ctx)
	if err != nil {
		return Result{}, err
	}
	message := c.message()
	if c.locks != nil {
		c.locks.sealed, c.locks.mirror, message.Sealed = true, c.mirror, c.locks.may
	}
	send := sender.Options{Request: message, Scrub: c.Scrub, Protocol: c.req.Protocol}
	if c.checkpoint().guarded(secretsGuard) {
		send.Allowed = append(send.Allowed, func(ctx context.Context, _ []string) error {
			return c.checkpoint().secretsArePrivate(ctx) // for the broker that we are connected to then
		})
	}
	if c.mirror != nil {
		send.Allowed = append(send.Allowed, func(ctx context.Context, _ []string) error { return c.mirror.Await(ctx) }) // the intent
	}
	verifier, err := demand(c).verifier(client)
	if err != nil {
		return Result{}, err
	}
	if watch := tokenWatch(c); verifier == nil && watch.refuses() {
		send.Allowed = append(send.Allowed, func(_ context.Context, nodes []string) error { return watch.good(client, nodes) })
	}
	actor, err := sender.Open(ctx, client, send)
	if err != nil {
		return Result{}, err
	}
	defer actor.Close()
	c.Reporter = &serial{to: c.Reporter} // the question between batches is put beside the engine
	interrupt, elsewhere := c.mirror.hears()
	defer context.AfterFunc(ctx, func() { interrupt <- context.Cause(ctx) })()
	links, since := c.fleet.Links(), time.Now()
	watch := &observer{reporter: c.Reporter, progress: from, log: c.stateLog(ctx, from), planned: c.planned, mirror: c.mirror, budget: c.budget}
	if k := c.collateral; k != nil {
		k.begin(from)
		stop, err := k.listen(ctx, c.fleet.Events())
		if err != nil {
			return Result{}, err
		}
		defer stop()
		watch.collateral = k
	}
	runner := batch.Runner{
		Actor: actor, Outcomes: actor.Outcomes(), Observer: watch, Rules: c.rules(), Pace: c.pace(), Interrupt: interrupt, Confirm: c.confirm,
		Link: links, Elapsed: c.elapsed, Lagging: c.lagging,
		Gates: gatekeeping(c).recorded(), Gatekeeper: c.keeper,
	}
	runner.Admitter = sharing(c).admitter()
	if c.adopting != nil {
		runner.Age = c.adopting.age(time.Now())
	}
	if verifier != nil {
		runner.Verifier, runner.Prober = verifier, verifier
	}
	var res Result
	if file != nil {
		runner.Journal, res.ID, res.Next = file, file.ID(), c.next(file.ID())
		if c.mirror != nil {
			runner.Journal = copied{file, c.mirror}
		}
		var keys <-chan batch.Control
		if c.Outlive != nil {
			keys = c.Outlive(res.Next)
		}
		control, stop := c.Store.controls(res.ID, c.start, keys, elsewhere)
		defer stop()
		runner.Control = control
	}
	if err := c.Reporter.Report(Began{ID: res.ID, Site: c.Settings.Site, Progress: from, Links: since}); err != nil {
		return Result{}, err
	}
	c.budget.begin(ctx)
	res.Summary, err = runner.Run(context.WithoutCancel(ctx), from)
	res.Strays, res.Publish, res.Unsigned = actor.Strays(), actor.PublishTime(), actor.Unsigned()
	res.Behind, res.Dropped = actor.Tardiness()
	if e, ok := errors.AsType[*security.RemoteError](res.Unsigned); ok {
		res.Fix = e.Hint
	}
	if res.Summary.Verdict == batch.Interrupted {
		res.Signal = context.Cause(ctx)
	}
	if c.mirror != nil && c.locks != nil {
		held := c.locks.may()
		res.Lost = held != nil && !lease.Unconfirmed(held)
	}
	left := budgeting(c).leave(ctx, from, err)
	return res, errors.Join(watch.err, c.Reporter.Report(Finished{res}), err, left, mirroring(c).close(ctx, from), sharing(c).release(ctx, from))
}

// serial lets one event pass at a time.
type serial struct {
	mu sync.Mutex // guards to
	to Reporter
}

// Report implements Reporter.
func (s *serial) Report(e Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to.Report(e)
}

// observer turns the engine's records into events.
type observer struct {
	reporter   Reporter
	progress   batch.Progress
	err        error // the first of reporting
	log        *stateLog
	collateral *collateral // may be nil
	budget     *budget     // may be nil
	planned    io.Closer   // closed after the plan is recorded; may be nil
	mirror     *mirrored   // may be nil
}

// Observe implements batch.Observer.
func (o *observer) Observe(r batch.Record) {
	if r.Kind == batch.KindPlan && o.planned != nil {
		_ = o.planned.Close() // a lock: the end of the process frees it, too
	}
	o.log.record(r)
	o.mirror.observe(r, o.progress)
	o.budget.observe(r, o.progress)
	if o.collateral != nil {
		o.collateral.observe(r, o.progress)
	}
	if err := o.reporter.Report(Recorded{Record: r, Progress: o.progress}); err != nil && o.err == nil {
		o.err = err
	}
}

// confirm asks between batches, and prints the result of the last one. Details are shown as often as they are asked for.
func (c job) confirm(ctx context.Context, s batch.Step) (bool, error) {
	if c.req.Guards.Yes {
		return true, nil
	}
	if c.req.Guards.NoInput {
		return false, nil
	}
	if err := c.Asker.Reachable(); err != nil {
		return false, err
	}
	if err := c.Reporter.Report(Asking{Step: s}); err != nil {
		return false, err
	}
	for {
		text, err := c.Asker.Line(ctx, fmt.Sprintf("Send batch %d to %s (%d left)? [y/N, d for details] ", s.Next, plain.Count(s.Nodes, "node"), s.Left))
		switch strings.ToLower(text) {
		case "y", "yes":
			return err == nil, err
		case "d", "details":
			if err := c.Reporter.Report(Asking{Step: s, Details: true}); err != nil {
				return false, err
			}
		default:
			return false, err
		}
	}
}
