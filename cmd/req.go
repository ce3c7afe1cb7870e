package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/batch"
	"fleetctl/internal/filter"
)

// reqOptions are the flags of `fleetctl req`.
type reqOptions struct {
	targets
	output reqOutput
	guard  guardOptions
	proof  proofOptions
	record recordOptions

	agent, action string
	inputs        map[string]string // as typed
	command       []string          // the arguments, without secrets

	batch        string
	canary       canaryFlag
	spreadBy     string
	maxPer       []string
	confirmEach  bool
	batchSleep   seconds
	replyTimeout seconds
	deadline     seconds
	ttl          seconds
	workers      int

	maxFailed, maxNoReply, maxFailedBatch, maxNoReplyBatch amountFlag
	failFast                                               bool
	dryRun                                                 bool
	stored                                                 bool // what a recorded run leaves is meant

	replyTo string // where replies go in place of here
}

// reqOutput says what of the result is shown, and how.
type reqOutput struct {
	formatFlags
	verbose, sort bool
	display       string
	file          string
	filter        string            // --filter-replies
	expr          *filter.ReplyExpr // the same, compiled; nil shows every reply
}

// amountFlag is a batch.Amount on the command line: 20 or 5%.
type amountFlag struct{ batch.Amount }

// Set implements pflag.Value.
func (f *amountFlag) Set(text string) (err error) {
	f.Amount, err = batch.ParseAmount(text)
	return err
}

// Type implements pflag.Value.
func (f *amountFlag) Type() string { return "N|P%" }

// nodeCount is a number of nodes that was given, or was not: 0 is not the same as nothing.
type nodeCount struct {
	n   int
	set bool
}

// Set implements pflag.Value.
func (c *nodeCount) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a number of nodes", text)
	}
	c.n, c.set = n, true
	return nil
}

// String implements pflag.Value.
func (c *nodeCount) String() string {
	if !c.set {
		return ""
	}
	return strconv.Itoa(c.n)
}

// Type implements pflag.Value.
func (c *nodeCount) Type() string { return "N" }

// canaryFlag is the size of a first small batch; 0 turns off the one that token actions have of themselves.
type canaryFlag struct{ nodeCount }

// policy is what the planner calls it.
func (c *canaryFlag) policy() int {
	if c.set && c.n == 0 {
		return batch.CanaryOff
	}
	return c.n
}

// defaultSleep is upstream's: a second between batches when none is named.
const defaultSleep = time.Second

func (a *app) newReq() *cobra.Command {
	var o reqOptions
	c := &cobra.Command{
		Use:     "req AGENT ACTION [key=value...]",
		Aliases: []string{"rpc", "request"},
		Short:   "Ask the chosen nodes for an action, in batches",
		Example: `  fleetctl req rpcutil ping -F country=mt
  fleetctl req choria_provision restart token=s3cret --batch 100 --batch-sleep 30
  fleetctl req rpcutil get_fact fact=os.family --json`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeRequest,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.arguments(args); err != nil {
				return err
			}
			if err := o.validate(); err != nil {
				return a.orLine(&o, err)
			}
			return a.orLine(&o, a.runReq(c.Context(), o))
		},
	}
	f := c.Flags()
	o.addFilter(f)
	a.addFederations(f)
	o.addSource(f)
	o.addLimit(f)
	o.addSplit(f)
	o.addSteps(f)
	o.output.add(f)
	o.guard.add(f)
	o.proof.add(f)
	o.record.add(f)
	f.StringVarP(&o.replyTo, "reply-to", "r", "", "have the replies sent to `SUBJECT`, wait for none, print the request's id")
	return c
}

// addSplit are the flags that make batches of nodes. A run that is gone on with has its batches.
func (o *reqOptions) addSplit(f *pflag.FlagSet) {
	f.StringVar(&o.batch, "batch", "", "batch size: `N`, P%, or a list such as 1,10,5% whose last repeats")
	f.Var(&o.canary, "canary", "begin with a batch of N nodes; 0 for none (an action that takes a token begins with 1)")
	f.StringVar(&o.spreadBy, "spread-by", "", "spread every batch over the values of `FACT`")
	f.StringArrayVar(&o.maxPer, "max-per", nil, "at most N nodes with one value of a fact in a batch: `FACT=N`")
}

// addSteps are the flags of the way from batch to batch.
func (o *reqOptions) addSteps(f *pflag.FlagSet) {
	f.BoolVar(&o.confirmEach, "confirm-each", false, "ask between batches")
	o.addPace(f)
	o.addRules(f)
	f.BoolVar(&o.dryRun, "dry-run", false, "show the plan and stop")
	f.IntVar(&o.workers, "workers", 3, "understood and not needed")
	_ = f.MarkHidden("workers")
}

func (o *reqOptions) addPace(f *pflag.FlagSet) {
	f.Var(&o.batchSleep, "batch-sleep", "wait between batches, since the last one's replies were in (1s)")
	f.Var(&o.replyTimeout, "reply-timeout", "wait this long for a batch's replies (the agent's timeout and 2s)")
	f.Var(&o.deadline, "deadline", "begin no batch after this long")
	f.Var(&o.ttl, "ttl", "servers drop the request when it is older than this (30s)")
}

