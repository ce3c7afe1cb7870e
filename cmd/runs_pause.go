package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/batch"
	"fleetctl/internal/run"
)

// controlled is the part of the help about the runs that can be controlled.
const controlled = "RUN is a run's id, a beginning of it that no other run has, or `last`. It must be in progress on this machine. " + sharedText

func newRunsPause(a *app, do func(context.Context, *app, runsOptions, bool) error) *cobra.Command {
	return newOfRun(a, "pause", controlled, "Send nothing new in a run; replies, proof and stop rules continue", drivenShared, runningRun,
		func(ctx context.Context, a *app, o runsOptions) error { return do(ctx, a, o, true) })
}

func newRunsContinue(a *app, do func(context.Context, *app, runsOptions, bool) error) *cobra.Command {
	return newOfRun(a, "continue", controlled, "Let a paused run send again", drivenShared, pausedRun,
		func(ctx context.Context, a *app, o runsOptions) error { return do(ctx, a, o, false) })
}

// controlWait is how long pause and continue wait for the run to do so.
const controlWait = 10 * time.Second

// controlPoll is how often they look at its record.
const controlPoll = 100 * time.Millisecond

func pauseRun(ctx context.Context, a *app, o runsOptions, pause bool) error {
	if o.shared {
		return pauseShared(ctx, a, o, pause)
	}
	store := a.store(o.record)
	r, err := store.Named(o.name)
	if err != nil {
		return err
	}
	if err := controllable(r); err != nil {
		return err
	}
	withdraw, err := store.Control(r.ID, batch.Control{Time: time.Now(), Pause: pause, By: a.env.user()})
	if err != nil {
		return err
	}
	defer withdraw()
	ctx, cancel := context.WithTimeoutCause(ctx, controlWait, fmt.Errorf("run %s did not answer within %s", r.ID, controlWait))
	defer cancel()
	if err := awaitPause(ctx, store, r.ID, pause); err != nil {
		return err
	}
	if pause {
		a.say("run %s is paused: nothing new is sent; to continue: %s", r.ID, r.Next().Command("continue"))
	} else {
		a.say("run %s continues", r.ID)
	}
	return nil
}

// controllable refuses a run that no process on this machine drives for this user.
func controllable(r run.Stored) error {
	switch {
	case !r.Live:
		return refuse("", "run %s has ended: nothing is sent any more", r.ID)
	case r.Owner.Host != hostName():
		return refuse("", "cannot control run %s from here: process %d on %s runs it", r.ID, r.Owner.PID, r.Owner.Host)
	case !r.Ours:
		return refuse("", "cannot control run %s: it belongs to another user", r.ID)
	}
	return nil
}

// awaitPause waits until the run's record reports the wanted pause, or the end of the run.
func awaitPause(ctx context.Context, store run.Store, id string, paused bool) error {
	ticker := time.NewTicker(controlPoll)
	defer ticker.Stop()
	for {
		r, err := store.Read(id)
		if err != nil {
			return err
		}
		switch {
		case !r.Live:
			return refuse("", "run %s has ended meanwhile", id)
		case r.Progress.Summary().Paused == paused:
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
