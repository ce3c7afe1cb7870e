package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/config"
	"fleetctl/internal/proof"
	"fleetctl/internal/render"
)

// guardOptions are the flags that hold a run back. The settings file can ask for the same.
type guardOptions struct {
	maxNodes      nodeCount
	expect        nodeCount
	expectFile    string
	yes, noInput  bool
	insecureToken bool
}

func (g *guardOptions) add(f *pflag.FlagSet) {
	g.addLimits(f)
	f.Var(&g.expect, "expect", "refuse unless exactly this many nodes were found")
	f.StringVar(&g.expectFile, "expect-file", "", "refuse unless exactly the nodes of `FILE` were found")
}

// addLimits are the guards of a run whose nodes are not looked for any more.
func (g *guardOptions) addLimits(f *pflag.FlagSet) {
	f.Var(&g.maxNodes, "max-nodes", "refuse a plan of more nodes")
	f.BoolVarP(&g.yes, "yes", "y", false, "answer every prompt with yes")
	f.BoolVar(&g.noInput, "no-input", false, "refuse instead of asking")
	f.BoolVar(&g.insecureToken, "insecure-token", false, "send secrets even without TLS")
}

// validate refuses a limit that no run can keep: a script that computed 0 must not go on without any.
func (g *guardOptions) validate() error {
	if g.maxNodes.set && g.maxNodes.n == 0 {
		return usage(errors.New("--max-nodes 0 allows no run"), "leave it out for no limit")
	}
	return nil
}

// refuse is a guard's no: nothing was sent.
func refuse(hint, format string, args ...any) error {
	return &exitError{code: exitGuard, err: fmt.Errorf(format, args...), hint: hint}
}

// settings reads fleetctl's own settings. No file means no limits, unless FLEETCTL_SETTINGS names one.
func (a *app) settings() (config.Settings, error) {
	path := a.settingsPath()
	s, err := config.LoadSettings(path)
	if _, named := a.getenv("FLEETCTL_SETTINGS"); errors.Is(err, fs.ErrNotExist) && !named {
		return config.Settings{}, nil
	}
	if err != nil {
		return s, usage(err, "mend "+path+", or name another with FLEETCTL_SETTINGS")
	}
	return s, nil
}

// guard runs after the plan is made and before anything is sent.
func (j *job) guard(ctx context.Context, plan batch.Plan) error {
	if err := j.expected(ctx); err != nil {
		return err
	}
	if len(plan.Batches) > 1 {
		if err := j.canConfirm(); err != nil {
			return err
		}
	}
	if !j.changes() {
		return nil
	}
	if err := j.excluded(); err != nil {
		return err
	}
	if err := j.limits(plan.Nodes()); err != nil {
		return err
	}
	if err := j.secretsAreSafe(ctx); err != nil {
		return err
	}
	return j.consent(ctx, plan)
}

// expected compares what was found with what should be there.
func (j *job) expected(ctx context.Context) error {
	g := j.o.guard
	if g.expect.set && len(j.found.Nodes) != g.expect.n {
		return refuse("look at `fleetctl discover` with the same filter", "cannot go on: expected %d nodes, found %d", g.expect.n, len(j.found.Nodes))
	}
	if g.expectFile == "" {
		return nil
	}
	want, err := discovery.ReadNodesFile(ctx, g.expectFile, j.app.in)
	if err != nil {
		return err
	}
	missing := without(want, j.found.Nodes)
	extra := without(j.found.Nodes, want)
	if len(missing)+len(extra) == 0 {
		return nil
	}
	var parts []string
	if len(missing) > 0 {
		parts = append(parts, fmt.Sprintf("%d missing: %s", len(missing), discovery.Fold(missing)))
	}
	if len(extra) > 0 {
		parts = append(parts, fmt.Sprintf("%d not expected: %s", len(extra), discovery.Fold(extra)))
	}
	return refuse("", "cannot go on: the nodes found are not those of %s: %s", g.expectFile, strings.Join(parts, "; "))
}

// excluded refuses a run whose --exclude spares none of the nodes: what it was to spare would be hit.
func (j *job) excluded() error {
	for _, e := range j.found.Excluded {
		if e.Idle() {
			return refuse("leave it out, or put names that need not be there into a file: --exclude @FILE", "cannot go on: %s", e.Note())
		}
	}
	return nil
}

// without is the nodes of one list that are not in another.
func without(nodes, others []string) []string {
	known := make(map[string]bool, len(others))
	for _, n := range others {
		known[n] = true
	}
	var out []string
	for _, n := range nodes {
		if !known[n] {
			out = append(out, n)
		}
	}
	return out
}

func (j *job) limits(nodes int) error {
	s := j.settings
	if s.ReadOnly {
		return refuse("read_only in "+j.app.settingsPath(), "cannot call %s#%s: only actions that change nothing are allowed here", j.o.agent, j.o.action)
	}
	if s.RequireFilter && !j.filtered {
		return refuse("require_filter in "+j.app.settingsPath()+": name the nodes with a filter or --nodes",
			"cannot call %s#%s on every node of the fleet", j.o.agent, j.o.action)
	}
	for _, max := range []int{j.o.guard.maxNodes.n, s.MaxNodes} {
		if max > 0 && nodes > max {
			return refuse("choose fewer nodes with a filter or --limit, or raise --max-nodes and max_nodes",
				"cannot %s %d nodes: limit is %d", verb(j.o.action), nodes, max)
		}
	}
	return nil
}

