package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/batch"
	"fleetctl/internal/render"
)

// runsOptions are what the runs commands share.
type runsOptions struct {
	record recordOptions
	asJSON bool
	all    bool
}

func (a *app) newRuns() *cobra.Command {
	c := &cobra.Command{
		Use:   "runs",
		Short: "What was done, what is being done, and going on with it",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.newRunsList(), a.newRunsShow(), a.newRunsReport(), a.newRunsWatch(), a.newRunsStop(), a.newRunsResume(), a.newRunsRetry())
	return c
}

// runLine is one run in `runs list`.
type runLine struct {
	ID      string        `json:"id"`
	Started time.Time     `json:"started,omitzero"`
	Agent   string        `json:"agent,omitempty"`
	Action  string        `json:"action,omitempty"`
	Nodes   int           `json:"nodes"`
	States  *batch.Counts `json:"states,omitempty"`
	Status  string        `json:"status"`
	Live    bool          `json:"live"`
	Open    int           `json:"open"`
	Parent  string        `json:"parent,omitempty"`
	User    string        `json:"user,omitempty"`
	Host    string        `json:"host,omitempty"`
	Problem string        `json:"problem,omitempty"`
}

func (a *app) newRunsList() *cobra.Command {
	var o runsOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "List the runs, the newest first",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return a.listRuns(o) },
	}
	o.record.addDir(c.Flags())
	c.Flags().BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	c.Flags().BoolVarP(&o.all, "all", "a", false, "all of them, not only the newest 20")
	return c
}

// shownRuns is how many runs a list shows at first.
const shownRuns = 20

func (a *app) listRuns(o runsOptions) error {
	dir := a.runsDir(o.record)
	list, err := lastRuns(dir)
	if err != nil {
		return err
	}
	total := len(list)
	if !o.all && !o.asJSON {
		list = list[:min(total, shownRuns)]
	}
	lines := make([]runLine, 0, len(list))
	for _, r := range list {
		lines = append(lines, lineOf(dir, r.ID))
	}
	if o.asJSON {
		return render.IndentedJSON(a.out, struct {
			SchemaVersion int       `json:"schema_version"`
			Runs          []runLine `json:"runs"`
		}{render.SchemaVersion, lines})
	}
	if total == 0 {
		fmt.Fprintln(a.err, "no runs in "+dir)
		return nil
	}
	rows := make([][]string, len(lines))
	for i, l := range lines {
		rows[i] = []string{l.ID, l.Started.Local().Format(time.DateTime), l.Agent + "#" + l.Action, strconv.Itoa(l.Nodes), l.Status}
		if l.Problem != "" {
			rows[i] = []string{l.ID, "", "", "", l.Problem}
		}
	}
	header := []string{"Run", "Started", "Action", "Nodes", "Status"}
	if a.terminal(a.out) && render.TableWidth(header, rows) > a.width(a.out) { // an id begins with the time
		header = slices.Delete(header, 1, 2)
		for i := range rows {
			rows[i] = slices.Delete(rows[i], 1, 2)
		}
	}
	if err := render.Table(a.out, "", header, rows); err != nil {
		return err
	}
	if total > len(list) {
		fmt.Fprintf(a.err, "%d more: fleetctl runs list --all\n", total-len(list))
	}
	return nil
}

func lineOf(dir, id string) runLine {
	run, err := readRun(dir, id)
	if err != nil {
		status := "damaged"
		if errors.Is(err, batch.ErrNoPlan) {
			status = "nothing sent"
		}
		return runLine{ID: id, Status: status, Problem: err.Error()}
	}
	s := run.progress.Summary()
	return runLine{
		ID: id, Started: run.progress.Header().Created, Agent: run.meta.Agent, Action: run.meta.Action, Nodes: s.Nodes, States: &s.States,
		Status: statusOf(run, s), Live: run.live, Open: run.progress.Open(), Parent: s.Parent, User: run.meta.User, Host: run.meta.Host,
	}
}

func statusOf(run storedRun, s batch.Summary) string {
	switch {
	case run.live:
		return "running"
	case s.Ended.IsZero():
		return "died"
	}
	return s.Verdict.String()
}

func (a *app) newRunsShow() *cobra.Command {
	var o runsOptions
	c := &cobra.Command{
		Use:               "show RUN",
		ValidArgsFunction: a.completeRun(&o.record),
		Short:             "Show what became of every node of a run",
		Long:              "RUN is a run's id, a beginning of it that no other run has, or `last`.",
		Args:              aRun(1),
		RunE:              func(c *cobra.Command, args []string) error { return a.showRun(o, args[0]) },
	}
	o.record.addDir(c.Flags())
	c.Flags().BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	return c
}

