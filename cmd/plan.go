package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/fleet"
	"fleetctl/internal/gate"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/report"
	"fleetctl/internal/saved"
	"fleetctl/internal/security"
)

// planOptions are what the plan commands share.
type planOptions struct {
	file   string
	asJSON bool
	all    bool // every batch
	yes    bool
}

func newPlan(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "plan",
		Short: "Look at a saved plan, check it, approve it",
		Args:  subcommandOnly,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPlanShow(a, showPlan), newPlanCheck(a, checkPlan), newPlanApprove(a, approvePlan))
	return c
}

// planCommand is a command about one file.
func planCommand(a *app, o *planOptions, c *cobra.Command, do func(context.Context, *app, planOptions) error) *cobra.Command {
	c.Use += " FILE"
	c.Args = exactArgs("FILE")
	c.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	c.RunE = func(c *cobra.Command, args []string) error {
		o.file = args[0]
		return do(c.Context(), a, *o)
	}
	return c
}

func newPlanShow(a *app, do func(context.Context, *app, planOptions) error) *cobra.Command {
	var o planOptions
	c := planCommand(a, &o, &cobra.Command{
		Use:   "show",
		Short: "Show what a saved plan would do",
		Long: `show reads the file alone: it asks no node, and verifies no signature. A plan that was edited is refused. ` + "`plan check`" + `
verifies signatures.`,
		Example: "  fleetctl plan show restart.plan",
	}, do)
	c.Flags().BoolVarP(&o.asJSON, "json", "j", false, "the file as JSON")
	c.Flags().BoolVarP(&o.all, "verbose", "v", false, "every batch of a long plan")
	return c
}

func newPlanCheck(a *app, do func(context.Context, *app, planOptions) error) *cobra.Command {
	var o planOptions
	return planCommand(a, &o, &cobra.Command{
		Use:   "check",
		Short: "Check whether a saved plan can still be applied, and who approved it",
		Long: `check verifies the plan's time, the signature of its owner, the scripts of its gates, and each approval, with the issuer or
CA of the configuration. It asks no node. It ends with 7 when the plan cannot be applied. An approval that does not count
is no reason for that by itself.`,
		Example: "  fleetctl plan check restart.plan",
	}, do)
}

func newPlanApprove(a *app, do func(context.Context, *app, planOptions) error) *cobra.Command {
	var o planOptions
	c := planCommand(a, &o, &cobra.Command{
		Use:   "approve",
		Short: "Approve a saved plan with your Choria identity",
		Long: `approve signs the plan's digest with your token's seed (protocol v2) or your private key (protocol v1), and adds the approval
to the file. It counts for operators who trust the same issuer or CA, when you neither made the plan nor apply it, and ends
with your token or certificate. At a terminal the plan is shown, and you are asked.`,
		Example: "  fleetctl plan approve restart.plan",
	}, do)
	c.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return c
}

func showPlan(_ context.Context, a *app, o planOptions) error {
	f, err := readPlan(o.file)
	if err != nil {
		return err
	}
	if o.asJSON {
		return render.IndentedJSON(a.io.out, f)
	}
	return report.WriteSavedPlan(a.io.out, f, time.Now(), widthOf(a.io.out), o.all)
}

// readPlan reads a file; what is no plan is wrong usage.
func readPlan(path string) (*saved.File, error) {
	f, err := saved.Read(path)
	if _, ok := errors.AsType[*saved.RefusedError](err); ok || err == nil {
		return f, err
	}
	return nil, usage(err, "`fleetctl req ... --save-plan FILE` saves a plan")
}

// planIdentity is who we are, and under which names: as whom requests are made, and as whom we sign.
func planIdentity(ctx context.Context, a *app) (id *security.Identity, callers []string, keyless bool, err error) {
	f, err := fleet.Open(ctx, a.fleetOptions(), "")
	if err != nil {
		return nil, nil, false, err
	}
	defer f.Close()
	if id, err = f.Identity(); err != nil {
		return nil, nil, false, err
	}
	callers = []string{id.Caller()}
	who, ok := id.Signatory()
	if ok && who.Caller != id.Caller() {
		callers = append(callers, who.Caller)
	}
	return id, callers, !ok, nil
}

func checkPlan(ctx context.Context, a *app, o planOptions) error {
	f, err := readPlan(o.file)
	if err != nil {
		return err
	}
	id, callers, keyless, err := planIdentity(ctx, a)
	if err != nil {
		return err
	}
	now := time.Now()
	checks := []report.PlanCheck{{Name: "digest", Text: f.Digest}}
	add := func(name, good string, err error) {
		c := report.PlanCheck{Name: name, Text: good}
		if err != nil {
			c.Text, c.Refused = err.Error(), true
		}
		checks = append(checks, c)
	}
	add("time", fmt.Sprintf("expires at %s, in %s", f.Plan.Expires.Format(time.RFC3339), f.Plan.Expires.Sub(now).Round(time.Second)), f.Current(now))
	owner := report.PlanCheck{Name: "owner", Text: f.Plan.Owner + ", signed"}
	if err := f.Owned(id); err != nil {
		owner.Text = f.Plan.Owner + "; it cannot be approved: " + err.Error()
	}
	checks = append(checks, owner)
	if len(f.Plan.Gates) > 0 {
		add("gates", plain.Count(len(f.Plan.Gates), "gate")+", scripts as they were", errors.Join(f.Runnable(id, callers, keyless), f.Unchanged(a.env.places())))
	}
	judged := f.Judge(id, nil, now)
	for _, j := range judged {
		text := fmt.Sprintf("%s, until %s", j.Caller, j.Ends.Format(time.RFC3339))
		if j.Why != "" {
			text = fmt.Sprintf("%s does not count: %s", j.Caller, j.Why)
		}
		checks = append(checks, report.PlanCheck{Name: "approval", Text: text})
	}
	if len(judged) > 0 {
		checks = append(checks, report.PlanCheck{Name: "approvals", Text: plain.Count(saved.Count(judged), "approval") + " of different callers"})
	}
	if err := report.WritePlanChecks(a.io.out, checks); err != nil {
		return err
	}
	for _, c := range checks {
		if c.Refused {
			return refuse("", "the plan cannot be applied: %s", c.Text)
		}
	}
	return nil
}

// places are where the words of gates lead.
func (e environment) places() gate.Places {
	path, _ := e.getenv("PATH")
	return gate.Places{Home: e.home(), Path: path}
}

func approvePlan(ctx context.Context, a *app, o planOptions) error {
	f, err := readPlan(o.file)
	if err != nil {
		return err
	}
	id, _, _, err := planIdentity(ctx, a)
	if err != nil {
		return err
	}
	approval, ends, err := f.Approve(id, time.Now())
	if err != nil {
		return err
	}
	// What others would not count is refused now: our own configuration knows the same issuer.
	probe := *f
	probe.Approvals = []saved.Approval{approval}
	if why := probe.Judge(id, nil, time.Now())[0].Why; why != "" {
		return refuse("", "cannot approve: the approval would not count: %s", why)
	}
	if ask := newAsker(a); !o.yes && ask.Reachable() == nil {
		if err := report.WriteSavedPlan(a.io.err, f, time.Now(), widthOf(a.io.err), false); err != nil {
			return err
		}
		ok, err := ask.Yes(ctx, "approve this plan?")
		if err != nil {
			return err
		}
		if !ok {
			return refuse("", "not approved")
		}
	}
	if _, err := saved.AddApproval(o.file, f.Digest, approval); err != nil {
		return err
	}
	a.say("approved as %s, until %s", plain.Line(approval.Caller), ends.UTC().Format(time.RFC3339))
	return nil
}
