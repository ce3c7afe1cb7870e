package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/fleet"
	"fleetctl/internal/plain"
)

// guardInput is what the guards check: a plan, or the remaining part of the plan of a resumed run.
type guardInput struct {
	plan     batch.Plan
	nodes    int      // the nodes that may be sent to; 0 when only proof is missing
	found    []string // the nodes of the discovery; of a resumed run, the nodes that it began with
	excluded []discovery.Exclusion
	open     []string // nodes that were sent to and may be sent to again, once a probe has proved them untouched
	stored   *Stored  // the run that is resumed or retried; nil for a new one
	retry    bool     // with stored: it is retried
}

// checkpoint checks every request against the guards before anything is sent. run, resume and retry all use it.
type checkpoint struct{ *call }

// guard is one condition that can refuse a run. The table in guards has all of them.
type guard struct {
	name string
	// consent means that the guard asks the operator. A dry run does not.
	consent bool
	// applies reports whether the guard judges this call.
	applies func(c checkpoint) bool
	// sentence returns the guard's line in the plan; nil or "" for none.
	sentence func(c checkpoint) string
	// check returns the refusal, a *GuardError. nil: the guard is only a sentence of the plan.
	check func(ctx context.Context, c checkpoint, p guardInput) error
}

const secretsGuard = "secrets"

// guards is the table of all guards. They are judged in this order, after the plan is made and before anything is sent.
// Consent comes last. A new guard is a new entry here.
func guards() []guard {
	return []guard{
		{
			name:     "read_only",
			applies:  func(c checkpoint) bool { return c.changes() && c.Settings.ReadOnly },
			sentence: func(c checkpoint) string { return "refused: read_only in " + c.SettingsFile },
			check: func(_ context.Context, c checkpoint, _ guardInput) error {
				return refuse("read_only in "+c.SettingsFile, "cannot call %s#%s: only actions that change nothing are allowed here", c.req.Agent, c.req.Action)
			},
		},
		{
			name:     "require_filter",
			applies:  func(c checkpoint) bool { return c.changes() && c.Settings.RequireFilter && !c.chosen && !c.service() },
			sentence: func(c checkpoint) string { return "refused without a filter: require_filter in " + c.SettingsFile },
			check: func(_ context.Context, c checkpoint, _ guardInput) error {
				return refuse("require_filter in "+c.SettingsFile+": name the nodes with a filter or --nodes",
					"cannot call %s#%s on every node of the fleet", c.req.Agent, c.req.Action)
			},
		},
		{
			name: "require_client_filter",
			applies: func(c checkpoint) bool {
				return c.about.RequireFilter && !c.req.stored && c.req.plan == nil && !c.service() && !c.req.Targets.Narrowed()
			},
			sentence: func(c checkpoint) string {
				return "refused without a filter: plugin.choria.require_client_filter in " + c.about.ConfigFile
			},
			check: func(_ context.Context, c checkpoint, _ guardInput) error {
				return &fleet.FilterRequiredError{File: c.about.ConfigFile}
			},
		},
		{
			name:    "max_nodes",
			applies: func(c checkpoint) bool { return c.changes() && c.Settings.MaxNodes > 0 },
			sentence: func(c checkpoint) string {
				return fmt.Sprintf("at most %s: max_nodes in %s", plain.Count(c.Settings.MaxNodes, "node"), c.SettingsFile)
			},
			check: func(_ context.Context, c checkpoint, p guardInput) error {
				return atMost(c.req.Action, c.Settings.MaxNodes, p.nodes)
			},
		},
		{
			name:    "--max-nodes",
			applies: func(c checkpoint) bool { return c.changes() && c.req.Guards.MaxNodes.Set },
			sentence: func(c checkpoint) string {
				return fmt.Sprintf("at most %s: --max-nodes", plain.Count(c.req.Guards.MaxNodes.N, "node"))
			},
			check: func(_ context.Context, c checkpoint, p guardInput) error {
				return atMost(c.req.Action, c.req.Guards.MaxNodes.N, p.nodes)
			},
		},
		{
			name:    "--expect",
			applies: func(c checkpoint) bool { return c.req.Guards.Expect.Set },
			sentence: func(c checkpoint) string {
				return fmt.Sprintf("exactly %s: --expect", plain.Count(c.req.Guards.Expect.N, "node"))
			},
			check: func(_ context.Context, c checkpoint, p guardInput) error {
				if want := c.req.Guards.Expect.N; len(p.found) != want {
					return refuse("look at `fleetctl discover` with the same filter", "cannot continue: expected %s, found %d", plain.Count(want, "node"), len(p.found))
				}
				return nil
			},
		},
		{
			name:    "--expect-file",
			applies: func(c checkpoint) bool { return c.req.Guards.ExpectFile != "" },
			sentence: func(c checkpoint) string {
				return fmt.Sprintf("exactly the nodes of %s: --expect-file", c.req.Guards.ExpectFile)
			},
			check: func(ctx context.Context, c checkpoint, p guardInput) error { return c.expectFile(ctx, p) },
		},
		{
			name:    "--exclude",
			applies: func(c checkpoint) bool { return c.changes() && len(c.req.Targets.Exclude) > 0 },
			check: func(_ context.Context, _ checkpoint, p guardInput) error {
				for _, e := range p.excluded {
					if e.Idle() { // the nodes that it should leave out would be acted on
						return refuse("leave it out, or put names that need not be there into a file: --exclude @FILE", "cannot continue: %s", e.Note())
					}
				}
				return nil
			},
		},
		{
			name:    "--trust-record",
			applies: func(c checkpoint) bool { return c.lagging && c.proves() == 0 && !c.req.Record.Trust },
			check: func(_ context.Context, _ checkpoint, p guardInput) error {
				return refuse("compare with the original record; if nothing is missing in this one: --trust-record",
					"cannot resume run %s: its record may be an outdated copy (%s), and nothing can show what was really sent", p.stored.ID, p.stored.Copied)
			},
		},
		{
			name:    linkedGuard,
			applies: func(c checkpoint) bool { return c.changes() },
			check: func(ctx context.Context, c checkpoint, p guardInput) error {
				if p.stored == nil {
					return nil
				}
				return c.unlinked(ctx, p)
			},
		},
		{
			name:     lockGuard,
			applies:  func(c checkpoint) bool { return len(sharing(c).allLocks()) > 0 },
			sentence: func(c checkpoint) string { return sharing(c).lockText() },
			check:    func(ctx context.Context, c checkpoint, _ guardInput) error { return sharing(c).lockFree(ctx) },
		},
		{
			name:     shareGuard,
			applies:  func(c checkpoint) bool { return sharing(c).mirrored() },
			sentence: func(c checkpoint) string { return mirroring(c).shareText() },
			check:    func(ctx context.Context, c checkpoint, p guardInput) error { return mirroring(c).ready(ctx, p) },
		},
		{
			name:    onceGuard,
			applies: func(c checkpoint) bool { return c.req.plan != nil && !c.req.stored },
			check:   func(ctx context.Context, c checkpoint, _ guardInput) error { return mirroring(c).appliedOnce(ctx) },
		},
		{
			name:     budgetGuard,
			applies:  func(c checkpoint) bool { return c.budget != nil },
			sentence: func(c checkpoint) string { return budgeting(c).text() },
			check:    func(ctx context.Context, c checkpoint, p guardInput) error { return budgeting(c).check(ctx, p) },
		},
		{
			name:    "--confirm-each",
			applies: func(c checkpoint) bool { return c.req.Pace.ConfirmEach.On && !c.req.Guards.Yes },
			check:   func(_ context.Context, c checkpoint, p guardInput) error { return c.canConfirm(p) },
		},
		{
			name:    secretsGuard,
			applies: func(c checkpoint) bool { return len(c.secretNames()) > 0 && !c.req.Guards.InsecureToken },
			check:   func(ctx context.Context, c checkpoint, _ guardInput) error { return c.secretsArePrivate(ctx) },
		},
		{
			name:    "--allow-expiring",
			applies: func(c checkpoint) bool { return tokenWatch(c).applies() },
			sentence: func(c checkpoint) string {
				if c.req.Guards.AllowExpiring {
					return "restarts nodes whose token ends soon, too, which costs them their identity: --allow-expiring"
				}
				return "refused while a node's token ends before the run does"
			},
			check: func(ctx context.Context, c checkpoint, p guardInput) error {
				if c.req.Guards.AllowExpiring {
					return nil
				}
				return tokenWatch(c).expiring(ctx, p)
			},
		},
		{
			name:    collateralName,
			applies: func(c checkpoint) bool { return c.req.Gates.Collateral.Set },
			check:   func(ctx context.Context, c checkpoint, _ guardInput) error { return c.hearsEvents(ctx) },
		},
		{
			name:     "approvals",
			applies:  func(c checkpoint) bool { return c.changes() && len(c.Settings.Approvals) > 0 },
			sentence: checkpoint.approvalsText,
			check:    func(_ context.Context, c checkpoint, p guardInput) error { return c.approvals(p) },
			consent:  true,
		},
		{
			name:     "consent",
			applies:  func(c checkpoint) bool { return c.changes() && !c.req.Guards.Yes },
			sentence: checkpoint.consentText,
			check:    func(ctx context.Context, c checkpoint, p guardInput) error { return c.consent(ctx, p) },
			consent:  true,
		},
	}
}

