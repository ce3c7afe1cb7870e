package cmd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"fleetctl/batch"
	"fleetctl/internal/filter"
	"fleetctl/internal/lease"
	"fleetctl/internal/run"
)

// reqOptions are the flags of `fleetctl req`, and of the commands that resume and retry its runs.
type reqOptions struct {
	targets targets
	output  reqOutput
	guard   guardOptions
	proof   proofOptions
	record  recordOptions
	gates   gateOptions

	agent, action string
	inputs        map[string]string // as typed

	batch        string
	mode         string
	canary       canaryFlag
	spreadBy     string
	maxPer       []string
	lastIf       string
	confirmEach  bool
	within       string
	notSince     seconds
	outside      string
	batchSleep   seconds
	replyTimeout seconds
	deadline     seconds
	ttl          seconds
	workers      int

	maxFailed, maxNoReply, maxAbsent, maxFailedBatch, maxNoReplyBatch amountFlag

	failFast bool
	dryRun   bool
	detach   bool
	savePlan string
	planLife seconds
	onEvent  string
	shared   sharedOptions

	replyTo string // where replies go in place of here

	words   []string       // the command and its arguments, without inputs
	flags   *pflag.FlagSet // those that were typed are Changed
	driven  *driven        // in the process that --detach starts
	request run.Request    // all flags as one value; set by validate
}

// addSplit adds the flags that split nodes into batches. A resumed run keeps its batches.
func (o *reqOptions) addSplit(f *pflag.FlagSet) {
	f.StringVar(&o.batch, "batch", "", "batch size: `N`, P%, or a list such as 1,10,5%; the last of a list repeats")
	f.StringVar(&o.mode, "mode", modeBarrier, "`MODE`: barrier or rolling; barrier: the next batch begins when the last one is over; rolling: --batch nodes in flight, the next starts when one is proved")
	completeWith(f, "mode", modeBarrier, modeRolling)
	f.Var(&o.canary, "canary", "begin with a batch of N nodes; 0 for none; an action that takes a token begins with 1")
	f.StringVar(&o.spreadBy, "spread-by", "", "spread every batch over the values of `FACT`; rolling: the next node is of the least loaded value")
	f.StringVar(&o.lastIf, "last-if", "", "nodes for which `EXPR` holds go last, in batches of their own: 'fact(\"role\") == \"leader\"', as --select has it")
	f.Var((*texts)(&o.maxPer), "max-per", "at most N nodes with one value of a fact in a batch, or (rolling) in flight at any moment: `FACT=N`")
}

// The values of --mode.
const (
	modeBarrier = "barrier"
	modeRolling = "rolling"
)

// addSteps adds the flags that set the pace and the stop rules.
func (o *reqOptions) addSteps(f *pflag.FlagSet) {
	f.BoolVar(&o.confirmEach, "confirm-each", false, "ask between batches")
	f.Var(&o.batchSleep, "batch-sleep", "wait between batches (1s); counted from the replies of a batch; rolling: keep a slot empty this long after a proof")
	f.Var(&o.replyTimeout, "reply-timeout", "wait this long for a batch's replies (the agent's timeout and 2s)")
	f.Var(&o.deadline, "deadline", "start no batch after this time")
	f.StringVar(&o.within, "within", "", "begin batches only within these `HOURS` of the week, such as 'Mon-Fri 01:00-05:00 Europe/Malta'; several are separated by semicolons; always for no limit")
	f.Var(&o.notSince, "not-since", "leave out nodes whose process started within this time, such as 24h")
	f.StringVar(&o.outside, "outside", string(run.OutsideWait), "`HOW` the run behaves outside of --within: wait or stop")
	completeWith(f, "outside", string(run.OutsideWait), string(run.OutsideStop))
	f.Var(&o.ttl, "ttl", "servers drop the request when it is older than this (30s)")
	f.Var(&o.maxFailed, "max-failed", "stop when this many nodes have failed")
	f.Var(&o.maxNoReply, "max-no-reply", "stop when this many nodes have not replied")
	f.Var(&o.maxAbsent, "max-absent", "stop when this many nodes are not connected")
	f.Var(&o.maxFailedBatch, "max-failed-batch", "stop when this many nodes of one batch have failed")
	f.Var(&o.maxNoReplyBatch, "max-no-reply-batch", "stop when this many nodes of one batch have not replied")
	o.gates.add(f)
	f.BoolVar(&o.failFast, "fail-fast", false, "stop at the first failure")
	f.BoolVar(&o.dryRun, "dry-run", false, "show the plan and stop")
	o.addDetach(f)
	f.StringVar(&o.onEvent, onEventFlag, "", "run the shell `COMMAND` when the run begins or ends; also when it pauses, continues and stops, with JSON on its stdin; \"none\" turns it off")
	f.IntVar(&o.workers, "workers", 3, "accepted for compatibility with choria; has no effect")
	_ = f.MarkHidden("workers")
}

