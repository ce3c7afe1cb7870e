package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/internal/report"
)

// reportOptions are the flags of `runs report`.
type reportOptions struct {
	runsOptions
	output, file string
	kind         report.Format // of output
}

// factOptions are the flags that show the states of nodes by facts.
type factOptions struct {
	by    []string // facts
	facts string   // a saved inventory
}

func (o *factOptions) add(f *pflag.FlagSet) {
	f.StringSliceVar(&o.by, "by", nil, "show the states by these `FACTS`; those of --spread-by and --max-per are in the record")
	f.StringVar(&o.facts, "facts", "", "with --by: take the facts from this saved inventory `FILE`")
}

func (o factOptions) check() error {
	if o.facts != "" && len(o.by) == 0 {
		return usage(errors.New("--facts needs --by: it holds many facts"), "")
	}
	return nil
}

func newRunsReport(a *app, do func(context.Context, *app, reportOptions) error) *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use:               "report RUN",
		ValidArgsFunction: completeRun(a, &o.record),
		Short:             "Write the outcome of every node of a run, for people, CI and other programs",
		Long: `report reads the record of a run, without using the network, and writes it as text (as runs show), as JSON, as a JUnit report, as
the node set of the nodes that succeeded, as Markdown for the summary of a CI job, or as one HTML page with charts and a
table of nodes. For a run in progress, the report covers what has happened so far.`,
		Example: `  fleetctl runs report last --output html -o report.html
  fleetctl runs report last --output html -o report.html --by country,rack --facts before.snap
  fleetctl runs report last --by rack
  fleetctl runs report last --output markdown >> "$GITHUB_STEP_SUMMARY"
  fleetctl runs report last --output junit -o report.xml`,
		Args: aRun(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			o.name = args[0]
			if o.kind, err = report.ParseFormat(cmp.Or(o.output, report.Text.String()), report.StoredFormats...); err != nil {
				return err
			}
			if err := o.check(); err != nil {
				return err
			}
			return do(c.Context(), a, o)
		},
	}
	o.record.addDir(c.Flags())
	addOutput(c.Flags(), &o.output, report.StoredFormats)
	c.Flags().StringVarP(&o.file, "output-file", "o", "", "write the report to `FILE`")
	o.shown.add(c.Flags())
	return c
}

func (o reportOptions) check() error {
	if len(o.shown.by) > 0 && (o.kind == report.Nodeset || o.kind == report.JUnit) {
		return usage(fmt.Errorf("--by excludes --output %s", o.kind), "")
	}
	return o.shown.check()
}

func reportRun(_ context.Context, a *app, o reportOptions) error {
	r, err := a.store(o.record).Named(o.name)
	if err != nil {
		return err
	}
	shown := report.StoredOptions{Format: o.kind, Code: storedCode(r.Progress.Summary()), Width: widthOf(a.io.out), By: o.shown.by, Facts: o.shown.facts}
	if o.file == "" {
		return report.WriteStored(a.io.out, r, shown)
	}
	file, err := report.CreateFile(o.file)
	if err != nil {
		return usage(err, "")
	}
	shown.Width = widthOf(file)
	return file.Commit(report.WriteStored(file, r, shown))
}
