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

func (a *app) newPing() *cobra.Command {
	var o pingOptions
	c := &cobra.Command{
		Use:   "ping [flags]",
		Short: "Measure the round trip to every matching node",
		Example: `  fleetctl ping
  fleetctl ping -F country=mt --graph`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return a.runPing(c.Context(), o) },
	}
	f := c.Flags()
	o.addFilter(f)
	a.addFederations(f)
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

func (a *app) runPing(ctx context.Context, o pingOptions) error {
	start := time.Now()
	if o.silent && o.loud {
		return usage(errors.New("--silent and --no-silent exclude each other"), "")
	}
	return a.withNetwork(ctx, &o.targets, func(n *network, f filter.Filter) error { return a.ping(ctx, o, n, f, start) })
}

func (a *app) ping(ctx context.Context, o pingOptions, n *network, f filter.Filter, start time.Time) error {
	if _, err := discovery.Choose(discovery.Wish{Method: discovery.MethodBroadcast, Filter: f}); err != nil {
		return err // servers know neither pql: nor group:
	}
	client, err := n.dial(ctx)
	if err != nil {
		return err
	}
	pings, err := a.collectPings(ctx, client, o, discovery.WireFilter(f, ""), n, start)
	if err != nil {
		return err
	}
	if !o.names {
		if err := render.PingStatistics(a.out, pings, render.PingOptions{Silent: o.silent, Graph: o.graph, Width: a.width(a.out)}); err != nil {
			return err
		}
	}
	if len(pings.Times) == 0 {
		return noNodes(o.emptyHint())
	}
	return nil
}

func (a *app) collectPings(ctx context.Context, client *rpcclient.Client, o pingOptions, f choria.Filter, n *network, start time.Time) (render.Pings, error) {
	var pings render.Pings
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	var sent rpcclient.Sent
	tell := func(s rpcclient.Sent) {
		sent = s
		time.AfterFunc(o.timeout.or(n.cfg.DiscoveryTimeout), cancel) // a slow request signer takes nothing of it
		pings.Overhead = s.Start.Sub(start)
	}
	for r, err := range client.Ping(wait, n.collective, f, tell) {
		if err != nil {
			return pings, err
		}
		took := r.Received.Sub(sent.Start)
		pings.Times = append(pings.Times, took)
		var werr error
		switch {
		case o.names:
			_, werr = fmt.Fprintln(a.out, r.Node)
		case !o.silent:
			werr = render.Ping(a.out, r.Node, took)
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

// emptyHint says what to look at when nothing matched.
func (t *targets) emptyHint() string {
	switch {
	case len(t.exclude) > 0:
		return "--exclude takes nodes out: does it leave any?"
	case t.nodesFile != "":
		return "the list of --nodes names nobody"
	}
	if t.filtered() {
		return "no server matches the filter, or none answered in time: try it without, or with a longer --discovery-timeout"
	}
	return "no server answered: are they connected to this broker, in this collective (-T), and is this caller allowed?"
}
