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
	client, err := n.dial(ctx)
	if err != nil {
		return err
	}
	roll := rpcclient.Roll{
		Collective: n.collective, Filter: discovery.WireFilter(f, ""), Window: choria.Window{Timeout: o.timeout.or(n.cfg.DiscoveryTimeout)},
	}
	if names, exact := f.ExactIdentities(); exact {
		roll.Nodes = discovery.Sort(names)
	}
	pings, absent, err := a.collectPings(ctx, client, o, roll, start)
	if err != nil {
		return err
	}
	if !o.names {
		if err := render.PingStatistics(a.out, pings, render.PingOptions{Silent: o.silent, Graph: o.graph, Width: a.width(a.out)}); err != nil {
			return err
		}
	}
	if roll.Nodes != nil && (o.expect == 0 || len(pings.Times) < o.expect) {
		if err := missing(len(roll.Nodes), len(roll.Nodes)-len(pings.Times)-len(absent), absent); err != nil {
			return &exitError{code: exitNoReply, err: err, hint: "are the names right (case counts), and are the servers up?"}
		}
		return nil
	}
	if len(pings.Times) == 0 {
		return noNodes(o.emptyHint())
	}
	return nil
}

// collectPings prints and keeps the round trips, and names the nodes that are not connected.
func (a *app) collectPings(ctx context.Context, client *rpcclient.Client, o pingOptions, roll rpcclient.Roll, start time.Time) (pings render.Pings, absent []string, err error) {
	roll.Sent = func(s rpcclient.Sent) { pings.Overhead = s.Start.Sub(start) }
	for r, err := range client.Ping(ctx, roll) {
		if err != nil {
			return pings, absent, err
		}
		if r.Absent {
			absent = append(absent, r.Node)
			continue
		}
		took := r.Received.Sub(r.Sent)
		pings.Times = append(pings.Times, took)
		var werr error
		switch {
		case o.names:
			_, werr = fmt.Fprintln(a.out, r.Node)
		case !o.silent:
			werr = render.Ping(a.out, r.Node, took)
		}
		if werr != nil {
			return pings, absent, werr
		}
		if o.expect > 0 && len(pings.Times) >= o.expect {
			break
		}
	}
	return pings, absent, context.Cause(ctx)
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