func (o *reqOptions) addRules(f *pflag.FlagSet) {
	f.Var(&o.maxFailed, "max-failed", "stop when this many nodes have failed")
	f.Var(&o.maxNoReply, "max-no-reply", "stop when this many nodes have not replied")
	f.Var(&o.maxFailedBatch, "max-failed-batch", "stop when this many nodes of one batch have failed")
	f.Var(&o.maxNoReplyBatch, "max-no-reply-batch", "stop when this many nodes of one batch have not replied")
	f.BoolVar(&o.failFast, "fail-fast", false, "stop at the first failure")
}

func (o *reqOutput) add(f *pflag.FlagSet) {
	o.formatFlags.add(f)
	f.StringVar(&o.filter, "filter-replies", "", "show only the replies that `EXPR` holds for, such as 'ok() && data(\"pid\") > 1'; the others still count in the verdict")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show everything")
	f.BoolVar(&o.sort, "sort", false, "sort the replies by node")
	f.StringVar(&o.display, "display", "", "`WHICH` replies to show: ok, failed, all or none")
	f.StringVarP(&o.file, "output-file", "o", "", "write the result to `FILE`")
}

// arguments reads AGENT ACTION and the inputs. The first : or = splits a key from its value, as upstream has it.
func (o *reqOptions) arguments(args []string) error {
	if len(args) < 2 {
		return usage(errors.New("which agent and action?"), "write `fleetctl req AGENT ACTION [key=value...]`")
	}
	o.agent, o.action = args[0], args[1]
	o.inputs = map[string]string{}
	for _, arg := range args[2:] {
		at := strings.IndexAny(arg, ":=")
		if at < 1 {
			return usage(fmt.Errorf("input %d is not key=value", len(o.inputs)+1), "write inputs as key=value after the action")
		}
		key := arg[:at]
		if _, twice := o.inputs[key]; twice {
			return usage(fmt.Errorf("input %q is given twice", key), "")
		}
		o.inputs[key] = arg[at+1:]
	}
	return nil
}

// displays are the words that --display takes.
var displays = []string{"", "ok", "failed", "all", "none"}

// validate settles the format and compiles the expression: one that does not compile hides no reply later.
func (o *reqOutput) validate() error {
	if !slices.Contains(displays, o.display) {
		return usage(fmt.Errorf("cannot display %q", o.display), "use ok, failed, all or none")
	}
	if err := o.choose(); err != nil {
		return err
	}
	if o.filter == "" {
		return nil
	}
	var err error
	if o.expr, err = filter.CompileReply(o.filter); err != nil {
		return usage(fmt.Errorf("--filter-replies: %w", err), "")
	}
	return nil
}

func (o *reqOptions) validate() error {
	if err := o.output.validate(); err != nil {
		return err
	}
	if _, err := batch.ParseSizes(o.batch); err != nil {
		return usage(err, "")
	}
	if o.replyTimeout.set && o.replyTimeout.d == 0 {
		return usage(errors.New("--reply-timeout 0 waits for no reply"), "")
	}
	if o.ttl.set && (o.ttl.d < time.Second || o.ttl.d%time.Second != 0) {
		return usage(fmt.Errorf("--ttl %s: servers count whole seconds, from 1", o.ttl.d), "")
	}
	if who := o.stdinReaders(); len(who) > 1 {
		return usage(fmt.Errorf("%s all read stdin", strings.Join(who, " and ")), "give one of them a file")
	}
	if err := o.validateReplyTo(); err != nil {
		return err
	}
	if who := o.nodesFromStdin(); o.record.resume && who != "" {
		return usage(fmt.Errorf("--resume cannot tell whether %s brings the same nodes", who), "name the run: `fleetctl runs resume RUN`")
	}
	if err := o.guard.validate(); err != nil {
		return err
	}
	if o.record.off && (o.record.on || o.record.resume) {
		return usage(errors.New("--no-journal excludes --journal and --resume"), "")
	}
	if _, err := o.policy(false); err != nil {
		return err
	}
	return o.proof.validate(o.agent, o.action)
}

// policy is how the nodes become batches.
func (o *reqOptions) policy(takesToken bool) (batch.Policy, error) {
	sizes, err := batch.ParseSizes(o.batch)
	if err != nil {
		return batch.Policy{}, usage(err, "")
	}
	p := batch.Policy{Sizes: sizes, Canary: o.canary.policy(), TakesToken: takesToken && o.replyTo == "", SpreadBy: o.spreadBy}
	for _, text := range o.maxPer {
		fact, count, ok := strings.Cut(text, "=")
		n, err := strconv.Atoi(count)
		if !ok || err != nil {
			return p, usage(fmt.Errorf("--max-per %q is not FACT=N", text), "")
		}
		p.MaxPer = append(p.MaxPer, batch.MaxPer{Fact: fact, N: n})
	}
	if err := p.Validate(); err != nil {
		return p, usage(err, "")
	}
	return p, nil
}

func (o *reqOptions) rules(changes bool) batch.Rules {
	return batch.Rules{
		MaxFailed: o.maxFailed.Amount, MaxNoReply: o.maxNoReply.Amount, MaxFailedBatch: o.maxFailedBatch.Amount,
		MaxNoReplyBatch: o.maxNoReplyBatch.Amount, FailFast: o.failFast, StopWhenNothing: changes,
	}
}

func (o *reqOptions) pace(replies time.Duration) batch.Pace {
	return batch.Pace{
		Sleep: o.batchSleep.or(defaultSleep), ReplyTimeout: o.replyTimeout.or(replies), Deadline: o.deadline.d, ConfirmEach: o.confirmEach,
	}
}
