package cmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newRoot is the visible list of all commands.
func newRoot(a *app) *cobra.Command {
	var version bool
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
		RunE: func(c *cobra.Command, _ []string) error {
			if version {
				return showVersion(c.OutOrStdout(), false)
			}
			return c.Help()
		},
	}
	root.Flags().BoolVar(&version, "version", false, "show the version")
	root.CompletionOptions.DisableDefaultCmd = true
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok { // pflag prints the value and its own text before ours
			err = fmt.Errorf("--%s: %w", wrong.GetFlag().Name, wrong.Unwrap())
		}
		return usage(err, "see `"+c.CommandPath()+" --help`")
	})
	a.flags.add(root.PersistentFlags())
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if err := emptyFlag(c.Flags()); err != nil {
			return err
		}
		return a.openLog()
	}
	root.AddCommand(
		newReq(a, runReq),
		newRuns(a),
		newInventory(a, runInventory),
		newDiscover(a, runDiscover),
		newPing(a, runPing),
		newFacts(a, runFacts),
		newJWT(a),
		newLab(a, runLab),
		newDoctor(a, runDoctor),
		newCompletion(a),
		newLogin(a, runLogin),
		newVersion(showVersion),
	)
	root.AddCommand(newTopics()...)
	root.SetHelpCommand(newHelp(a))
	completeFlags(a, root)
	wrongArgumentsAreUsage(root)
	fitHelp(a, root)
	return root
}

// add declares the flags of every command.
func (g *globalFlags) add(f *pflag.FlagSet) {
	f.StringVar(&g.config, "config", "", "Choria client configuration `FILE` (or FLEETCTL_CONFIG; else Choria's own search)")
	f.BoolVar(&g.debug, "debug", false, "log what happens on stderr")
	f.StringVar(&g.logFile, "log-file", "", "append a debug log to `FILE`, without secrets")
	f.BoolVar(&g.noColor, "no-color", false, "no colors")
	f.BoolVar(&g.noProgress, "no-progress", false, "no lines that are redrawn: a line for each batch")
	f.BoolVar(&g.noProgress, "np", false, "no progress bar, as in choria")
	f.Var(&g.connectTimeout, "connect-timeout", "stop trying to connect to the broker after this time (5s)")
	f.BoolVar(&g.insecureBroker, "insecure-broker", false, "do not verify the broker's certificate (every run prints a warning)")
	f.BoolVar(&g.allowUnsigned, "allow-unsigned-replies", false, "accept replies without the server's signature even when an issuer is configured")
	f.StringVar(&g.signerCA, "signer-ca", "", "certificate authority of request signer and login service, a `FILE` (else the security provider's)")
	f.BoolVar(&g.insecureSigner, "insecure-signer", false, "do not verify the certificate of request signer and login service (every run prints a warning)")
}

// emptyFlag refuses a flag with an empty value: --nodes "$FILE" with an unset variable must not mean every node. Flags
// that may be repeated have their own message.
func emptyFlag(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if _, list := f.Value.(pflag.SliceValue); !list && f.Value.String() == "" && err == nil {
			err = usage(fmt.Errorf("--%s has an empty value", f.Name), "is a variable unset? Leave the flag out to run without it")
		}
	})
	return err
}
