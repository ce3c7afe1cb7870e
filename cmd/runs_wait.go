package cmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/run"
)

func newRunsWait(a *app, do func(context.Context, *app, runsOptions) error) *cobra.Command {
	c := newOfRun(a, "wait", `wait blocks until no process drives the run any more. It prints the verdict, and ends with the run's exit code. Ctrl-C ends
the wait, not the run. RUN is a run's id, a beginning of it that no other run has, or `+"`last`.", "Wait until a run has ended; the exit code is the run's", drivenShared, liveRun, do)
	c.Example = "  id=$(fleetctl req choria_provision restart token=@token.txt -F role=web --batch 10 --detach) && fleetctl runs wait $id"
	return c
}

// waitPace is how often wait looks whether a process drives the run.
const waitPace = 250 * time.Millisecond

func waitRun(ctx context.Context, a *app, o runsOptions) error {
	if o.shared {
		return watchShared(ctx, a, o)
	}
	store := a.store(o.record)
	id, err := store.Find(o.name)
	if err != nil {
		return err
	}
	if err := awaitOver(ctx, store, id); err != nil {
		return err
	}
	r, err := store.Read(id)
	if err != nil {
		return err
	}
	s := r.Progress.Summary()
	if err := endWatch(a, r, s); err != nil {
		return err
	}
	return ended(storedCode(s))
}

// awaitOver waits until no process drives a run.
func awaitOver(ctx context.Context, store run.Store, id string) error {
	ticker := time.NewTicker(waitPace)
	defer ticker.Stop()
	for {
		if live, err := store.Live(id); err != nil || !live {
			return err
		}
		select {
		case <-ctx.Done():
			return unended(ctx, id)
		case <-ticker.C:
		}
	}
}
