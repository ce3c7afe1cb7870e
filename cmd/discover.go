package cmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"fleetctl/internal/filter"
	"fleetctl/internal/render"
)

// discoverOptions are the flags of `fleetctl discover`.
type discoverOptions struct {
	targets
	output  string
	asJSON  bool
	verbose bool
	silent  bool
	kind    format // set by validate
}

// discoveryFor is the agent that upstream's find looks for: one that every server has.
const discoveryFor = "rpcutil"

func (a *app) newDiscover() *cobra.Command {
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
			return a.runDiscover(c.Context(), o)
		},
	}
	f := c.Flags()
	o.addFilter(f)
	a.addFederations(f)
	o.addSource(f)
	o.addLimit(f)
	f.StringVar(&o.output, "output", "", "`FORMAT`: "+formatList(discoverFormats))
	f.BoolVarP(&o.asJSON, "json", "j", false, "a JSON array")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "say how the nodes were found")
	f.BoolVar(&o.silent, "silent", false, "say as little as possible")
	_ = f.MarkHidden("silent")
	return c
}

// discoverFormats are what discover can write.
var discoverFormats = []format{formatText, formatJSON, formatNodeset}

func (o *discoverOptions) validate() (err error) {
	o.kind = formatText
	if o.asJSON {
		o.kind = formatJSON
	}
	if o.output == "" {
		return nil
	}
	if o.kind, err = formatOf(o.output, discoverFormats...); err == nil && o.asJSON && o.kind != formatJSON {
		err = twoFormats(formatJSON, o.kind)
	}
	return err
}

func (a *app) runDiscover(ctx context.Context, o discoverOptions) error {
	return a.withNetwork(ctx, &o.targets, func(n *network, f filter.Filter) error { return a.discover(ctx, o, n, f) })
}

func (a *app) discover(ctx context.Context, o discoverOptions, n *network, f filter.Filter) error {
	if o.verbose && o.kind == formatText {
		fmt.Fprintf(a.err, "Discovering nodes ....\n")
	}
	found, err := a.nodesOf(ctx, n, &o.targets, f, discoveryFor)
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	switch o.kind {
	case formatJSON:
		err = render.NodesJSON(a.out, found.Nodes)
	case formatNodeset:
		err = render.Nodeset(a.out, found.Nodes)
	default:
		err = render.Nodes(a.out, found.Nodes)
	}
	if err != nil {
		return err
	}
	if o.verbose && o.kind == formatText {
		fmt.Fprintf(a.err, "Discovered %d nodes using the %s method in %.2f seconds\n", len(found.Nodes), o.methodName(n, f), found.Took.Seconds())
	}
	if len(found.Nodes) == 0 {
		return noNodes(o.emptyHint())
	}
	return nil
}