// addDetach adds the flag that leaves a run to a background process.
func (o *reqOptions) addDetach(f *pflag.FlagSet) {
	f.BoolVar(&o.detach, "detach", false, "leave the run to a background process; it outlives the terminal, and begins after the plan and the questions; prints the run's id")
}

// gateOptions are the flags of what is asked before the first batch and after each one.
type gateOptions struct {
	commands, queries         []string
	server                    string
	stable, every, wait, time seconds
	collateral                nodeCount
}

func (g *gateOptions) add(f *pflag.FlagSet) {
	f.StringArrayVar(&g.commands, "gate", nil, "run the shell `COMMAND` before the first batch and after each; 0 continues, 6, 8, 9, 75, 124, 126 and more pause, others stop the run; all gates must pass")
	f.StringArrayVar(&g.queries, "gate-promql", nil, "also ask Prometheus: `EXPR` must give one number other than 0")
	f.StringVar(&g.server, "prometheus", "", "`URL` of the Prometheus server (or prometheus in the settings)")
	f.Var(&g.collateral, "max-collateral", "stop when more than `N` starts and ends of other nodes are heard between two batches")
	f.Var(&g.stable, "gate-for", "gates must pass at every look for this long")
	f.Var(&g.every, "gate-every", "how long to wait before gates are asked again (10s)")
	f.Var(&g.wait, "gate-wait", "how long gates may be inconclusive before the run stops (10m)")
	f.Var(&g.time, "gate-timeout", "how long one gate may take to answer; then it is inconclusive (30s)")
}

func (g *gateOptions) value() run.Gates {
	return run.Gates{Commands: g.commands, Queries: g.queries, Server: g.server, Collateral: g.collateral.count(), For: g.stable.wait(), Every: g.every.wait(), Wait: g.wait.wait(), Timeout: g.time.wait()}
}

// guardOptions are the flags that can refuse a run. The settings file can set the same limits.
type guardOptions struct {
	maxNodes      nodeCount
	expect        nodeCount
	expectFile    string
	yes, noInput  bool
	insecureToken bool
	allowExpiring bool
}

func (g *guardOptions) add(f *pflag.FlagSet) {
	g.addLimits(f)
	f.Var(&g.expect, "expect", "refuse unless exactly this many nodes were found")
	f.StringVar(&g.expectFile, "expect-file", "", "refuse unless exactly the nodes of `FILE` were found")
}

// addLimits adds the guards of a run whose nodes are known.
func (g *guardOptions) addLimits(f *pflag.FlagSet) {
	f.Var(&g.maxNodes, "max-nodes", "refuse a plan of more nodes")
	f.BoolVarP(&g.yes, "yes", "y", false, "answer every prompt with yes")
	f.BoolVar(&g.noInput, "no-input", false, "refuse instead of asking")
	f.BoolVar(&g.insecureToken, "insecure-token", false, "send secrets even without TLS")
	f.BoolVar(&g.allowExpiring, "allow-expiring", false, "restart nodes whose token expires before the run ends: they lose their identity")
}

// proofOptions are the flags of the proof that nodes did what they accepted.
type proofOptions struct {
	verify, expr, version string
	none                  bool
	timeout, settle       seconds
}

func (p *proofOptions) add(f *pflag.FlagSet) {
	f.StringVar(&p.verify, "verify", run.VerifyAuto, "`HOW` to prove what nodes did: auto, none, or a read-only AGENT#ACTION")
	completeWith(f, "verify", run.VerifyAuto, run.VerifyNone)
	f.BoolVar(&p.none, "no-verify", false, "trust the replies")
	f.StringVar(&p.expr, "verify-expr", "", "`EXPR` that the reply of --verify AGENT#ACTION (restart, reprovision: of rpcutil#daemon_stats) must satisfy, such as 'data(\"version\") == \"0.29.4\"'")
	f.StringVar(&p.version, "verify-version", "", "also require that nodes return with version `V`; after restart, reprovision and release_update; for reprovision, raise --verify-timeout (such as 5m)")
	f.Var(&p.timeout, "verify-timeout", "how long to look for proof, counted from the end of the delay that a node announced (60s); for release_update, from the time the request was sent (5m)")
	f.Var(&p.settle, "settle", "how long a proof must last (restart 0s, shutdown 25s)")
}

