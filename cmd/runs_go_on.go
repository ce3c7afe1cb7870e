package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/batch"
)

func (a *app) newRunsStop() *cobra.Command {
	var o runsOptions
	c := &cobra.Command{
		Use:               "stop RUN",
		ValidArgsFunction: a.completeRun(&o.record),
		Short:             "Ask the process that does a run to end it, as on a first Ctrl-C",
		Args:              aRun(1),
		RunE:              func(c *cobra.Command, args []string) error { return a.stopRun(c.Context(), o, args[0]) },
	}
	o.record.addDir(c.Flags())
	return c
}

// stopWait is how long stop waits for the run to end by itself.
const stopWait = 10 * time.Minute

func (a *app) stopRun(ctx context.Context, o runsOptions, name string) error {
	run, err := a.namedRun(o.record, name)
	if err != nil && !errors.Is(err, batch.ErrNoPlan) {
		return err
	}
	if !run.live {
		fmt.Fprintf(a.err, "run %s has ended already\n", run.id)
		return nil
	}
	if host, _ := os.Hostname(); run.owner.Host != host {
		return refuse("", "cannot stop run %s from here: process %d on %s does it", run.id, run.owner.PID, run.owner.Host)
	}
	p, err := os.FindProcess(run.owner.PID)
	if err == nil {
		err = p.Signal(syscall.SIGINT)
	}
	if err != nil {
		return fmt.Errorf("ask process %d to end run %s: %w", run.owner.PID, run.id, err)
	}
	fmt.Fprintf(a.err, "asked process %d to end run %s; what is in flight is still collected\n", run.owner.PID, run.id)
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	if err := a.watchRun(ctx, o, run.id); err != nil {
		if _, ok := errors.AsType[*exitError](err); !ok {
			return err
		}
	}
	return nil
}

func (a *app) newRunsResume() *cobra.Command {
	var o reqOptions
	c := &cobra.Command{
		Use:               "resume RUN [key=value...]",
		ValidArgsFunction: a.completeRun(&o.record),
		Short:             "Go on with a run that was interrupted, without sending anything twice",
		Long: `resume verifies again what was accepted, looks (read-only) at nodes whose fate is open, and goes on with those that
were never sent to. Secrets are not in the record: give them again, as for req.`,
		Example: "  fleetctl runs resume last token=@token.txt",
		Args:    aRun(0),
		RunE: func(c *cobra.Command, args []string) error {
			return a.goOn(c.Context(), &o, args, func(ctx context.Context, j *job, run storedRun) error {
				if j.o.dryRun {
					return j.write(func() error { return j.planToGoOn(run.progress) })
				}
				file, from, err := takeRun(a.runsDir(j.o.record), run.id)
				if err != nil {
					return err
				}
				return j.write(func() error { return j.goOn(ctx, from, file) })
			})
		},
	}
	o.addGoOn(c.Flags())
	o.guard.addLimits(c.Flags())
	return c
}

// retryStates are the flags of retry.
type retryStates struct{ failed, noReply, notSent, unknown bool }

func (r retryStates) states() []batch.State {
	var out []batch.State
	if r.failed {
		out = append(out, batch.Refused, batch.Unverified)
	}
	if r.noReply {
		out = append(out, batch.NoReply)
	}
	if r.notSent {
		out = append(out, batch.NotSent)
	}
	if r.unknown {
		out = append(out, batch.Unknown)
	}
	return out
}

func (a *app) newRunsRetry() *cobra.Command {
	var o reqOptions
	var which retryStates
	c := &cobra.Command{
		Use:               "retry RUN [key=value...]",
		ValidArgsFunction: a.completeRun(&o.record),
		Short:             "Begin a new run over the nodes of an earlier one that did not do it",
		Long: `retry begins a linked run. A node that may have got the earlier request is looked at first (read-only), and is sent to
only when it is proved untouched. Secrets are not in the record: give them again, as for req.`,
		Example: "  fleetctl runs retry last --failed --no-reply token=@token.txt",
		Args:    aRun(0),
		RunE: func(c *cobra.Command, args []string) error {
			if len(which.states()) == 0 {
				return usage(errors.New("retry which nodes?"), "say --failed, --no-reply, --not-sent or --unknown")
			}
			return a.goOn(c.Context(), &o, args, func(ctx context.Context, j *job, run storedRun) error {
				return j.retry(ctx, run, which.states())
			})
		},
	}
	f := c.Flags()
	f.BoolVar(&which.failed, "failed", false, "nodes that refused, or that nothing proved")
	f.BoolVar(&which.noReply, "no-reply", false, "nodes that did not reply")
	f.BoolVar(&which.notSent, "not-sent", false, "nodes whose turn never came")
	f.BoolVar(&which.unknown, "unknown", false, "nodes of which nobody knows whether the request left")
	o.addSplit(f)
	o.guard.add(f)
	o.addGoOn(f)
	return c
}

