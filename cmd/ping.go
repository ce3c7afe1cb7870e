package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/discovery"
	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/render"
	"fleetctl/rpcclient"
)

// pingOptions are the flags of `fleetctl ping`.
type pingOptions struct {
	targets
	silent, names, graph bool
	loud                 bool // upstream's opposite of silent, and the default
	expect               int
	timeout              seconds
	workers              int
}

func newPing(a *app, do func(context.Context, *app, pingOptions) error) *cobra.Command {
	var o pingOptions
	c := &cobra.Command{
		Use:   "ping [flags]",
		Short: "Measure the round trip to every matching node",
		Example: `  fleetctl ping
  fleetctl ping -F country=mt --graph`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), a, o) },
	}
	f := c.Flags()
	o.addFilter(f)
	addFederations(a, f)
	f.BoolVar(&o.silent, "silent", false, "only the statistics")
	f.BoolVar(&o.names, "names", false, "only the names")
	f.BoolVar(&o.graph, "graph", false, "a histogram of the times")
	f.IntVar(&o.expect, "expect", 0, "stop when `N` nodes have answered")
	f.Var(&o.timeout, "timeout", "wait this long for replies (discovery_timeout of the configuration, 2s)")
	f.IntVar(&o.workers, "workers", 3, "understood and not needed")
	_ = f.MarkHidden("workers")
	f.BoolVar(&o.loud, "no-silent", false, "understood and not needed")
	_ = f.MarkHidden("no-silent")
	return c
}

func runPing(ctx context.Context, a *app, o pingOptions) error {
	start := time.Now()
	if o.silent && o.loud {
		return usage(errors.New("--silent and --no-silent exclude each other"), "")
	}
	return withFleet(ctx, a, &o.targets, func(n *fleet.Fleet, f filter.Filter) error { return ping(ctx, a, o, n, f, start) })
}

func ping(ctx context.Context, a *app, o pingOptions, n *fleet.Fleet, f filter.Filter, start time.Time) error {
	if _, err := discovery.Choose(discovery.Wish{Method: discovery.MethodBroadcast, Filter: f}); err != nil {
		return err // servers know neither pql: nor group:
	}
	client, err := n.Dial(ctx)
	if err != nil {
		return err
	}
	pings, err := collectPings(ctx, a, client, o, discovery.WireFilter(f, ""), n, start)
	if err != nil {
		return err
	}
	if !o.names {
		if err := render.PingStatistics(a.io.out, pings, render.PingOptions{Silent: o.silent, Graph: o.graph, Width: widthOf(a.io.out)}); err != nil {
			return err
		}
	}
	if len(pings.Times) == 0 {
		return noNodes(o.EmptyHint())
	}
	return nil
}

func collectPings(ctx context.Context, a *app, client *rpcclient.Client, o pingOptions, f choria.Filter, n *fleet.Fleet, start time.Time) (render.Pings, error) {
	var pings render.Pings
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	var sent rpcclient.Sent
	tell := func(s rpcclient.Sent) {
		sent = s
		time.AfterFunc(o.timeout.or(n.Config.DiscoveryTimeout), cancel) // a slow request signer takes nothing of it
		pings.Overhead = s.Start.Sub(start)
	}
	for r, err := range client.Ping(wait, n.Collective, f, tell) {
		if err != nil {
			return pings, err
		}
		took := r.Received.Sub(sent.Start)
		pings.Times = append(pings.Times, took)
		var werr error
		switch {
		case o.names:
			_, werr = fmt.Fprintln(a.io.out, r.Node)
		case !o.silent:
			werr = render.Ping(a.io.out, r.Node, took)
		}
		if werr != nil {
			return pings, werr
		}
		if o.expect > 0 && len(pings.Times) >= o.expect {
			break
		}
	}
	return pings, context.Cause(ctx)
}
