package cmd

import (
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/batch"
	"fleetctl/internal/render"
)

// reportFormats are what can be made of a record: it holds what became of every node, not the replies.
var reportFormats = []format{formatText, formatJSON, formatNodeset, formatJUnit}

// reportOptions are the flags of `runs report`.
type reportOptions struct {
	runsOptions
	output, file string
}

func (a *app) newRunsReport() *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use:               "report RUN",
		ValidArgsFunction: a.completeRun(&o.record),
		Short:             "Write what became of a run's nodes, for people, CI and other programs",
		Long: `report reads the record of a run, asks nobody, and writes it as text (as runs show), as JSON, as a JUnit report, or as
the node set of those that did it. A run that is still being done is reported as far as it has come.`,
		Example: "  fleetctl runs report last --output junit -o report.xml",
		Args:    aRun(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.reportRun(o, args[0]) },
	}
	o.record.addDir(c.Flags())
	c.Flags().StringVar(&o.output, "output", formatText.String(), "`FORMAT`: "+formatList(reportFormats))
	c.Flags().StringVarP(&o.file, "output-file", "o", "", "write the report to `FILE`")
	return c
}

func (a *app) reportRun(o reportOptions, name string) error {
	kind, err := formatOf(o.output, reportFormats...)
	if err != nil {
		return err
	}
	run, err := a.namedRun(o.record, name)
	if err != nil {
		return err
	}
	if o.file == "" {
		return a.writeReport(a.out, kind, run)
	}
	file, err := createOutput(o.file)
	if err != nil {
		return usage(err, "")
	}
	return file.commit(a.writeReport(file, kind, run))
}

func (a *app) writeReport(w io.Writer, kind format, run storedRun) error {
	s := run.progress.Summary()
	proved := (&job{o: reqOptions{agent: run.meta.Agent, action: run.meta.Action, proof: run.meta.Proof}}).proves() != 0
	switch kind {
	case formatJSON:
		return a.runJSON(w, run, s)
	case formatNodeset:
		var names []string
		for n := range s.Results() {
			if n.State == batch.Verified || n.State == batch.Accepted && !proved {
				names = append(names, n.Identity)
			}
		}
		return render.Nodeset(w, names)
	case formatJUnit:
		ended := s.Ended
		if ended.IsZero() {
			ended = time.Now()
		}
		return render.JUnit(w, render.Suite{
			Agent: run.meta.Agent, Action: run.meta.Action, Run: run.id, Verdict: statusOf(run, s), ExitCode: storedCode(s),
			Start: s.Started, Took: ended.Sub(s.Started), Nodes: slices.Collect(s.Results()), Proved: proved,
		})
	}
	return a.runText(w, run, s)
}
