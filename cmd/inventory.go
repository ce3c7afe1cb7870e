package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/choria"
	"fleetctl/internal/render"
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
}

func (a *app) newInventory() *cobra.Command {
	o := inventoryOptions{facts: true}
	c := &cobra.Command{
		Use:   "inventory IDENTITY",
		Short: "Show what a node is, and whether it can be upgraded during provisioning",
		Example: `  fleetctl inventory web1.example.net
  fleetctl inventory --collectives -F country=mt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.identity = args[0]
			}
			if err := o.validate(); err != nil {
				return err
			}
			return a.runInventory(c.Context(), o)
		},
	}
	f := c.Flags()
	o.addFilter(f)
	o.addSource(f)
	f.BoolVar(&o.collectives, "collectives", false, "count the nodes of every collective")
	f.BoolVar(&o.facts, "facts", true, "show the facts")
	f.BoolVar(&o.noFacts, "no-facts", false, "do not show the facts")
	f.BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	f.Var(&o.replyTimeout, "reply-timeout", "wait this long for replies (4s)")
	return c
}

func (o inventoryOptions) validate() error {
	switch {
	case o.identity != "" && o.collectives:
		return usage(errors.New("an identity and --collectives exclude each other"), "")
	case o.identity == "" && !o.collectives:
		return usage(errors.New("which node?"), "write `fleetctl inventory IDENTITY`, or `fleetctl inventory --collectives`")
	case o.identity != "":
		if err := choria.CheckIdentity(o.identity); err != nil {
			return usage(fmt.Errorf("cannot address node %q: %w", o.identity, err), "")
		}
	}
	return nil
}

func (a *app) runInventory(ctx context.Context, o inventoryOptions) error {
	f, err := o.parse()
	if err != nil {
		return err
	}
	n, err := a.network(ctx, o.collective)
	if err != nil {
		return err
	}
	defer n.close()
	doc, err := n.documents().Resolve(ctx, discoveryFor)
	if err != nil {
		return err
	}
	wait := o.replyTimeout.or(replyTimeout(doc))
	if o.identity != "" {
		return a.oneNode(ctx, n, o, wait)
	}
	found, err := a.nodesOf(ctx, n, &o.targets, f, discoveryFor)
	if err != nil {
		return err
	}
	if len(found.Nodes) == 0 {
		return noNodes(o.emptyHint())
	}
	return a.countCollectives(ctx, n, o, found.Nodes, wait)
}

func (a *app) oneNode(ctx context.Context, n *network, o inventoryOptions, wait time.Duration) error {
	client, err := n.dial(ctx)
	if err != nil {
		return err
	}
	asked, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	node, err := inventory.Fetch(asked, client, n.collective, o.identity)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil && node.Identity == "" {
		return inventoryError(err)
	}
	var werr error
	if o.asJSON {
		werr = render.IndentedJSON(a.out, node)
	} else {
		werr = render.Inventory(a.out, node, render.InventoryOptions{HideFacts: o.noFacts || !o.facts, Location: time.Local})
	}
	if werr != nil {
		return werr
	}
	if err != nil {
		return inventoryError(err)
	}
	return nil
}

// inventoryError gives a node that was silent or that refused its exit code.
func inventoryError(err error) error {
	if errors.Is(err, inventory.ErrNoReply) {
		return &exitError{code: exitNoReply, err: err, hint: "is the name right (case counts), is the server up, and is this caller allowed?"}
	}
	if _, ok := errors.AsType[*inventory.RefusedError](err); ok {
		return &exitError{code: exitRefused, err: err}
	}
	return err
}

func (a *app) countCollectives(ctx context.Context, n *network, o inventoryOptions, nodes []string, wait time.Duration) error {
	client, err := n.dial(ctx)
	if err != nil {
		return err
	}
	asked, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	report, err := inventory.CollectivesOf(client.Call(asked, inventory.CollectivesRequest(n.collective), nodes))
	if err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if o.asJSON {
		err = render.IndentedJSON(a.out, report)
	} else {
		err = render.Collectives(a.out, report)
	}
	if err != nil {
		return err
	}
	return a.accountFor(nodes, len(report.Nodes), report.Problems)
}
