package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/plain"
	"fleetctl/internal/saved"
)

// FromPlan makes the request of a saved plan: what the plan knows, and what was given now. Inputs may only be the secrets
// that it does not hold. drift is how many nodes may have changed since.
func (r Request) FromPlan(f *saved.File, drift batch.Amount) (Request, error) {
	p := f.Plan
	given := r.Inputs
	r.Agent, r.Action, r.Targets.Collective, r.Inputs = p.Agent, p.Action, p.Collective, maps.Clone(p.Inputs)
	if r.Inputs == nil {
		r.Inputs = map[string]string{}
	}
	for k, v := range given {
		if !slices.Contains(p.Secrets, k) {
			return r, usage(fmt.Errorf("input %q cannot be changed: the plan has its own", k), "save another plan with `fleetctl req ... --save-plan FILE`")
		}
		r.Inputs[k] = v
	}
	r.Policy, r.Pace.TTL, r.keptTTL, r.Record.On = p.Plan.Policy, Wait{p.TTL, true}, true, true
	r.Proof = Proof{Verify: p.Verify.Way, None: p.Verify.None, Expr: p.Verify.Expr, Version: p.Verify.Version}
	if d := p.Verify.Timeout; d != nil {
		r.Proof.Timeout = Wait{*d, true}
	}
	if d := p.Verify.Settle; d != nil {
		r.Proof.Settle = Wait{*d, true}
	}
	r.Gates = gatesOf(&f.Plan)
	if len(r.Shared.Locks) == 0 {
		r.Shared.Locks = p.Locks
	}
	if len(r.Shared.MaxDown) == 0 {
		r.Shared.MaxDown = p.MaxDown
	}
	r.Shared.BudgetWait.keep(p.BudgetWait)
	r.Shared.Timeout.keep(p.ShareTimeout)
	r.Shared.Mirror = r.Shared.Mirror || p.Share
	r.plan, r.drift, r.given = f, drift, given
	return r, r.Validate()
}

// Apply runs a saved plan, once: its id becomes the run's. r comes from FromPlan. A refusal leaves no record, so that the plan can still be applied.
func Apply(ctx context.Context, c Context, r Request) (Result, error) {
	checked, err := prepare(ctx, c, r)
	if err != nil {
		return Result{}, err
	}
	j := job{checked}
	defer sharing(j).unlock(ctx)
	if err := errors.Join(j.oneFederation(), j.announce()); err != nil {
		return Result{}, err
	}
	if err := j.canSend(); err != nil {
		return Result{}, err
	}
	if err := (application{checked}).admit(); err != nil {
		return Result{}, err
	}
	if !r.DryRun { // before its nodes are asked: those that it restarted have changed
		if err := named(onceGuard, mirroring(j).appliedOnce(ctx)); err != nil {
			return Result{}, err
		}
	}
	if err := budgeting(j).look(ctx, true); err != nil {
		return Result{}, err
	}
	plan, err := application{checked}.current(ctx)
	if err != nil {
		return Result{}, err
	}
	plan.Notes = append(plan.Notes, j.planner().absenceNotes(ctx)...)
	whole, err := noter(j).noted(ctx, guardInput{plan: plan, nodes: plan.Nodes(), found: plan.Names()})
	if err != nil {
		return Result{}, err
	}
	if r.DryRun {
		return Result{}, j.rehearse(ctx, whole)
	}
	if err := sharing(j).clear(ctx, whole); err != nil {
		return Result{}, err
	}
	return j.begin(ctx, whole.plan, "")
}

// application is a call as a saved plan: on its way into the file, or from there to the guards.
type application struct{ *call }

// applied refuses a plan that has become a run.
func (c application) applied(id string) error {
	hint := "see `" + job(c).next(id).Command("show") + "`"
	if s, err := c.Store.Read(id); err == nil && !s.Live && s.Progress.Open() > 0 {
		hint += "; what is left of it: `" + job(c).next(id).Command("resume") + "`"
	}
	return refuse(hint, "cannot apply the plan: it was applied already, as run %s", id)
}

