package cmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/bus"
	"fleetctl/internal/render"
)

// doctorOptions are the flags of `fleetctl doctor`.
type doctorOptions struct {
	collective       string
	asJSON, verbose  bool
	discoveryTimeout seconds
}

func (a *app) newDoctor() *cobra.Command {
	var o doctorOptions
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check the way to the fleet, step by step, and say what to mend",
		Long: `Shows the configuration in force with the origin of every value, and how long the credentials are valid; then takes each
step to the network: the brokers' names, TCP, TLS, authentication, permissions, one discovery, and the fleet's clocks.
Nothing is changed anywhere, and no step waits longer than --connect-timeout.`,
		Example: `  fleetctl doctor
  fleetctl doctor --json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return a.runDoctor(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVarP(&o.collective, "target", "T", "", "the sub-`COLLECTIVE` to address")
	a.addFederations(f)
	f.BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show defaults, too")
	f.Var(&o.discoveryTimeout, "discovery-timeout", "wait this long for discovery (2s)")
	return c
}

func (a *app) runDoctor(ctx context.Context, o doctorOptions) error {
	c := checkup{app: a, o: o, wait: a.flags.connectTimeout.or(bus.DefaultConnectTimeout), now: time.Now()}
	c.walk(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	report := c.report()
	var err error
	if o.asJSON {
		err = render.IndentedJSON(a.out, report)
	} else {
		err = render.CheckupText(a.out, report, render.CheckupOptions{Verbose: o.verbose, Colour: a.color(a.out), Now: c.now})
	}
	if err != nil {
		return err
	}
	return ended(report.ExitCode)
}
