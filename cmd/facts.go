package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/inventory"
)

// factsOptions are the flags of `fleetctl facts`.
type factsOptions struct {
	targets
	fact                          string
	table, asJSON, chart, verbose bool
	showNodes, reverse            bool
	replyTimeout                  seconds
}

func newFacts(a *app, do func(context.Context, *app, factsOptions) error) *cobra.Command {
	var o factsOptions
	c := &cobra.Command{
		Use:   "facts FACT",
		Short: "Show how a fact is distributed over the fleet",
		Example: `  fleetctl facts country
  fleetctl facts os.family --chart -C role::web
  fleetctl facts virtual --json`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(errors.New("exactly one fact is needed"), "write `fleetctl facts FACT`")
			}
			o.fact = args[0]
			if err := o.validate(); err != nil {
				return err
			}
			return do(c.Context(), a, o)
		},
	}
	f := c.Flags()
	o.targets.add(a, f)
	f.BoolVarP(&o.table, "table", "t", false, "a table")
	f.BoolVarP(&o.asJSON, "json", "j", false, "a JSON object: value to count and identities")
	f.BoolVar(&o.chart, "chart", false, "bars")
	f.BoolVarP(&o.showNodes, "show-nodes", "n", false, "name the nodes of every value")
	f.BoolVarP(&o.reverse, "reverse", "r", false, "the most frequent value first")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "name the nodes, and print how long everything took")
	f.Var(&o.replyTimeout, "reply-timeout", "wait this long for replies (4s)")
	return c
}

func (o factsOptions) validate() error {
	if o.table && o.asJSON || o.table && o.chart || o.asJSON && o.chart {
		return usage(errors.New("--table, --json and --chart exclude each other"), "")
	}
	return nil
}

func runFacts(ctx context.Context, a *app, o factsOptions) error {
	return withFleet(ctx, a, &o.targets, func(n *fleet.Fleet, f filter.Filter) error { return facts(ctx, a, o, n, f) })
}

func facts(ctx context.Context, a *app, o factsOptions, n *fleet.Fleet, f filter.Filter) error {
	doc, err := n.Documents().Resolve(ctx, discoveryFor)
	if err != nil {
		return err
	}
	action, ok := doc.Action("get_fact")
	if !ok {
		return errors.New("rpcutil has no get_fact")
	}
	if _, err := action.Check(discoveryFor, map[string]string{"fact": o.fact}); err != nil {
		return err
	}
	found, err := a.find(ctx, n, o.Targets, f)
	if err != nil {
		return err
	}
	if len(found.Nodes) == 0 {
		return noNodes(o.EmptyHint())
	}
	return reportFact(ctx, a, n, o, found, o.replyTimeout.or(fleet.ReplyTimeout(doc)))
}

func reportFact(ctx context.Context, a *app, n *fleet.Fleet, o factsOptions, found discovery.Result, wait time.Duration) error {
	request, err := inventory.FactRequest(n.Collective, o.fact)
	if err != nil {
		return err
	}
	client, err := n.Dial(ctx)
	if err != nil {
		return err
	}
	request.Wait = wait
	start := time.Now()
	report, err := inventory.FactsOf(counted(a.wait(len(found.Nodes), "asking for %s", o.fact), client.Call(ctx, request, found.Nodes)))
	took := time.Since(start)
	if err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err := showFacts(a, o, report, factStats(report, found, start, took)); err != nil {
		return err
	}
	told := 0
	for _, v := range report.Values {
		told += len(v.Nodes)
	}
	return checkMissing(a, found.Nodes, told, report.Absent, report.Problems)
}

func showFacts(a *app, o factsOptions, report inventory.Facts, stats render.Stats) error {
	values := make([]render.FactValue, len(report.Values))
	for i, v := range report.Values {
		values[i] = render.FactValue(v)
	}
	wish := render.FactOptions{ShowNodes: o.showNodes || o.verbose, Reverse: o.reverse}
	switch {
	case o.asJSON:
		return render.FactsJSON(a.io.out, values)
	case o.table:
		return render.FactsTable(a.io.out, values, wish)
	case o.chart:
		return render.FactsChart(a.io.out, o.fact, values, wish, widthOf(a.io.out))
	}
	if err := render.Facts(a.io.out, o.fact, values, wish); err != nil {
		return err
	}
	return render.Footer(a.io.out, stats, render.TextOptions{Verbose: o.verbose, Color: a.color(a.io.out)})
}

// factStats counts the request for the report's end.
func factStats(report inventory.Facts, found discovery.Result, start time.Time, took time.Duration) render.Stats {
	s := render.Stats{
		Discovered: len(found.Nodes), Failed: len(report.Problems), RequestTime: took, DiscoverTime: found.Took, Start: start,
	}
	var heard []string
	for _, v := range report.Values {
		heard = append(heard, v.Nodes...)
	}
	s.OK = len(heard)
	for _, p := range report.Problems {
		heard = append(heard, p.Node)
	}
	s.Responses = len(heard)
	s.NoResponses = discovery.Without(found.Nodes, heard)
	return s
}

// missing is the error of nodes that did not answer, nil when all of them did.
func missing(asked, silent int, absent []string) error {
	switch {
	case silent > 0 && len(absent) > 0:
		return fmt.Errorf("%d of %s did not reply, %d not connected: %s", silent, plain.Count(asked, "node"), len(absent), discovery.Fold(absent))
	case silent > 0:
		return fmt.Errorf("%d of %s did not reply", silent, plain.Count(asked, "node"))
	case len(absent) > 0:
		return fmt.Errorf("%d of %s not connected: %s", len(absent), plain.Count(asked, "node"), discovery.Fold(absent))
	}
	return nil
}

// checkMissing warns about every node without a result, and turns silence and refusals into the exit code.
func checkMissing(a *app, nodes []string, told int, absent []string, problems []inventory.Problem) error {
	for _, p := range problems {
		a.say("warning: %v", p.Err)
	}
	silent := len(nodes) - told - len(problems) - len(absent)
	silence := missing(len(nodes), silent, absent)
	switch {
	case len(problems) > 0 && silence != nil:
		return &exitError{code: exitRefused, err: silence}
	case len(problems) > 0:
		return ended(exitRefused)
	case silence != nil:
		return &exitError{code: exitNoReply, err: silence}
	}
	return nil
}
