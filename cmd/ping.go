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
	"fleetctl/internal/plain"
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
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("expect") && o.expect < 1 { // a gate that computed 0 must not pass
				return usage(fmt.Errorf("--expect %d is always met", o.expect), "leave it out to expect nothing")
			}
			return do(c.Context(), a, o)
		},
	}
	f := c.Flags()
	o.addFilter(f)
	addFederations(a, f)
	f.BoolVar(&o.silent, "silent", false, "only the statistics")
	f.BoolVar(&o.names, "names", false, "only the names")
	f.BoolVar(&o.graph, "graph", false, "a histogram of the times")
	f.IntVar(&o.expect, "expect", 0, "stop when `N` nodes have answered")
	f.Var(&o.timeout, "timeout", "wait this long for replies (discovery_timeout of the configuration, 2s)")
	f.IntVar(&o.workers, "workers", 3, "accepted for compatibility with choria; has no effect")
	_ = f.MarkHidden("workers")
	f.BoolVar(&o.loud, "no-silent", false, "accepted for compatibility with choria; has no effect")
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
	if _, err := discovery.Choose(discovery.Request{Method: discovery.MethodBroadcast, Filter: f}); err != nil {
		return err // servers know neither pql: nor group:
	}
	if err := n.MayAsk(o.Targets); err != nil {
		return err
	}
	client, err := n.Dial(ctx)
	if err != nil {
		return err
	}
	request := rpcclient.PingRequest{
		Collective: n.Collective, Filter: discovery.WireFilter(f, ""), Window: choria.Window{Timeout: o.timeout.or(n.Config.DiscoveryTimeout)},
	}
	if names, exact := f.ExactIdentities(); exact {
		request.Nodes = discovery.Sort(names)
	}
	pings, absent, err := collectPings(ctx, a, client, o, request, start)
	if err != nil {
		return err
	}
	if client.Crowded() {
		a.say("warning: nodes were still answering when the wait ended after %v: more may be there; --timeout waits longer", request.Window.Timeout)
	}
	if !o.names {
		if err := render.PingStatistics(a.io.out, pings, render.PingOptions{Silent: o.silent, Graph: o.graph, Width: widthOf(a.io.out)}); err != nil {
			return err
		}
	}
	if o.expect > 0 {
		if n := len(pings.Times); n < o.expect {
			return refuse("", "expected %s to answer: %d did", plain.Count(o.expect, "node"), n)
		}
		return nil
	}
	if request.Nodes != nil {
		if err := missing(len(request.Nodes), len(request.Nodes)-len(pings.Times)-len(absent), absent); err != nil {
			return &exitError{code: exitNoReply, err: err, hint: "are the names right (case counts), and are the servers up?"}
		}
		return nil
	}
	if len(pings.Times) == 0 {
		return noNodes(o.EmptyHint())
	}
	return nil
}

// collectPings prints and keeps the round trips, and names the nodes that are not connected.
func collectPings(ctx context.Context, a *app, client *rpcclient.Client, o pingOptions, request rpcclient.PingRequest, start time.Time) (pings render.Pings, absent []string, err error) {
	request.Sent = func(s rpcclient.Sent) { pings.Overhead = s.Start.Sub(start) }
	for r, err := range counted(a.wait(len(request.Nodes), "waiting for replies"), client.Ping(ctx, request)) {
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
			_, werr = fmt.Fprintln(a.io.out, plain.Line(r.Node))
		case !o.silent:
			werr = render.Ping(a.io.out, r.Node, took)
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