// runDocument is `runs show --json`.
type runDocument struct {
	SchemaVersion int        `json:"schema_version"`
	Agent         string     `json:"agent"`
	Action        string     `json:"action"`
	Status        string     `json:"status"`
	Live          bool       `json:"live"`
	Command       []string   `json:"command"`
	Caller        string     `json:"caller"`
	User          string     `json:"user,omitempty"`
	Host          string     `json:"host,omitempty"`
	Started       time.Time  `json:"started,omitzero"`
	Ended         time.Time  `json:"ended,omitzero"`
	Parent        string     `json:"parent,omitempty"`
	Run           render.Run `json:"run"`
}

func (a *app) showRun(o runsOptions, name string) error {
	run, err := a.namedRun(o.record, name)
	if err != nil {
		return err
	}
	s := run.progress.Summary()
	if o.asJSON {
		return a.runJSON(a.out, run, s)
	}
	return a.runText(a.out, run, s)
}

func (a *app) runJSON(w io.Writer, run storedRun, s batch.Summary) error {
	return render.IndentedJSON(w, runDocument{
		SchemaVersion: render.SchemaVersion, Agent: run.meta.Agent, Action: run.meta.Action, Status: statusOf(run, s), Live: run.live,
		Command: run.meta.Command, Caller: run.meta.Caller, User: run.meta.User, Host: run.meta.Host, Started: s.Started, Ended: s.Ended,
		Parent: s.Parent, Run: render.NewRun(s, storedCode(s), nil),
	})
}

func (a *app) runText(w io.Writer, run storedRun, s batch.Summary) error {
	return render.RunReport(w, s, render.RunFacts{
		ID: run.id, What: run.meta.Agent + "#" + run.meta.Action, Status: statusOf(run, s), Command: run.meta.Command, Caller: run.meta.Caller,
		By: run.meta.User + "@" + run.meta.Host, Torn: run.torn,
	}, a.width(w))
}

// storedCode is the exit code that the run ended with; which signal it was is not kept.
func storedCode(s batch.Summary) int {
	if s.Verdict == batch.Interrupted {
		return exitInt
	}
	return codes[s.Verdict]
}

// watchPace is how often a watcher looks at the record.
const watchPace = 500 * time.Millisecond

func (a *app) newRunsWatch() *cobra.Command {
	var o runsOptions
	c := &cobra.Command{
		Use:               "watch [RUN]",
		ValidArgsFunction: a.completeRun(&o.record),
		Short:             "Follow a run that another process is doing, until it ends",
		Args:              cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.watchRun(c.Context(), o, firstOr(args, "last"))
		},
	}
	o.record.addDir(c.Flags())
	return c
}

func firstOr(args []string, other string) string {
	if len(args) > 0 {
		return args[0]
	}
	return other
}

func (a *app) watchRun(ctx context.Context, o runsOptions, name string) error {
	dir := a.runsDir(o.record)
	id, err := findRun(dir, name)
	if err != nil {
		return err
	}
	var progress *render.Progress
	ticker := time.NewTicker(watchPace)
	defer ticker.Stop()
	for {
		run, err := readRun(dir, id)
		if err != nil && (!run.live || !errors.Is(err, batch.ErrNoPlan)) {
			return err // without a plan it has not begun, or, when its process is gone, never did
		}
		if err == nil {
			s := run.progress.Summary()
			m := newMeter(s)
			m.s.Batch = sentBatches(s)
			if progress == nil {
				progress = a.newProgress(s.Nodes)
			}
			if !run.live {
				progress.Close(m.snapshot())
				return a.endWatch(id, s)
			}
			progress.Update(m.snapshot())
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func (a *app) endWatch(id string, s batch.Summary) error {
	fmt.Fprintf(a.out, "%s\n", render.Verdict(s))
	if s.Open > 0 {
		fmt.Fprintf(a.err, "hint: to go on: fleetctl runs resume %s\n", id)
	}
	return ended(storedCode(s))
}

func sentBatches(s batch.Summary) int {
	n := 0
	for _, b := range s.Batches {
		if !b.Sent.IsZero() {
			n++
		}
	}
	return n
}

// newProgress is a bar on a terminal and lines elsewhere.
func (a *app) newProgress(nodes int) *render.Progress {
	switch {
	case a.flags.noProgress:
		return &render.Progress{}
	case a.terminal(a.err):
		return render.NewBar(a.err, nodes, a.width(a.err))
	}
	return render.NewPlain(a.err)
}
