package cmd

import (
	"github.com/spf13/cobra"
)

// newRoot is the visible list of all commands.
func (a *app) newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "fleetctl",
		Short: "Dangerous work on a Choria fleet, in batches, proved and resumable",
		Long: `fleetctl restarts, reprovisions and shuts down Choria servers in batches, shows what happened on every node,
and asks any other RPC action as well. It speaks to unmodified Choria brokers and servers.

Try it on a practice fleet, on this machine alone:

    fleetctl lab -- fleetctl req choria_provision restart token=s3cret --batch 20 --batch-sleep 3`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(err, "see `"+c.CommandPath()+" --help`")
	})
	f := root.PersistentFlags()
	f.StringVar(&a.flags.config, "config", "", "Choria client configuration `FILE` (or FLEETCTL_CONFIG; else Choria's own search)")
	f.BoolVar(&a.flags.debug, "debug", false, "log what happens on stderr")
	f.BoolVar(&a.flags.noColor, "no-color", false, "no colours")
	f.BoolVar(&a.flags.noProgress, "no-progress", false, "no progress bar")
	f.BoolVar(&a.flags.noProgress, "np", false, "no progress bar")
	f.Var(&a.flags.connectTimeout, "connect-timeout", "give up connecting to the broker after this long (5s)")
	f.BoolVar(&a.flags.insecureBroker, "insecure-broker", false, "do not verify the broker's certificate (said on every run)")
	f.BoolVar(&a.flags.allowUnsigned, "allow-unsigned-replies", false, "believe replies without the server's signature where an issuer is known")
	root.AddCommand(
		a.newReq(),
		a.newInventory(),
		a.newDiscover(),
		a.newPing(),
		a.newLab(),
		a.newVersion(),
	)
	return root
}
