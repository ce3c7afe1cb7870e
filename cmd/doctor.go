package cmd

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/bus"
	"fleetctl/internal/doctor"
	"fleetctl/internal/render"
)

// doctorOptions are the flags of `fleetctl doctor`.
type doctorOptions struct {
	collective       string
	asJSON, verbose  bool
	discoveryTimeout seconds
}

func newDoctor(a *app, do func(context.Context, *app, doctorOptions) error) *cobra.Command {
	var o doctorOptions
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check the way to the fleet, step by step, and print what to fix",
		Long: `Shows the configuration in force with the origin of every value, and how long the credentials are valid; then takes each
step to the network: the brokers' names, TCP, TLS, authentication, permissions, one discovery, and the fleet's clocks.
Nothing is changed anywhere, and no step waits longer than --connect-timeout.`,
		Example: `  fleetctl doctor
  fleetctl doctor --json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return do(c.Context(), a, o) },
	}
	f := c.Flags()
	f.StringVarP(&o.collective, "target", "T", "", "the sub-`COLLECTIVE` to address")
	addFederations(a, f)
	f.BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show defaults, too")
	f.Var(&o.discoveryTimeout, "discovery-timeout", "wait this long for discovery (2s)")
	return c
}

func runDoctor(ctx context.Context, a *app, o doctorOptions) error {
	now := time.Now()
	found := doctor.Walk(ctx, doctor.Options{
		Fleet: a.fleetOptions(), Collective: o.collective, Wait: a.flags.connectTimeout.or(bus.DefaultConnectTimeout),
		DiscoveryTimeout: o.discoveryTimeout.d, SettingsFile: a.env.settingsFile(), Now: now,
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if found.Config != nil {
		a.colorless = !found.Config.Color
	}
	shown := checkupOf(ctx, found)
	var err error
	if o.asJSON {
		err = render.IndentedJSON(a.io.out, shown)
	} else {
		err = render.CheckupText(a.io.out, shown, render.CheckupOptions{Verbose: o.verbose, Color: a.color(a.io.out), Now: now})
	}
	if err != nil {
		return err
	}
	return ended(shown.ExitCode)
}

// stepStatuses are the words for how a step ended.
var stepStatuses = map[doctor.Status]render.StepStatus{
	doctor.Passed: render.StepPassed, doctor.Warned: render.StepWarned, doctor.Failed: render.StepFailed, doctor.Skipped: render.StepSkipped,
}

// checkupOf turns the report of the checks into a document, with the exit code of the first failure.
func checkupOf(ctx context.Context, found doctor.Report) render.Checkup {
	doc := render.Checkup{
		SchemaVersion: render.SchemaVersion, Verdict: found.Verdict(), Files: []string{}, Settings: []render.Setting{}, Credentials: []render.Credential{},
	}
	if s := found.Failure(); s != nil {
		doc.ExitCode, _, _ = classifyStep(ctx, s.Err)
	}
	if cfg := found.Config; cfg != nil {
		doc.Files = cfg.Files
		for _, key := range cfg.Keys() {
			value, _ := cfg.Get(key)
			doc.Settings = append(doc.Settings, render.Setting{Key: key, Value: value, Origin: cfg.Origin(key)})
		}
	}
	for _, cred := range found.Credentials {
		out := render.Credential{
			Kind: cred.Kind, Path: cred.Path, Names: cred.Names, Organization: cred.Organization, Issuer: cred.Issuer,
			NotBefore: cred.NotBefore, NotAfter: cred.NotAfter, Permissions: cred.Permissions,
		}
		if cred.Fault != nil {
			out.Problem = cred.Fault.Error()
		}
		doc.Credentials = append(doc.Credentials, out)
	}
	for _, s := range found.Steps {
		step := render.Step{
			Name: s.Name, Target: s.Target, Status: stepStatuses[s.Status], Detail: s.Detail, Fix: s.Fix, Milliseconds: s.Took.Milliseconds(),
		}
		if s.Err != nil {
			_, say, hint := classifyStep(ctx, s.Err)
			step.Fix = cmp.Or(step.Fix, hint)
			if s.Status == doctor.Failed {
				step.Detail = say
				if s.Detail != "" {
					step.Detail += "; " + s.Detail
				}
			}
		}
		doc.Steps = append(doc.Steps, step)
	}
	return doc
}

// classifyStep is classify, where a step that timed out is a network fault.
func classifyStep(ctx context.Context, err error) (code int, say, hint string) {
	code, say, hint = classify(ctx, err)
	if code == exitFault && errors.Is(err, context.DeadlineExceeded) {
		code = exitNetwork
	}
	return code, say, hint
}
