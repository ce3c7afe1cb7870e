package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/fleet"
	"fleetctl/internal/proof"
)

// passage is what is about to pass the guards: a plan, or what is left of one.
type passage struct {
	plan     batch.Plan
	nodes    int      // that may be sent to; 0 when only proof is missing
	found    []string // by discovery; of a resumed run: when it began
	excluded []discovery.Exclusion
	open     []string // nodes that were sent to and may be sent to again, once a probe has proved them untouched
	run      string   // that is resumed; "" for a new one
	copied   string   // why the record of that may be a copy that lags; "" when nothing hints at one
}

// door is what every request passes before anything is sent.
type door struct{ *call }

// guard is one thing that can hold a run back. The table below is all there are.
type guard struct {
	name string
	// consent tells that the guard asks the operator: a dry run does not.
	consent bool
	// applies tells whether the guard looks at this call at all.
	applies func(c door) bool
	// says is its sentence in the plan; nil or "" for none.
	says func(c door) string
	// check refuses what may not pass. nil: the guard is only a sentence.
	check func(ctx context.Context, c door, p passage) error
}

const secretsGuard = "secrets"

// guards are judged in this order, after the plan is made and before anything is sent. Consent comes last.
func guards() []guard {
	return []guard{
		{
			name:    "read_only",
			applies: func(c door) bool { return c.changes() && c.Settings.ReadOnly },
			says:    func(c door) string { return "refused: read_only in " + c.SettingsFile },
			check: func(_ context.Context, c door, _ passage) error {
				return refuse("read_only in "+c.SettingsFile, "cannot call %s#%s: only actions that change nothing are allowed here", c.req.Agent, c.req.Action)
			},
		},
		{
			name:    "require_filter",
			applies: func(c door) bool { return c.changes() && c.Settings.RequireFilter && !c.chosen && !c.service() },
			says:    func(c door) string { return "refused without a filter: require_filter in " + c.SettingsFile },
			check: func(_ context.Context, c door, _ passage) error {
				return refuse("require_filter in "+c.SettingsFile+": name the nodes with a filter or --nodes",
					"cannot call %s#%s on every node of the fleet", c.req.Agent, c.req.Action)
			},
		},
		{
			name: "require_client_filter",
			applies: func(c door) bool {
				return c.about.RequireFilter && !c.req.stored && c.req.plan == nil && !c.service() && !c.req.Targets.Narrowed()
			},
			says: func(c door) string {
				return "refused without a filter: plugin.choria.require_client_filter in " + c.about.ConfigFile
			},
			check: func(_ context.Context, c door, _ passage) error {
				return &fleet.FilterRequiredError{File: c.about.ConfigFile}
			},
		},
		{
			name:    "max_nodes",
			applies: func(c door) bool { return c.changes() && c.Settings.MaxNodes > 0 },
			says: func(c door) string {
				return fmt.Sprintf("at most %s: max_nodes in %s", countNoun(c.Settings.MaxNodes, "node"), c.SettingsFile)
			},
			check: func(_ context.Context, c door, p passage) error { return c.atMost(c.Settings.MaxNodes, p.nodes) },
		},
		{
			name:    "--max-nodes",
			applies: func(c door) bool { return c.changes() && c.req.Guards.MaxNodes.Set },
			says: func(c door) string {
				return fmt.Sprintf("at most %s: --max-nodes", countNoun(c.req.Guards.MaxNodes.N, "node"))
			},
			check: func(_ context.Context, c door, p passage) error { return c.atMost(c.req.Guards.MaxNodes.N, p.nodes) },
		},
		{
			name:    "--expect",
			applies: func(c door) bool { return c.req.Guards.Expect.Set },
			says: func(c door) string {
				return fmt.Sprintf("exactly %s: --expect", countNoun(c.req.Guards.Expect.N, "node"))
			},
			check: func(_ context.Context, c door, p passage) error {
				if want := c.req.Guards.Expect.N; len(p.found) != want {
					return refuse("look at `fleetctl discover` with the same filter", "cannot go on: expected %s, found %d", countNoun(want, "node"), len(p.found))
				}
				return nil
			},
		},
		{
			name:    "--expect-file",
			applies: func(c door) bool { return c.req.Guards.ExpectFile != "" },
			says: func(c door) string {
				return fmt.Sprintf("exactly the nodes of %s: --expect-file", c.req.Guards.ExpectFile)
			},
			check: func(ctx context.Context, c door, p passage) error { return c.expectFile(ctx, p) },
		},
		{
			name:    "--exclude",
			applies: func(c door) bool { return c.changes() && len(c.req.Targets.Exclude) > 0 },
			check: func(_ context.Context, _ door, p passage) error {
				for _, e := range p.excluded {
					if e.Idle() { // what it was to spare would be hit
						return refuse("leave it out, or put names that need not be there into a file: --exclude @FILE", "cannot go on: %s", e.Note())
					}
				}
				return nil
			},
		},
		{
			name:    "--trust-record",
			applies: func(c door) bool { return c.lagging && c.proves() == 0 },
			check: func(_ context.Context, _ door, p passage) error {
				return refuse("compare with the original record; if nothing is missing in this one: --trust-record",
					"cannot resume run %s: its record may be a copy that lags (%s), and nothing can show what was really sent", p.run, p.copied)
			},
		},
		{
			name:    "--confirm-each",
			applies: func(c door) bool { return c.req.Pace.ConfirmEach.On && !c.req.Guards.Yes },
			check:   func(_ context.Context, c door, p passage) error { return c.canConfirm(p) },
		},
		{
			name:    secretsGuard,
			applies: func(c door) bool { return len(c.secretNames()) > 0 && !c.req.Guards.InsecureToken },
			check:   func(ctx context.Context, c door, _ passage) error { return c.secretsArePrivate(ctx) },
		},
		{
			name:    "--allow-expiring",
			applies: func(c door) bool { return tokenWatch(c).matter() },
			says: func(c door) string {
				if c.req.Guards.AllowExpiring {
					return "restarts nodes whose token ends soon, too, which costs them their identity: --allow-expiring"
				}
				return "refused while a node's token ends before the run does"
			},
			check: func(ctx context.Context, c door, p passage) error {
				if c.req.Guards.AllowExpiring {
					return nil
				}
				return tokenWatch(c).expiring(ctx, p)
			},
		},
		{
			name:    "approvals",
			applies: func(c door) bool { return c.changes() && len(c.Settings.Approvals) > 0 },
			says:    door.approvalsText,
			check:   func(_ context.Context, c door, p passage) error { return c.approvals(p) },
			consent: true,
		},
		{
			name:    "consent",
			applies: func(c door) bool { return c.changes() && !c.req.Guards.Yes },
			says:    door.consentText,
			check:   func(ctx context.Context, c door, p passage) error { return c.consent(ctx, p) },
			consent: true,
		},
	}
}

