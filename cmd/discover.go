package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/render"
	"fleetctl/internal/report"
)

// discoverOptions are the flags of `fleetctl discover`.
type discoverOptions struct {
	targets
	output  string
	asJSON  bool
	verbose bool
	silent  bool
	kind    report.Format // set by validate
}

// discoveryFor is the agent that upstream's find looks for: one that every server has.
const discoveryFor = "rpcutil"

func newDiscover(a *app, do func(context.Context, *app, discoverOptions) error) *cobra.Command {
	var o discoverOptions
	c := &cobra.Command{
		Use:     "discover [flags]",
		Aliases: []string{"find"},
		Short:   "List the nodes that match a filter",
		Example: `  fleetctl discover -F country=mt -C role::web
  fleetctl discover -I '/^web/' --json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			return do(c.Context(), a, o)
		},
	}
	f := c.Flags()
	o.targets.add(a, f)
	addOutput(f, &o.output, discoverFormats)
	f.BoolVarP(&o.asJSON, "json", "j", false, "a JSON array")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print how the nodes were found")
	f.BoolVar(&o.silent, "silent", false, "print as little as possible")
	_ = f.MarkHidden("silent")
	return c
}

// discoverFormats are the formats of discover.
var discoverFormats = []report.Format{report.Text, report.JSON, report.Nodeset}

func (o *discoverOptions) validate() (err error) {
	o.kind = report.Text
	if o.asJSON {
		o.kind = report.JSON
	}
	if o.output == "" {
		return nil
	}
	if o.kind, err = report.ParseFormat(o.output, discoverFormats...); err == nil && o.asJSON && o.kind != report.JSON {
		err = twoFormats(report.JSON, o.kind)
	}
	return err
}

func runDiscover(ctx context.Context, a *app, o discoverOptions) error {
	return withFleet(ctx, a, &o.targets, func(n *fleet.Fleet, f filter.Filter) error { return discover(ctx, a, o, n, f) })
}

func discover(ctx context.Context, a *app, o discoverOptions, n *fleet.Fleet, f filter.Filter) error {
	if o.verbose && o.kind == report.Text {
		a.say("Discovering nodes ....")
	}
	found, err := a.find(ctx, n, o.Targets, f)
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	switch o.kind {
	case report.JSON:
		err = render.NodesJSON(a.io.out, found.Nodes)
	case report.Nodeset:
		err = render.Nodeset(a.io.out, found.Nodes)
	default:
		err = render.Nodes(a.io.out, found.Nodes)
	}
	if err != nil {
		return err
	}
	if o.verbose && o.kind == report.Text {
		a.say("Discovered %d nodes using the %s method in %.2f seconds", len(found.Nodes), n.MethodName(o.Targets, f), found.Took.Seconds())
	}
	if len(found.Nodes) == 0 {
		return noNodes(o.EmptyHint())
	}
	return nil
}
