package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/batch"
	"fleetctl/internal/lease"
	"fleetctl/internal/report"
	"fleetctl/internal/run"
)

// runsOptions are what the runs commands share.
type runsOptions struct {
	name   string // of the run
	record recordOptions
	asJSON bool
	all    bool
	shared bool // of any machine
	filter runsFilter
	shown  factOptions
	states []string // of the nodes that are shown
}

func newRuns(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "runs",
		Short: "List, show, resume, retry, adopt, pause and stop runs",
		Args:  subcommandOnly,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRunsList(a, listRuns), newRunsShow(a, showRun), newRunsReport(a, reportRun), newRunsWatch(a, watchRun),
		newRunsWait(a, waitRun), newRunsPause(a, pauseRun), newRunsContinue(a, pauseRun), newRunsStop(a, stopRun), newRunsResume(a, resumeRun),
		newRunsRetry(a, retryRun), newRunsAdopt(a, adoptRun), newRunsDiff(a, diffRuns), newRunsSettle(a, settleRun), newRunsForget(a, forgetNodes), newRunsDrive(a, driveRun))
	return c
}

// store is where the runs' records are.
func (a *app) store(o recordOptions) run.Store {
	return run.Store{Dir: a.env.runsFolder(o.dir), Typed: o.dir}
}

// storedCode is the exit code of a recorded run: the one it ended with, or would end with now.
func storedCode(s batch.Summary) int { return verdictCode(s.Verdict) }

// newOfRun makes a command that takes one run and the place of its record, and that reads shared records where shared is
// not nil. fits and shared choose what completion offers.
func newOfRun(a *app, name, long, short string, shared func(lease.Found) bool, fits func(run.Stored) bool, do func(context.Context, *app, runsOptions) error) *cobra.Command {
	var o runsOptions
	c := &cobra.Command{
		Use:               name + " RUN",
		ValidArgsFunction: completeOf(a, &o.shared, shared, completeRunThat(a, &o.record, fits)),
		Short:             short,
		Long:              long,
		Args:              aRun(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.name = args[0]
			return do(c.Context(), a, o)
		},
	}
	o.record.addDir(c.Flags())
	if shared != nil {
		o.addShared(c.Flags())
	}
	return c
}

func newRunsShow(a *app, do func(context.Context, *app, runsOptions) error) *cobra.Command {
	var o runsOptions
	c := &cobra.Command{
		Use:               "show RUN",
		ValidArgsFunction: completeOf(a, &o.shared, anyShared, completeRun(a, &o.record)),
		Short:             "Show the outcome of every node of a run",
		Long:              "RUN is a run's id, a beginning of it that no other run has, or `last`. " + sharedText,
		Example:           "  fleetctl runs show last\n  fleetctl runs show last --state no-reply,refused\n  fleetctl runs show last --by rack",
		Args:              aRun(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.name = args[0]
			if _, err := nodeStates(o.states); err != nil {
				return err
			}
			if err := o.shown.check(); err != nil {
				return err
			}
			return do(c.Context(), a, o)
		},
	}
	o.record.addDir(c.Flags())
	o.shown.add(c.Flags())
	c.Flags().BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	c.Flags().StringSliceVar(&o.states, "state", nil, "list only the nodes in these `STATES`: "+stateWords(", "))
	completeWith(c.Flags(), "state", strings.Fields(stateWords(" "))...)
	o.addShared(c.Flags())
	return c
}

// stateWords are the states of nodes.
func stateWords(between string) string {
	var words []string
	for _, s := range batch.States() {
		words = append(words, s.String())
	}
	return strings.Join(words, between)
}

// nodeStates reads the words of states.
func nodeStates(words []string) ([]batch.State, error) {
	states := make([]batch.State, len(words))
	for i, word := range words {
		if states[i].UnmarshalText([]byte(word)) != nil {
			return nil, usage(fmt.Errorf("unknown state %q", word), "use "+stateWords(", "))
		}
	}
	return states, nil
}

// showStored writes the result of a recorded run.
func showStored(a *app, o runsOptions, r run.Stored) error {
	states, err := nodeStates(o.states)
	if err != nil {
		return err
	}
	format := report.Text
	if o.asJSON {
		format = report.JSON
	}
	return report.WriteStored(a.io.out, r, report.StoredOptions{
		Format: format, Code: storedCode(r.Progress.Summary()), Width: widthOf(a.io.out), By: o.shown.by, Facts: o.shown.facts, States: states,
	})
}

func showRun(ctx context.Context, a *app, o runsOptions) error {
	if o.shared {
		return showShared(ctx, a, o)
	}
	r, err := a.store(o.record).Named(o.name)
	if err != nil {
		return err
	}
	return showStored(a, o, r)
}

func newRunsResume(a *app, do func(context.Context, *app, reqOptions, string) error) *cobra.Command {
	var o reqOptions
	c := &cobra.Command{
		Use:               "resume RUN [key=value...]",
		ValidArgsFunction: completeRunThat(a, &o.record, openRun),
		Short:             "Resume an interrupted run, without sending anything twice",
		Long: `resume verifies again what was accepted, looks (read-only) at nodes whose state is unknown, and sends to those that
were never sent to. Secrets are not in the record: give them again, as for req.`,
		Example: "  fleetctl runs resume last token=@token.txt",
		Args:    aRun(0),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.stored(c.Flags(), "resume", args); err != nil {
				return errorLine(a, &o, err)
			}
			return do(c.Context(), a, o, args[0])
		},
	}
	o.addResume(c.Flags())
	o.guard.addLimits(c.Flags())
	return c
}

