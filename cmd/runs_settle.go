package cmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"fleetctl/discovery"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/run"
)

func newRunsSettle(a *app, do func(context.Context, *app, runsOptions) error) *cobra.Command {
	return newOfRun(a, "settle", `settle is for a run whose process has ended and whose nodes still count as down (`+"`fleetctl shared limits`"+` shows them). It looks,
read-only, at these nodes: those that answer no longer count. It first waits until no request of the run can act any more.
The exit code is 4 while some nodes do not answer.

`+sharedText, "Take nodes of a dead run that are up again off the budget of nodes that are down", deadShared, func(run.Stored) bool { return true }, do)
}

// forgetOptions are the flags of `runs forget`.
type forgetOptions struct {
	runsOptions
	nodes  []string
	reason string
}

func newRunsForget(a *app, do func(context.Context, *app, forgetOptions) error) *cobra.Command {
	var o forgetOptions
	c := &cobra.Command{
		Use:               "forget RUN NODES...",
		ValidArgsFunction: completeOf(a, &o.shared, deadShared, completeRun(a, &o.record)),
		Short:             "Take nodes of a run off the budget of nodes that are down, because you say so",
		Long: `forget is for nodes that will not come back, or that you know to be up: they no longer count as down. NODES are names or node
sets, such as web[01-12]. The reason is kept in the budget.

` + sharedText,
		Example: "  fleetctl runs forget last db7 --reason 'its disk is broken, it is out of service'",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactArgs("RUN", "NODES")(c, args)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.name, o.nodes = args[0], args[1:]
			return do(c.Context(), a, o)
		},
	}
	o.record.addDir(c.Flags())
	o.addShared(c.Flags())
	c.Flags().StringVar(&o.reason, "reason", "", "`WHY` these nodes do not count; required")
	return c
}

// noteReporter prints what a command without a run has to say.
type noteReporter struct{ a *app }

// Report implements run.Reporter.
func (n noteReporter) Report(e run.Event) error {
	if e, ok := e.(run.Noted); ok {
		n.a.say("%s", plain.Line(e.Text))
	}
	return nil
}

// withBooks opens the fleet of a run, whose shared record is read by read.
func withBooks(ctx context.Context, a *app, o runsOptions, read func(*run.SharedRun, context.Context) (run.Stored, error), do func(run.Context, run.Stored) error) error {
	if o.shared {
		return withShared(ctx, a, o.name, func(_ *fleet.Fleet, _ lease.Store, shared *run.SharedRun) error {
			stored, err := read(shared, ctx)
			if err != nil {
				return err
			}
			return openBooks(ctx, a, o, stored, do)
		})
	}
	stored, err := a.store(o.record).Named(o.name)
	if err != nil {
		return err
	}
	if a.flags.config == "" {
		if !stored.Ours {
			return refuse("name your own configuration with --config", "cannot use the configuration that the record of run %s names: it belongs to another user", stored.ID)
		}
		a.flags.config = stored.Meta.Config
	}
	return openBooks(ctx, a, o, stored, do)
}

func openBooks(ctx context.Context, a *app, o runsOptions, stored run.Stored, do func(run.Context, run.Stored) error) error {
	a.flags.federations = stored.Meta.Federations
	f, err := fleet.Open(ctx, a.fleetOptions(), stored.Meta.Collective)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(run.Context{Fleet: f, Store: a.store(o.record), Reporter: noteReporter{a}, Host: hostName()}, stored)
}

func settleRun(ctx context.Context, a *app, o runsOptions) error {
	return withBooks(ctx, a, o, (*run.SharedRun).Dead, func(c run.Context, s run.Stored) error {
		found, err := run.Settle(ctx, c, s)
		if err != nil {
			return err
		}
		a.say("%s", plain.Line(found.Text(s.ID)))
		if len(found.Left) > 0 {
			return ended(exitNoReply)
		}
		return nil
	})
}

func forgetNodes(ctx context.Context, a *app, o forgetOptions) error {
	if o.reason == "" {
		return usage(errors.New("forget needs a --reason: other operators see it"), "")
	}
	nodes, err := discovery.UnfoldIdentities(o.nodes)
	if err != nil {
		return err
	}
	return withBooks(ctx, a, o.runsOptions, (*run.SharedRun).Known, func(c run.Context, s run.Stored) error {
		gone, err := run.Forget(ctx, c, s, nodes, o.reason)
		if err != nil {
			return err
		}
		if len(gone) == 0 {
			a.say("none of these nodes counted as down")
			return nil
		}
		text := "%s of run %s no longer count as down: %s"
		if len(gone) == 1 {
			text = "%s of run %s no longer counts as down: %s"
		}
		a.say(text, plain.Count(len(gone), "node"), s.ID, discovery.Fold(gone))
		return nil
	})
}