// addGoOn are req's flags that make sense for a run whose nodes and inputs are given.
func (o *reqOptions) addGoOn(f *pflag.FlagSet) {
	o.addSteps(f)
	o.output.add(f)
	o.proof.add(f)
	o.record.addDir(f)
}

// goOn is runStored, with an early error as a JSON line where those were asked for.
func (a *app) goOn(ctx context.Context, o *reqOptions, args []string, work func(context.Context, *job, storedRun) error) error {
	if err := o.output.choose(); err != nil {
		return err
	}
	return a.orLine(o, a.runStored(ctx, o, args, work))
}

// runStored makes a job of a run's record and of what is typed now, and does the work with it.
func (a *app) runStored(ctx context.Context, o *reqOptions, args []string, work func(context.Context, *job, storedRun) error) error {
	run, err := a.namedRun(o.record, args[0])
	if err != nil {
		return err
	}
	if run.live {
		return busy(run)
	}
	if err := o.fromRecord(run.meta, args[1:]); err != nil {
		return err
	}
	o.stored = true
	o.keepPace(run.progress)
	if err := o.validate(); err != nil {
		return err
	}
	if a.flags.config == "" {
		a.flags.config = run.meta.Config
	}
	j, err := a.newJob(ctx, *o)
	if err != nil {
		return err
	}
	defer j.network.close()
	j.network.federations = run.meta.Federations // whatever is configured by now: the nodes are there
	j.filtered = true                            // the nodes are chosen: by the first run
	return work(ctx, j, run)
}

// fromRecord fills in what the record knows; inputs may only be the secrets that it does not.
func (o *reqOptions) fromRecord(m runMeta, typed []string) error {
	given := reqOptions{}
	if err := given.arguments(append([]string{m.Agent, m.Action}, typed...)); err != nil {
		return err
	}
	o.agent, o.action, o.collective = m.Agent, m.Action, m.Collective
	o.inputs = map[string]string{}
	maps.Copy(o.inputs, m.Inputs)
	secret := map[string]bool{}
	for _, name := range m.Secrets {
		secret[name] = true
	}
	for k, v := range given.inputs {
		if !secret[k] {
			return usage(fmt.Errorf("input %q cannot be changed: the run was begun with its own", k), "begin a new run with `fleetctl req`")
		}
		o.inputs[k] = v
	}
	if p := &o.proof; p.Verify == verifyAuto && !p.None && p.Expr == "" && p.Version == "" {
		p.Verify, p.None, p.Expr, p.Version = m.Proof.Verify, m.Proof.None, m.Proof.Expr, m.Proof.Version
	}
	if !o.proof.Timeout.set && m.Timeout > 0 {
		o.proof.Timeout = seconds{d: m.Timeout, set: true}
	}
	if !o.proof.Settle.set && m.SettleSet {
		o.proof.Settle = seconds{d: m.Settle, set: true}
	}
	if !o.ttl.set {
		o.ttl = seconds{d: m.TTL, set: true}
	}
	return nil
}

// keepPace goes on as the run was begun, where nothing else is typed now.
func (o *reqOptions) keepPace(p batch.Progress) {
	pace, rules := p.Pace(), p.Rules()
	if !o.batchSleep.set {
		o.batchSleep = seconds{d: pace.Sleep, set: true}
	}
	if !o.replyTimeout.set {
		o.replyTimeout = seconds{d: pace.ReplyTimeout, set: true}
	}
	typed := o.rules(false)
	if typed == (batch.Rules{}) {
		o.maxFailed.Amount, o.maxNoReply.Amount, o.failFast = rules.MaxFailed, rules.MaxNoReply, rules.FailFast
		o.maxFailedBatch.Amount, o.maxNoReplyBatch.Amount = rules.MaxFailedBatch, rules.MaxNoReplyBatch
	}
}

// retry begins a new run over nodes of an earlier one.
func (j *job) retry(ctx context.Context, run storedRun, which []batch.State) error {
	_, token := j.action.Inputs["token"]
	policy, err := j.o.policy(token)
	if err != nil {
		return err
	}
	plan, err := batch.Retry(run.progress, which, policy, nil)
	if errors.Is(err, batch.ErrNoNodes) {
		return noNodes("the run has no nodes in these states: see `fleetctl runs show " + run.id + "`")
	}
	if err != nil {
		return usage(err, "")
	}
	plan.Notes = append(plan.Notes, j.federationNotes()...)
	return j.write(func() error {
		for _, b := range plan.Batches {
			j.found.Nodes = append(j.found.Nodes, b.Nodes...)
		}
		if j.o.dryRun {
			return j.writer.plan(plan, plan.Estimate(j.pace()))
		}
		if err := j.guard(ctx, plan); err != nil {
			return err
		}
		return j.begin(ctx, plan, run.id)
	})
}
