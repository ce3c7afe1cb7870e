package cmd

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/run"
)

// sharedPatience is how long completion asks the brokers for shared runs. It offers none when they take longer.
const sharedPatience = time.Second

// The shared runs that a command is for.
func anyShared(lease.Found) bool      { return true }
func drivenShared(f lease.Found) bool { return f.Head.Ended.IsZero() && run.SharedStatus(f) != "died" }
func deadShared(f lease.Found) bool   { return !drivenShared(f) && f.Head.Mirrored() }
func leftShared(f lease.Found) bool {
	return deadShared(f) && (f.Head.Ended.IsZero() || f.Head.Open > 0)
}

// completeOf completes the shared runs that fit, where those are meant, and else the runs of this machine.
func completeOf(a *app, shared *bool, fits func(lease.Found) bool, ours cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if !*shared {
			return ours(c, args, typed)
		}
		return completeShared(a, fits)(c, args, typed)
	}
}

// completeShared completes the id of a shared run that fits.
func completeShared(a *app, fits func(lease.Found) bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for _, f := range slices.Backward(sharedAtHand(a, c)) {
			if h := f.Head; fits(f) && len(out) < shownRuns {
				about := h.Agent + "#" + h.Action + ", " + plain.Count(h.Nodes, "node") + ", " + run.SharedStatus(f) + ", " + h.Who()
				out = append(out, cobra.CompletionWithDesc(plain.Line(h.Run), plain.Line(about)))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// sharedAtHand lists the shared runs, the newest last; none where the brokers do not answer in time.
func sharedAtHand(a *app, c *cobra.Command) []lease.Found {
	f := atHand(a, c)
	if f == nil {
		return nil
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(c.Context(), sharedPatience)
	defer cancel()
	store, err := run.SharedBucket(ctx, f)
	if err != nil {
		return nil
	}
	all, err := lease.FindRuns(ctx, store)
	if err != nil {
		return nil
	}
	return all
}