// sharedOptions are the flags of what runs of several operators share.
type sharedOptions struct {
	locks   []string
	wait    seconds
	mirror  bool
	timeout seconds
	maxDown []string
	room    seconds
}

func (s *sharedOptions) add(f *pflag.FlagSet) {
	f.StringArrayVar(&s.locks, "lock", nil, "hold the lock `NAME`: no other run with it sends; the brokers' streams keep it")
	f.Var(&s.wait, "lock-wait", "wait this long for a lock that another holds (0s)")
	f.BoolVar(&s.mirror, "share", false, "share the run's record on the brokers' streams; operators elsewhere can follow, pause, stop and adopt the run")
	f.Var(&s.timeout, "share-timeout", "stop the run when the shared record cannot be written for this long (60s)")
	f.Var((*texts)(&s.maxDown), "max-down", "let at most `N` nodes be down at once, or with FACT=N nodes with one value of a fact, with those of all runs that keep such a limit")
	f.Var(&s.room, "budget-wait", "wait this long for room below --max-down and shared limits (10m)")
}

func (s *sharedOptions) value() (run.Shared, error) {
	shared := run.Shared{Locks: s.locks, Wait: s.wait.wait(), BudgetWait: s.room.wait(), Mirror: s.mirror, Timeout: s.timeout.wait()}
	if len(s.maxDown) == 0 {
		return shared, nil
	}
	var err error
	if shared.MaxDown, err = lease.ParseLimits(s.maxDown, false); err != nil {
		return shared, usage(fmt.Errorf("--max-down: %w", err), "")
	}
	return shared, nil
}

// recordOptions are the flags that choose whether and where a run is recorded.
type recordOptions struct {
	dir    string
	off    bool
	on     bool
	resume bool
	trust  bool
}

func (r *recordOptions) add(f *pflag.FlagSet) {
	r.addDir(f)
	f.BoolVar(&r.off, "no-journal", false, "keep no record: nothing can be resumed, retried or looked up afterwards")
	f.BoolVar(&r.on, "journal", false, "keep a record of an action that changes nothing, too")
	f.BoolVar(&r.resume, "resume", false, "resume this command's interrupted run; begin a new one if there is none")
	r.addTrust(f)
}

// addTrust is the flag of what resumes and retries.
func (r *recordOptions) addTrust(f *pflag.FlagSet) {
	f.BoolVar(&r.trust, "trust-record", false, "treat a record that looks like a copy as complete")
}

func (r *recordOptions) addDir(f *pflag.FlagSet) {
	f.StringVar(&r.dir, "state-dir", "", "`FOLDER` of the runs' records (or FLEETCTL_STATE_DIR)")
}

// reqOutput are the flags that choose what of the result is shown, and how.
type reqOutput struct {
	formatFlags
	verbose, sort bool
	display       string
	file          string
	filter        string            // --filter-replies
	expr          *filter.ReplyExpr // the same, compiled; nil shows every reply
}

func (o *reqOutput) add(f *pflag.FlagSet) {
	o.formatFlags.add(f)
	f.StringVar(&o.filter, "filter-replies", "", "show only the replies that `EXPR` holds for, such as 'ok() && data(\"pid\") > 1'; the others still count in the verdict")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show everything")
	f.BoolVar(&o.sort, "sort", false, "sort the replies by node")
	f.StringVar(&o.display, "display", "", "`WHICH` replies to show: ok, failed, all or none")
	completeWith(f, "display", displays...)
	f.StringVarP(&o.file, "output-file", "o", "", "write the result to `FILE`")
}

// compile compiles the expression before the run starts.
func (o *reqOutput) compile() (err error) {
	if o.filter == "" {
		return nil
	}
	if o.expr, err = filter.CompileReply(o.filter); err != nil {
		return usage(fmt.Errorf("--filter-replies: %w", err), "")
	}
	return nil
}

