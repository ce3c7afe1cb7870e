package cmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"fleetctl/internal/run"
	"fleetctl/internal/saved"
)

// applyOptions are the flags of `fleetctl apply`.
type applyOptions struct {
	req   reqOptions
	file  string
	drift amountFlag
}

func newApply(a *app, do func(context.Context, *app, applyOptions) error) *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use:   "apply PLAN [key=value...]",
		Short: "Run a saved plan, once",
		Long: `apply runs a plan that ` + "`req --save-plan FILE`" + ` saved, exactly as it is. It is refused when the file was edited, has expired, was
applied already, lacks approvals, or when its nodes have changed. The plan is the consent; a shutdown also needs an approval
or --yes. Secrets are not in the plan: give them, as for req. The run has the plan's id.`,
		Example: "  fleetctl apply restart.plan token=@token.txt",
		Args:    atLeastAPlan,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.file = args[0]
			if err := o.req.applied(c, args); err != nil {
				return errorLine(a, &o.req, err)
			}
			return do(c.Context(), a, o)
		},
	}
	f := c.Flags()
	o.req.output.add(f)
	o.req.guard.addLimits(f)
	o.req.shared.add(f)
	o.req.record.addDir(f)
	o.req.addDetach(f)
	f.BoolVar(&o.req.dryRun, "dry-run", false, "show the plan and what the guards say, and stop")
	f.StringVar(&o.req.onEvent, onEventFlag, "", "have the shell run `COMMAND` when the run begins, pauses, stops and ends, with JSON on its stdin; none for none")
	f.Var(&o.drift, "accept-drift", "leave out up to `N` (or P%) nodes that have changed since the plan was saved")
	return c
}

// applied reads what is typed about a saved plan: PLAN and the secrets that it needs.
func (o *reqOptions) applied(c *cobra.Command, args []string) (err error) {
	o.flags, o.words = c.Flags(), []string{"apply", args[0]}
	if err := o.output.choose(); err != nil {
		return err
	}
	if o.inputs, err = keyValues(args[1:]); err != nil {
		return err
	}
	return errors.Join(o.output.validate(), o.detachable())
}

func atLeastAPlan(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return exactArgs("PLAN")(c, args)
	}
	return nil
}

func applyPlan(ctx context.Context, a *app, o applyOptions) error {
	f, err := readPlan(o.file)
	if err != nil {
		return errorLine(a, &o.req, err)
	}
	request, err := o.request(f)
	if err != nil {
		return errorLine(a, &o.req, err)
	}
	if f.Plan.Site != "" && a.fleetOptions().SiteName() == "" {
		a.flags.site = f.Plan.Site
	}
	if site := a.fleetOptions().SiteName(); site != f.Plan.Site {
		return errorLine(a, &o.req, refuse("", "cannot apply the plan: it is for site %q, and site %q is chosen", f.Plan.Site, site))
	}
	a.flags.federations = f.Plan.Federations
	return withRun(ctx, a, &o.req, request, func(c run.Context) (run.Result, error) {
		return run.Apply(ctx, c, request)
	})
}

// request is what the plan and the flags say.
func (o *applyOptions) request(f *saved.File) (run.Request, error) {
	request, err := o.req.value()
	if err != nil {
		return request, err
	}
	return request.FromPlan(f, o.drift.Amount)
}