// admit judges the plan itself: its time, its owner, its gates, its approvals, and that it was not applied.
func (c application) admit() error {
	f := c.req.plan
	if _, err := c.Store.Find(f.Plan.ID); err == nil {
		return c.applied(f.Plan.ID)
	}
	if err := f.Current(time.Now()); err != nil {
		return err
	}
	id, err := c.fleet.Identity()
	if err != nil {
		return err
	}
	callers := []string{id.Caller()}
	who, signs := id.Signatory()
	if signs {
		callers = append(callers, who.Caller)
	}
	if err := f.Runnable(id, callers, !signs); err != nil {
		return err
	}
	if err := f.Unchanged(c.Places); err != nil {
		return err
	}
	for _, judged := range f.Judge(id, callers, time.Now()) {
		if judged.Why == "" {
			c.req.approved++
		} else if err := c.Reporter.Report(Noted{Warning, fmt.Sprintf("the approval of %s does not count: %s", judged.Caller, judged.Why)}); err != nil {
			return err
		}
	}
	return nil
}

// current is the plan over the nodes as they are now: those that have changed are refused, or left out.
func (c application) current(ctx context.Context) (batch.Plan, error) {
	p := &c.req.plan.Plan
	states, err := planner(c).states(ctx, p.Plan.Names())
	if err != nil {
		return batch.Plan{}, err
	}
	drift := p.Drift(slices.Collect(maps.Values(states)), c.changes())
	for _, change := range []saved.Change{saved.Gone, saved.OtherVersion, saved.Restarted, saved.Unseen} {
		if names := drift.Names(change); len(names) > 0 {
			if err := c.Reporter.Report(Noted{Warning, fmt.Sprintf("since the plan was saved, %s: %s: %s", plain.Count(len(names), "node"), change, discovery.Fold(names))}); err != nil {
				return batch.Plan{}, err
			}
		}
	}
	if err := p.Accept(drift, c.req.drift); err != nil {
		return batch.Plan{}, err
	}
	rest, err := p.Without(drift)
	if err != nil {
		return batch.Plan{}, err
	}
	for fact, values := range p.Facts { // for the record
		for i, node := range p.Nodes {
			if c.known == nil {
				c.known = make(map[string]map[string]string, len(p.Nodes))
			}
			if c.known[node.Identity] == nil {
				c.known[node.Identity] = map[string]string{}
			}
			c.known[node.Identity][fact] = values[i]
		}
	}
	return rest, c.added(ctx)
}

// approvals is the guard's check.
func (c checkpoint) approvals(p guardInput) error {
	need := c.Settings.ApprovalsNeeded(c.req.Agent, c.req.Action, p.nodes)
	if need <= c.req.approved || p.nodes == 0 {
		return nil
	}
	hint := "save a plan with --save-plan FILE, have it approved with `fleetctl plan approve FILE`, and apply it with `fleetctl apply FILE`"
	if c.req.plan != nil {
		hint = "have it approved with `fleetctl plan approve FILE`; `fleetctl plan check FILE` names the approvals that count"
	}
	return refuse(hint, "cannot %s %s: %s needed (approvals in %s), %d given", verb(c.req.Action), plain.Count(p.nodes, "node"), plain.Count(need, "approval"), c.SettingsFile, c.req.approved)
}

// approvalsText is the guard's sentence.
func (c checkpoint) approvalsText() string {
	var rules []string
	for _, rule := range c.Settings.Approvals {
		if !rule.About(c.req.Agent, c.req.Action) {
			continue
		}
		text := plain.Count(rule.Need, "approval")
		if rule.NodesOver > 0 {
			text += " above " + plain.Count(rule.NodesOver, "node")
		}
		rules = append(rules, text)
	}
	if len(rules) == 0 {
		return ""
	}
	return "needs " + strings.Join(rules, ", ") + ": approvals in " + c.SettingsFile
}