// guarded tells whether a guard of the table applies.
func (c door) guarded(name string) bool {
	for _, g := range guards() {
		if g.name == name {
			return g.applies(c)
		}
	}
	return false
}

// sentences say what holds this run back, one sentence each: the guards, the stop rules, the proof.
func (c door) sentences(rolling bool) []string {
	out := []string{}
	if c.Settings.Site != "" {
		out = append(out, "site "+c.Settings.Site)
	}
	for _, g := range guards() {
		if g.says != nil && g.applies(c) {
			if text := g.says(c); text != "" {
				out = append(out, text)
			}
		}
	}
	return append(append(out, ruleSentences(c.rules(), rolling)...), c.proofSentences()...)
}

func ruleSentences(r batch.Rules, rolling bool) []string {
	var out []string
	add := func(ok bool, format string, args ...any) {
		if ok {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(!r.MaxFailed.IsZero(), "stops at %s failed", r.MaxFailed)
	add(r.FailFast, "stops at the first failure")
	add(!r.MaxNoReply.IsZero(), "stops at %s without a reply", r.MaxNoReply)
	add(!r.MaxAbsent.IsZero(), "stops at %s absent", r.MaxAbsent)
	add(!r.MaxFailedBatch.IsZero(), "stops at %s failed in one batch", r.MaxFailedBatch)
	add(!r.MaxNoReplyBatch.IsZero(), "stops at %s without a reply in one batch", r.MaxNoReplyBatch)
	add(r.StopWhenNothing && !rolling, "stops when a whole batch comes to nothing")
	add(r.StopWhenNothing && rolling, "stops when as many nodes in a row as the window has slots come to nothing")
	add(r.TokenMargin > 0, "stops before a batch with a node whose token ends within %s", r.TokenMargin)
	return out
}

func (c door) proofSentences() []string {
	switch version := demand(c).wanted(); {
	case c.proves() == proof.Update:
		_, _, timeout := demand(c).limits()
		return []string{fmt.Sprintf("proves each node: a later start with version %s, within %s of the sending, with a reply or without", cmp.Or(version, "as --verify-expr has it"), timeout)}
	case version != "":
		return []string{fmt.Sprintf("proves each node: %s, and version %s", c.proves(), version)}
	case c.proves() != 0:
		return []string{fmt.Sprintf("proves each node: %s", c.proves())}
	}
	return nil
}

func (c door) proposal(plan batch.Plan) Proposal {
	return Proposal{Agent: c.req.Agent, Action: c.req.Action, Plan: plan, Estimate: plan.Estimate(c.pace()), Modes: plan.Estimates(c.pace()),
		Guards: c.sentences(plan.Rolls())}
}

func (c door) atMost(limit, nodes int) error {
	if nodes <= limit {
		return nil
	}
	return refuse("choose fewer nodes with a filter or --limit, or raise --max-nodes and max_nodes",
		"cannot %s %s: limit is %d", verb(c.req.Action), countNoun(nodes, "node"), limit)
}

// expectFile compares what was found with what should be there.
func (c door) expectFile(ctx context.Context, p passage) error {
	want, err := c.ReadNodes(ctx, c.req.Guards.ExpectFile)
	if err != nil {
		return err
	}
	var parts []string
	if missing := discovery.Without(want, p.found); len(missing) > 0 {
		parts = append(parts, fmt.Sprintf("%d missing: %s", len(missing), discovery.Fold(missing)))
	}
	if extra := discovery.Without(p.found, want); len(extra) > 0 {
		parts = append(parts, fmt.Sprintf("%d not expected: %s", len(extra), discovery.Fold(extra)))
	}
	if len(parts) == 0 {
		return nil
	}
	return refuse("", "cannot go on: the nodes found are not those of %s: %s", c.req.Guards.ExpectFile, strings.Join(parts, "; "))
}

// secretsArePrivate refuses to send a secret where anybody on the way can read it.
func (c door) secretsArePrivate(ctx context.Context) error {
	private, broker, err := c.fleet.Private(ctx)
	if err != nil || private {
		return err
	}
	return refuse("use a broker with TLS, or --insecure-token if the network is yours alone",
		"cannot send a secret to %s: the connection has no TLS", broker)
}

// errNoInput says that no question may be asked.
var errNoInput = errors.New("--no-input")

// canConfirm refuses to begin what would end at the first question between batches, for want of a terminal.
func (c door) canConfirm(p passage) error {
	if len(p.plan.Batches) < 2 {
		return nil
	}
	err := c.Asker.Reachable()
	if err != nil || c.req.Guards.NoInput {
		return refuse("leave out --confirm-each, or go on without asking: --yes", "cannot ask between batches: %v", cmp.Or(err, errNoInput))
	}
	return nil
}

// question is what a prompt asks for.
type question uint8

const (
	noQuestion  question = iota
	yesQuestion          // y or N
	countNodes           // the number of nodes, typed
)

// asks tells what an action has to be asked for, and whether consent is also needed where there is no terminal.
func (c door) asks() (q question, always bool) {
	switch a := proof.Of(c.req.Agent, c.req.Action); {
	case a == proof.Shutdown:
		return countNodes, true
	case c.Settings.Confirm:
		return yesQuestion, true
	case a == proof.Restart, a == proof.Reprovision, a == proof.Update:
		return yesQuestion, false
	}
	return noQuestion, false
}

func (c door) consentText() string {
	switch q, always := c.asks(); {
	case q == countNodes:
		return "asks for the number of nodes to be typed; without a terminal needs --yes"
	case q == yesQuestion && always:
		return fmt.Sprintf("asks before it begins (confirm in %s)", c.SettingsFile)
	case q == yesQuestion:
		return "asks before it begins, at a terminal"
	}
	return ""
}

// consent shows the plan at a terminal and asks; elsewhere scripts go ahead, except where they must say --yes.
func (c door) consent(ctx context.Context, p passage) error {
	q, always := c.asks()
	if q == noQuestion || p.nodes == 0 {
		return nil
	}
	if c.req.plan != nil { // it is the consent, but to what cannot be taken back
		if q == countNodes && c.req.approved == 0 {
			return refuse("have it approved: `fleetctl plan approve FILE`; or say --yes if you mean it", "cannot %s %s without an approval of the plan", verb(c.req.Action), countNoun(p.nodes, "node"))
		}
		return nil
	}
	if err := c.Asker.Reachable(); err != nil || c.req.Guards.NoInput {
		if always || err == nil {
			return refuse("say --yes if you mean it", "cannot %s %s without asking", verb(c.req.Action), countNoun(p.nodes, "node"))
		}
		return nil
	}
	if err := c.Reporter.Report(Proposed{c.proposal(p.plan)}); err != nil {
		return err
	}
	ok, err := c.put(ctx, q, p.nodes)
	if err != nil {
		return err
	}
	if !ok {
		return refuse("", "not confirmed: nothing was sent")
	}
	return nil
}

// put puts the question of an action.
func (c door) put(ctx context.Context, q question, nodes int) (bool, error) {
	if q == countNodes {
		text, err := c.Asker.Line(ctx, fmt.Sprintf("%s takes %s%s off the network for good. Type the number of nodes to confirm: ", c.req.Action, countNoun(nodes, "node"), c.atSite()))
		return text == strconv.Itoa(nodes), err
	}
	return c.Asker.Yes(ctx, fmt.Sprintf("%s %s%s?", verb(c.req.Action), countNoun(nodes, "node"), c.atSite()))
}

// atSite names the site in a question, so that one fleet is not taken for another.
func (c door) atSite() string {
	if c.Settings.Site == "" {
		return ""
	}
	return " at site " + c.Settings.Site
}

// verb is an action as one says it of nodes.
func verb(action string) string {
	switch action {
	case "shutdown":
		return "shut down"
	case "release_update":
		return "update"
	}
	return action
}