// guarded reports whether a guard of the table applies.
func (c checkpoint) guarded(name string) bool {
	for _, g := range guards() {
		if g.name == name {
			return g.applies(c)
		}
	}
	return false
}

func atMost(action string, limit, nodes int) error {
	if nodes <= limit {
		return nil
	}
	return refuse("choose fewer nodes with a filter or --limit, or raise --max-nodes and max_nodes",
		"cannot %s %s: limit is %d", verb(action), plain.Count(nodes, "node"), limit)
}

// expectFile compares what was found with what should be there.
func (c checkpoint) expectFile(ctx context.Context, p guardInput) error {
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
	return refuse("", "cannot continue: the nodes found are not those of %s: %s", c.req.Guards.ExpectFile, strings.Join(parts, "; "))
}

// secretsArePrivate refuses to send a secret where other programs on the network can read it.
func (c checkpoint) secretsArePrivate(ctx context.Context) error {
	private, broker, err := c.fleet.Private(ctx)
	if err != nil || private {
		return err
	}
	return refuse("use a broker with TLS, or --insecure-token if the network is yours alone",
		"cannot send a secret to %s: the connection has no TLS", broker)
}

// errNoInput is the reason when --no-input forbids a question.
var errNoInput = errors.New("--no-input")

// canConfirm refuses a run with --confirm-each that could not ask between its batches: without a terminal, or with
// --no-input.
func (c checkpoint) canConfirm(p guardInput) error {
	if len(p.plan.Batches) < 2 {
		return nil
	}
	err := c.Asker.Reachable()
	if err != nil || c.req.Guards.NoInput {
		return refuse("leave out --confirm-each, or continue without asking: --yes", "cannot ask between batches: %v", cmp.Or(err, errNoInput))
	}
	return nil
}
