package cmd

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/batch"
	"fleetctl/internal/journal"
	"fleetctl/internal/render"
	"fleetctl/internal/report"
	"fleetctl/internal/run"
)

// watchPace is how often a watcher looks at the record.
const watchPace = 500 * time.Millisecond

func newRunsWatch(a *app, do func(context.Context, *app, runsOptions) error) *cobra.Command {
	var o runsOptions
	c := &cobra.Command{
		Use:               "watch [RUN]",
		ValidArgsFunction: completeOf(a, &o.shared, drivenShared, completeRunThat(a, &o.record, liveRun)),
		Short:             "Follow a run of another process until it ends",
		Args:              cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.name = "last"
			if len(args) > 0 {
				o.name = args[0]
			}
			return do(c.Context(), a, o)
		},
	}
	o.record.addDir(c.Flags())
	o.addShared(c.Flags())
	return c
}

func watchRun(ctx context.Context, a *app, o runsOptions) error {
	if o.shared {
		return watchShared(ctx, a, o)
	}
	store := a.store(o.record)
	id, err := store.Find(o.name)
	if err != nil {
		return err
	}
	r, err := follow(ctx, a, store, id)
	if err != nil {
		return err
	}
	s := r.Progress.Summary()
	if err := endWatch(a, r, s); err != nil {
		return err
	}
	return ended(storedCode(s))
}

func endWatch(a *app, r run.Stored, s batch.Summary) error {
	_, err := fmt.Fprintln(a.io.out, render.Verdict(s))
	switch {
	case s.Open > 0 && r.Meta.Share:
		a.say("hint: %s", report.ToResumeShared(r.Next()))
	case s.Open > 0:
		a.say("hint: to resume: %s", r.Next().Command("resume"))
	}
	return err
}

// follow shows a run of another process until that ends, from its record alone.
func follow(ctx context.Context, a *app, store run.Store, id string) (run.Stored, error) {
	stream := a.stream(a.io.err)
	stream.Live = a.terminal()
	live := report.NewLive(stream)
	defer live.End()
	following, begun := store.Follow(id), false
	ticker := time.NewTicker(watchPace)
	defer ticker.Stop()
	for {
		r, err := following.Next(func(p batch.Progress, record batch.Record) {
			if !begun {
				live.BeginStored(p, id, record)
				begun = true
			}
			live.Observe(record)
		})
		if err != nil && (!r.Live || !errors.Is(err, batch.ErrNoPlan)) {
			return run.Stored{}, err // without a plan the run has not begun; when its process is gone, it never will
		}
		if err == nil && !r.Live {
			return r, nil
		}
		live.Seen()
		select {
		case <-ctx.Done():
			return run.Stored{}, unended(ctx, id)
		case <-ticker.C:
		}
	}
}

// unended is the error of a command that only looks, at the end of its context: the run does not end with it.
func unended(ctx context.Context, id string) error {
	return fmt.Errorf("no longer waiting for run %s, which has not ended: %w", id, context.Cause(ctx))
}

func newRunsStop(a *app, do func(context.Context, *app, runsOptions) error) *cobra.Command {
	return newOfRun(a, "stop", sharedText, "Ask the process of a run to end it, as a first Ctrl-C does", drivenShared, liveRun, do)
}

// stopWait is how long stop waits for the run to end by itself.
const stopWait = 10 * time.Minute

var errStopWait = fmt.Errorf("%s have passed", stopWait)

func stopRun(ctx context.Context, a *app, o runsOptions) error {
	if o.shared {
		return stopShared(ctx, a, o)
	}
	store := a.store(o.record)
	r, err := store.Named(o.name)
	if err != nil && !errors.Is(err, batch.ErrNoPlan) {
		return err
	}
	if !r.Live {
		a.say("run %s has ended already", r.ID)
		return nil
	}
	switch err := r.Owner.Signal(syscall.SIGINT); {
	case errors.Is(err, journal.ErrElsewhere):
		return refuse("", "cannot stop run %s from here: process %d on %s runs it", r.ID, r.Owner.PID, r.Owner.Host)
	case errors.Is(err, journal.ErrForeign), errors.Is(err, journal.ErrGone):
		return refuse("", "cannot stop run %s: %w", r.ID, err)
	case err != nil:
		return fmt.Errorf("ask process %d to end run %s: %w", r.Owner.PID, r.ID, err)
	}
	a.say("asked process %d to end run %s; replies to requests already sent are still collected", r.Owner.PID, r.ID)
	ctx, cancel := context.WithTimeoutCause(ctx, stopWait, errStopWait)
	defer cancel()
	if r, err = follow(ctx, a, store, r.ID); err != nil {
		return err
	}
	return endWatch(a, r, r.Progress.Summary())
}