// value is the flags as a value.
func (o *reqOptions) value() (run.Request, error) {
	policy, err := o.policy()
	if err != nil {
		return run.Request{}, err
	}
	t, err := o.targets.value()
	if err != nil {
		return run.Request{}, err
	}
	shared, err := o.shared.value()
	if err != nil {
		return run.Request{}, err
	}
	g, p := &o.guard, &o.proof
	return run.Request{
		Agent: o.agent, Action: o.action, Inputs: o.inputs, Targets: t, Policy: policy, DryRun: o.dryRun, ReplyTo: o.replyTo, Detach: o.detach,
		Save: run.Saving{File: o.savePlan, Life: o.planLife.wait()},
		Pace: run.Pace{
			Sleep: o.batchSleep.wait(), ReplyTimeout: o.replyTimeout.wait(), Deadline: o.deadline.wait(), TTL: o.ttl.wait(),
			ConfirmEach: run.Wish{On: o.confirmEach, Set: o.flags != nil && o.flags.Changed("confirm-each")},
			Hours:       o.hours(), NotSince: o.notSince.wait(),
		},
		Rules: batch.Rules{
			MaxFailed: o.maxFailed.Amount, MaxNoReply: o.maxNoReply.Amount, MaxAbsent: o.maxAbsent.Amount, MaxFailedBatch: o.maxFailedBatch.Amount,
			MaxNoReplyBatch: o.maxNoReplyBatch.Amount, FailFast: o.failFast,
		},
		Guards: run.Guards{
			MaxNodes: g.maxNodes.count(), Expect: g.expect.count(), ExpectFile: g.expectFile, Yes: g.yes, NoInput: g.noInput, InsecureToken: g.insecureToken,
			AllowExpiring: g.allowExpiring,
		},
		Gates: o.gates.value(),
		Proof: run.Proof{
			Verify: p.verify, None: p.none, Expr: p.expr, Version: p.version, Timeout: p.timeout.wait(), Settle: p.settle.wait(),
		},
		Record:   run.Record{Off: o.record.off, On: o.record.on, Resume: o.record.resume, Trust: o.record.trust},
		Shared:   shared,
		Protocol: o.output.streams(),
		Typed:    run.Typed{Words: o.words, Flags: typedFlags(o.flags)},
	}, nil
}

// hours are the hours in which batches may begin.
func (o *reqOptions) hours() run.Hours {
	h := run.Hours{Within: batch.Hours(strings.TrimSpace(o.within)), Set: o.within != ""}
	if strings.EqualFold(o.within, "always") {
		h.Within = ""
	}
	if o.flags != nil && o.flags.Changed("outside") { // a resume keeps what the run was begun with
		h.Outside = run.Outside(o.outside)
	}
	return h
}

// typedFlags are the flags that were typed, in the order of their names, each with its value. None holds a secret.
func typedFlags(flags *pflag.FlagSet) []string {
	var out []string
	if flags == nil {
		return nil
	}
	flags.VisitAll(func(f *pflag.Flag) { // not Visit: the flags of every command are parsed in another set
		if !f.Changed || f.Name == onEventFlag {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand
		}
		switch list, many := f.Value.(pflag.SliceValue); {
		case many:
			for _, v := range list.GetSlice() {
				out = append(out, name, v)
			}
		case f.Value.Type() == "bool" && f.Value.String() == "true":
			out = append(out, name)
		case f.Value.Type() == "bool":
			out = append(out, name+"="+f.Value.String())
		default:
			out = append(out, name, f.Value.String())
		}
	})
	return out
}

// policy turns the flags into the policy of the planner.
func (o *reqOptions) policy() (batch.Policy, error) {
	sizes, err := batch.ParseSizes(o.batch)
	if err != nil {
		return batch.Policy{}, usage(err, "")
	}
	if o.mode != modeBarrier && o.mode != modeRolling && o.mode != "" { // runs resume has no --mode
		return batch.Policy{}, usage(fmt.Errorf("unknown --mode %q", o.mode), "use barrier or rolling")
	}
	p := batch.Policy{Rolling: o.mode == modeRolling, Sizes: sizes, Canary: o.canary.policy(), SpreadBy: o.spreadBy, LastIf: o.lastIf}
	for _, text := range o.maxPer {
		fact, count, ok := strings.Cut(text, "=")
		n, err := strconv.Atoi(count)
		if !ok || err != nil {
			return p, usage(fmt.Errorf("--max-per %q is not FACT=N", text), "")
		}
		p.MaxPer = append(p.MaxPer, batch.MaxPer{Fact: fact, N: n})
	}
	return p, nil
}
