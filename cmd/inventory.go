package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/render"
	"fleetctl/internal/report"
	"fleetctl/inventory"
)

// inventoryOptions are the flags of `fleetctl inventory`.
type inventoryOptions struct {
	targets
	identity     string
	collectives  bool
	facts        bool
	noFacts      bool
	asJSON       bool
	replyTimeout seconds
	fleet        fleetOptions
}

func newInventory(a *app, do func(context.Context, *app, inventoryOptions) error) *cobra.Command {
	o := inventoryOptions{facts: true}
	c := &cobra.Command{
		Use:   "inventory [IDENTITY]",
		Short: "Show what a node or the fleet is, and what can be upgraded during provisioning",
		Long: `With an identity, inventory shows that node. Without one it asks every node that matches the filters: versions,
upgradable or not, collectives, agents, uptime. Silent nodes are named on stderr.`,
		Example: `  fleetctl inventory web01.mla1.example.net
  fleetctl inventory -F country=mt
  fleetctl inventory --group-by os.release.full --upgradable
  fleetctl inventory --upgradable --version '<0.29.4' --output nodeset
  fleetctl inventory --save before.snap; fleetctl inventory --diff before.snap --ignore-fact uptime
  fleetctl inventory --collectives -F country=mt`,
		Args: atMostOneNode,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.identity = args[0]
			}
			o.fleet.withFacts = c.Flags().Changed("facts") && o.facts && !o.noFacts
			if err := o.validate(o.fleet.given()); err != nil {
				return err
			}
			return do(c.Context(), a, o)
		},
	}
	f := c.Flags()
	o.targets.add(a, f)
	o.fleet.add(f)
	f.BoolVar(&o.collectives, "collectives", false, "count the nodes of every collective")
	f.BoolVar(&o.facts, "facts", true, "show the facts; of a fleet only when typed, with --output json or jsonl")
	f.BoolVar(&o.noFacts, "no-facts", false, "do not show the facts")
	f.BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	f.Var(&o.replyTimeout, "reply-timeout", "wait this long for replies (4s)")
	return c
}

func (o *inventoryOptions) validate(fleetFlags bool) error {
	switch {
	case o.identity != "" && o.collectives:
		return usage(errors.New("an identity and --collectives exclude each other"), "")
	case (o.identity != "" || o.collectives) && fleetFlags:
		return usage(errors.New("the flags of a fleet's inventory go with neither an identity nor --collectives"), "leave the identity out, or select it with -I")
	case o.identity != "":
		if err := choria.CheckIdentity(o.identity); err != nil {
			return usage(fmt.Errorf("cannot address node %q: %w", o.identity, err), "")
		}
		return nil
	case o.collectives:
		return nil
	}
	if o.asJSON {
		if o.fleet.output != "" && o.fleet.output != report.JSON.String() {
			return usage(fmt.Errorf("cannot write json and %s at once", o.fleet.output), "choose one format")
		}
		o.fleet.output = report.JSON.String()
	}
	return o.fleet.validate()
}

func runInventory(ctx context.Context, a *app, o inventoryOptions) error {
	if o.fleet.to != "" {
		return report.CompareFiles(ctx, o.shown(a, "", false), o.fleet.to)
	}
	return withFleet(ctx, a, &o.targets, func(n *fleet.Fleet, f filter.Filter) error { return takeInventory(ctx, a, o, n, f) })
}

func takeInventory(ctx context.Context, a *app, o inventoryOptions, n *fleet.Fleet, f filter.Filter) error {
	doc, err := n.Documents().Resolve(ctx, discoveryFor)
	if err != nil {
		return err
	}
	wait := o.replyTimeout.or(fleet.ReplyTimeout(doc))
	n.KeepTokens() // they are a column
	if o.identity != "" {
		return oneNode(ctx, a, n, o, wait)
	}
	found, err := a.find(ctx, n, o.Targets, f)
	if err != nil {
		return err
	}
	if len(found.Nodes) == 0 {
		return noNodes(o.EmptyHint())
	}
	if o.collectives {
		return countCollectives(ctx, a, n, o, found.Nodes, wait)
	}
	return reportFleet(ctx, a, n, &o, found.Nodes, wait)
}

func oneNode(ctx context.Context, a *app, n *fleet.Fleet, o inventoryOptions, wait time.Duration) error {
	client, err := n.Dial(ctx)
	if err != nil {
		return err
	}
	line := a.wait(0, "asking %s", o.identity)
	node, err := inventory.Fetch(ctx, client, n.Collective, o.identity, wait)
	line.end()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil && node.Identity == "" {
		return err
	}
	n.KeepFacts(filter.FactNames(node.Facts))
	var werr error
	if o.asJSON {
		werr = render.IndentedJSON(a.io.out, node)
	} else {
		werr = render.Inventory(a.io.out, node, render.InventoryOptions{HideFacts: o.noFacts || !o.facts, Location: time.Local})
	}
	if werr != nil {
		return werr
	}
	return err
}

func countCollectives(ctx context.Context, a *app, n *fleet.Fleet, o inventoryOptions, nodes []string, wait time.Duration) error {
	client, err := n.Dial(ctx)
	if err != nil {
		return err
	}
	request := inventory.CollectivesRequest(n.Collective)
	request.Wait = wait
	report, err := inventory.CollectivesOf(counted(a.wait(len(nodes), "asking for the collectives"), client.Call(ctx, request, nodes)))
	if err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if o.asJSON {
		err = render.IndentedJSON(a.io.out, report)
	} else {
		err = render.Collectives(a.io.out, report)
	}
	if err != nil {
		return err
	}
	return checkMissing(a, nodes, len(report.Nodes), report.Absent, report.Problems)
}