func resumeRun(ctx context.Context, a *app, o reqOptions, name string) error {
	return withStored(ctx, a, &o, name, run.Resume)
}

// retryStates are the flags of retry.
type retryStates struct{ failed, noReply, absent, notSent, unknown bool }

func (r retryStates) states() []batch.State {
	var out []batch.State
	if r.failed {
		out = append(out, batch.Refused, batch.Unverified)
	}
	if r.noReply {
		out = append(out, batch.NoReply)
	}
	if r.absent {
		out = append(out, batch.Absent)
	}
	if r.notSent {
		out = append(out, batch.NotSent)
	}
	if r.unknown {
		out = append(out, batch.Unknown)
	}
	return out
}

func newRunsRetry(a *app, do func(context.Context, *app, reqOptions, string, []batch.State) error) *cobra.Command {
	var o reqOptions
	var which retryStates
	c := &cobra.Command{
		Use:               "retry RUN [key=value...]",
		ValidArgsFunction: completeRunThat(a, &o.record, failedRun),
		Short:             "Start a new run over nodes of an earlier run that did not succeed",
		Long: `retry starts a linked run. A node that may have received the earlier request is checked first (read-only), and is sent to
only when it is proved untouched. Secrets are not in the record: give them again, as for req.`,
		Example: "  fleetctl runs retry last --failed --no-reply token=@token.txt",
		Args:    aRun(0),
		RunE: func(c *cobra.Command, args []string) error {
			if len(which.states()) == 0 {
				return usage(errors.New("no kind of nodes to retry is chosen"), "add --failed, --no-reply, --absent, --not-sent or --unknown")
			}
			if err := o.stored(c.Flags(), "retry", args); err != nil {
				return errorLine(a, &o, err)
			}
			return do(c.Context(), a, o, args[0], which.states())
		},
	}
	f := c.Flags()
	f.BoolVar(&which.failed, "failed", false, "nodes that refused, or that nothing proved")
	f.BoolVar(&which.noReply, "no-reply", false, "nodes that did not reply")
	f.BoolVar(&which.absent, "absent", false, "nodes that were not connected")
	f.BoolVar(&which.notSent, "not-sent", false, "nodes that the run did not send to")
	f.BoolVar(&which.unknown, "unknown", false, "nodes for which it is unknown whether the request was sent")
	o.addSplit(f)
	o.guard.add(f)
	o.addResume(f)
	return c
}

func retryRun(ctx context.Context, a *app, o reqOptions, name string, which []batch.State) error {
	return withStored(ctx, a, &o, name, func(ctx context.Context, c run.Context, r run.Request, s run.Stored) (run.Result, error) {
		return run.Retry(ctx, c, r, s, which)
	})
}

// addResume adds the flags of req that make sense for a run whose nodes and inputs are known.
func (o *reqOptions) addResume(f *pflag.FlagSet) {
	o.addSteps(f)
	o.output.add(f)
	o.proof.add(f)
	o.record.addDir(f)
	o.record.addTrust(f)
	o.shared.add(f)
}

// stored reads the arguments about a recorded run: RUN and the inputs that it needs again.
func (o *reqOptions) stored(flags *pflag.FlagSet, command string, args []string) (err error) {
	o.flags, o.words = flags, []string{"runs", command, args[0]}
	if err := o.output.choose(); err != nil {
		return err
	}
	o.inputs, err = keyValues(args[1:])
	return err
}

// withStored makes a request from a run's record and the arguments, and calls work with it.
func withStored(ctx context.Context, a *app, o *reqOptions, name string, work func(context.Context, run.Context, run.Request, run.Stored) (run.Result, error)) error {
	stored, request, err := reopen(a, o, name)
	if err != nil {
		return errorLine(a, o, err)
	}
	if a.flags.config == "" {
		if !stored.Ours { // a record of another user must not choose our brokers and programs
			return errorLine(a, o, refuse("name your own configuration with --config", "cannot use the configuration that the record of run %s names: it belongs to another user", stored.ID))
		}
		a.flags.config = stored.Meta.Config
	}
	if a.flags.site == "" && stored.Ours {
		a.flags.site = stored.Meta.Site // its limits hold for what is left, too
	}
	a.flags.federations = stored.Meta.Federations // even when the configuration has changed: the nodes are in this collective
	return withRun(ctx, a, o, request, func(c run.Context) (run.Result, error) {
		return work(ctx, c, request, stored)
	})
}

func reopen(a *app, o *reqOptions, name string) (run.Stored, run.Request, error) {
	stored, err := a.store(o.record).Named(name)
	if err != nil {
		return stored, run.Request{}, err
	}
	if err := errors.Join(o.output.validate(), o.detachable()); err != nil {
		return stored, run.Request{}, err
	}
	o.words[len(o.words)-1] = stored.ID // "last" means another run later
	request, err := o.value()
	if err != nil {
		return stored, request, err
	}
	request, err = request.Reopen(stored)
	return stored, request, err
}
