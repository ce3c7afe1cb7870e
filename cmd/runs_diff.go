package cmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"fleetctl/internal/report"
)

// diffOptions are the flags of `runs diff`.
type diffOptions struct {
	from, to string // runs
	record   recordOptions
	asJSON   bool
}

func newRunsDiff(a *app, do func(context.Context, *app, diffOptions) error) *cobra.Command {
	var o diffOptions
	c := &cobra.Command{
		Use:   "diff RUN RUN",
		Short: "Show what happened otherwise in a second run",
		Long: `diff reads the records of two runs, asks no node, and shows what was asked for in another way, and which nodes came to
another state or reason, folded into groups.`,
		Example:           "  fleetctl runs diff 20261125-220244-dvjjn last",
		ValidArgsFunction: completeRuns(a, &o.record),
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage(errors.New("which two runs?"), "write `"+c.CommandPath()+" RUN RUN`; `fleetctl runs list` has them")
			}
			return aRun(2)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.from, o.to = args[0], args[1]
			return do(c.Context(), a, o)
		},
	}
	o.record.addDir(c.Flags())
	c.Flags().BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	return c
}

func diffRuns(_ context.Context, a *app, o diffOptions) error {
	store := a.store(o.record)
	from, err := store.Named(o.from)
	if err != nil {
		return err
	}
	to, err := store.Named(o.to)
	if err != nil {
		return err
	}
	if from.ID == to.ID {
		return usage(fmt.Errorf("run %s is compared with itself", from.ID), "name two runs; `fleetctl runs list` has them")
	}
	d := report.CompareRuns(from, to)
	if o.asJSON {
		return report.WriteRunDifferenceJSON(a.io.out, d)
	}
	return report.WriteRunDifference(a.io.out, d, widthOf(a.io.out))
}

// completeRuns completes the ids of two runs.
func completeRuns(a *app, o *recordOptions) cobra.CompletionFunc {
	one := completeRun(a, o)
	return func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 1 {
			args = nil // the second is one like the first
		}
		return one(c, args, typed)
	}
}