// secretsAreSafe refuses to send a secret where anybody on the way can read it.
func (j *job) secretsAreSafe(ctx context.Context) error {
	if len(j.inputs.secret) == 0 || j.o.guard.insecureToken || j.o.dryRun {
		return nil
	}
	if _, err := j.network.dial(ctx); err != nil {
		return err
	}
	if err := j.network.conn.Flush(ctx); err != nil { // a connection that is lost has no TLS either
		return err
	}
	if j.network.conn.Encrypted() || loopback(j.network.conn.URL()) {
		return nil
	}
	return refuse("use a broker with TLS, or --insecure-token if the network is yours alone",
		"cannot send a secret to %s: the connection has no TLS", j.network.conn.URL())
}

func loopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// question is what a prompt asks for.
type question uint8

const (
	noQuestion  question = iota
	yesQuestion          // y or N
	countNodes           // the number of nodes, typed
)

// ask tells what an action has to be asked for. Only shutdown also needs consent where nobody can be asked.
func (j *job) ask() (q question, always bool) {
	switch a := proof.Of(j.o.agent, j.o.action); {
	case a == proof.Shutdown:
		return countNodes, true
	case j.settings.Confirm:
		return yesQuestion, true
	case a == proof.Restart, a == proof.Reprovision:
		return yesQuestion, false
	}
	return noQuestion, false
}

// consent shows the plan at a terminal and asks; elsewhere scripts go ahead, except where they must say --yes.
func (j *job) consent(ctx context.Context, plan batch.Plan) error {
	q, always := j.ask()
	if q == noQuestion || j.o.guard.yes {
		return nil
	}
	k, err := j.app.asker()
	if err != nil || j.o.guard.noInput {
		if always || err == nil {
			return refuse("say --yes if you mean it", "cannot %s %d nodes without asking", verb(j.o.action), plan.Nodes())
		}
		return nil
	}
	defer k.close()
	if err := render.Plan(j.app.err, plan, plan.Estimate(j.pace()), j.planOptions(j.app.err)); err != nil {
		return err
	}
	fmt.Fprintln(j.app.err)
	ok, err := k.consents(ctx, q, j.o.action, plan.Nodes())
	if err != nil {
		return err
	}
	if !ok {
		return refuse("", "not confirmed: nothing was sent")
	}
	return nil
}

func (k *asker) consents(ctx context.Context, q question, action string, nodes int) (bool, error) {
	if q == countNodes {
		text, err := k.line(ctx, fmt.Sprintf("%s takes %d nodes off the network for good. Type the number of nodes to go on: ", action, nodes))
		return text == strconv.Itoa(nodes), err
	}
	return k.yes(ctx, fmt.Sprintf("%s %d nodes?", action, nodes))
}

// planOptions are how a plan is shown on a stream.
func (j *job) planOptions(w any) render.PlanOptions {
	o := render.PlanOptions{Guards: j.guards(), All: j.o.output.verbose}
	if j.app.terminal(w) {
		o.Width = j.app.width(w)
	}
	return o
}

// guards says what holds this run back, for people.
func (j *job) guards() []string {
	out := []string{}
	add := func(ok bool, format string, args ...any) {
		if ok {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	s, g, file := j.settings, j.o.guard, j.app.settingsPath()
	changes := j.changes()
	add(changes && s.ReadOnly, "refused: read_only in %s", file)
	add(changes && s.RequireFilter && !j.filtered, "refused without a filter: require_filter in %s", file)
	add(changes && s.MaxNodes > 0, "at most %d nodes: max_nodes in %s", s.MaxNodes, file)
	add(changes && g.maxNodes.set, "at most %d nodes: --max-nodes", g.maxNodes.n)
	add(g.expect.set, "exactly %d nodes: --expect", g.expect.n)
	add(g.expectFile != "", "exactly the nodes of %s: --expect-file", g.expectFile)
	q, always := j.ask()
	add(changes && !g.yes && q == countNodes, "asks for the number of nodes to be typed; without a terminal needs --yes")
	add(changes && !g.yes && q == yesQuestion && always, "asks before it begins (confirm in %s)", file)
	add(changes && !g.yes && q == yesQuestion && !always, "asks before it begins, at a terminal")
	r := j.o.rules(changes)
	add(!r.MaxFailed.IsZero(), "stops at %s failed", r.MaxFailed)
	add(r.FailFast, "stops at the first failure")
	add(!r.MaxNoReply.IsZero(), "stops at %s without a reply", r.MaxNoReply)
	add(!r.MaxFailedBatch.IsZero(), "stops at %s failed in one batch", r.MaxFailedBatch)
	add(!r.MaxNoReplyBatch.IsZero(), "stops at %s without a reply in one batch", r.MaxNoReplyBatch)
	add(r.StopWhenNothing, "stops when a whole batch comes to nothing")
	add(j.proves() != 0 && j.o.proof.Version == "", "proves each node: %s", j.proves())
	add(j.o.proof.Version != "", "proves each node: %s, and version %s", j.proves(), j.o.proof.Version)
	return out
}

// nodesFromStdin is what reads the nodes from stdin, "" where nothing does.
func (o *reqOptions) nodesFromStdin() string {
	if o.nodesFile == stdinValue {
		return "--nodes -"
	}
	for _, text := range o.do {
		if text == "file=-" || text == "file:-" {
			return "--do file=-"
		}
	}
	return ""
}

// stdinReaders names everything that would read stdin: two readers would each get half.
func (o *reqOptions) stdinReaders() []string {
	var who []string
	if nodes := o.nodesFromStdin(); nodes != "" {
		who = append(who, nodes)
	}
	if o.guard.expectFile == stdinValue {
		who = append(who, "--expect-file -")
	}
	for key, text := range o.inputs {
		if text == stdinValue && slices.Contains([]string{"token", "password", "secret"}, strings.ToLower(key)) {
			who = append(who, key+"=-")
		}
	}
	slices.Sort(who)
	return who
}

// verb is an action as one says it of nodes.
func verb(action string) string {
	if action == "shutdown" {
		return "shut down"
	}
	return action
}
