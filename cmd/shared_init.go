package cmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/run"
)

// sharedInitOptions are the flags of `shared init`.
type sharedInitOptions struct {
	collective string
	replicas   nodeCount
}

func newSharedInit(a *app, do func(context.Context, *app, sharedInitOptions) error) *cobra.Command {
	var o sharedInitOptions
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the bucket FLEETCTL, in which runs share budgets and records",
		Long: `init makes the bucket FLEETCTL on the brokers' streams, once for a fleet. With protocol 2 it needs a token that may publish to
$JS.API.STREAM.CREATE.KV_FLEETCTL, as one with streams_admin. "choria kv add FLEETCTL --history 1 --replicas 3" does the same.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), a, o) },
	}
	c.Flags().StringVarP(&o.collective, "target", "T", "", "the `COLLECTIVE` (the main one)")
	c.Flags().Var(&o.replicas, "replicas", "keep `N` copies, each on another broker (one on each broker, at most 3)")
	return c
}

func initShared(ctx context.Context, a *app, o sharedInitOptions) error {
	if o.replicas.set && o.replicas.n == 0 {
		return usage(errors.New("--replicas 0 keeps nothing"), "leave it out for one copy on each broker, at most 3")
	}
	f, err := fleet.Open(ctx, a.fleetOptions(), o.collective)
	if err != nil {
		return err
	}
	defer f.Close()
	made, err := f.MakeBucket(ctx, o.replicas.n)
	if errors.Is(err, lease.ErrNoBucket) {
		return &run.SharedError{Err: errors.New("the number of brokers is not known yet"), Hint: "try again in a minute, when the brokers have made their own bucket; or name the number: --replicas 3"}
	}
	if err != nil {
		return run.BucketFailure(err)
	}
	if made {
		a.say("bucket FLEETCTL was made")
	} else {
		a.say("bucket FLEETCTL exists")
	}
	return nil
}
