package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// maker makes one command of the command line.
type maker struct {
	name string // as it is typed
	make func() *cobra.Command
}

// commands is the visible list of all commands.
func commands(a *app) []maker {
	return []maker{
		{"req", func() *cobra.Command { return newReq(a, runReq) }},
		{"apply", func() *cobra.Command { return newApply(a, applyPlan) }},
		{"plan", func() *cobra.Command { return newPlan(a) }},
		{"runs", func() *cobra.Command { return newRuns(a) }},
		{"shared", func() *cobra.Command { return newShared(a) }},
		{"inventory", func() *cobra.Command { return newInventory(a, runInventory) }},
		{"discover", func() *cobra.Command { return newDiscover(a, runDiscover) }},
		{"ping", func() *cobra.Command { return newPing(a, runPing) }},
		{"facts", func() *cobra.Command { return newFacts(a, runFacts) }},
		{"jwt", func() *cobra.Command { return newJWT(a) }},
		{"lab", func() *cobra.Command { return newLab(a, runLab) }},
		{"doctor", func() *cobra.Command { return newDoctor(a, runDoctor) }},
		{"completion", func() *cobra.Command { return newCompletion(a) }},
		{"login", func() *cobra.Command { return newLogin(a, runLogin) }},
		{"sites", func() *cobra.Command { return newSites(a, listSites) }},
		{"version", func() *cobra.Command { return newVersion(showVersion) }},
		{"assets", func() *cobra.Command { return newAssets(writeAssets) }},
	}
}

// addCommands adds the command that the line begins with, or all commands and help topics when it begins with none: the
// flags of all commands take longer to make than most of them take to run.
func addCommands(a *app, root *cobra.Command, args []string) {
	for _, c := range commands(a) {
		if len(args) > 0 && args[0] == c.name {
			root.AddCommand(c.make())
			return
		}
	}
	for _, c := range commands(a) {
		root.AddCommand(c.make())
	}
	root.AddCommand(newTopics()...)
}

// newRoot is the command line of the program, as far as these arguments need it. Without arguments it is all of it.
func newRoot(a *app, args ...string) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   a.name,
		Short: "Dangerous work on a Choria fleet, in batches, proved and resumable",
		Long: `fleetctl restarts, reprovisions and shuts down Choria servers in batches, shows what happened on every node,
and asks any other RPC action as well. It speaks to unmodified Choria brokers and servers.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          subcommandOnly,
		RunE: func(c *cobra.Command, _ []string) error {
			if version {
				return showVersion(c.OutOrStdout(), false)
			}
			return c.Help()
		},
	}
	if withLab {
		root.Long += `

Try it on a practice fleet, on this machine alone:

    fleetctl lab -- fleetctl req choria_provision restart token=s3cret --batch 20 --batch-sleep 3`
	}
	root.Flags().BoolVar(&version, "version", false, "show the version")
	root.CompletionOptions.DisableDefaultCmd = true
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok { // pflag prints the value and its own text before ours
			err = fmt.Errorf("--%s: %w", wrong.GetFlag().Name, wrong.Unwrap())
			if number, ok := errors.AsType[*strconv.NumError](err); ok { // of a flag of pflag's own
				kind := "a whole number"
				if number.Func == "ParseBool" {
					kind = "true or false"
				}
				err = fmt.Errorf("--%s: %q is not %s", wrong.GetFlag().Name, number.Num, kind)
			}
		}
		return usage(err, cmp.Or(unknownFlag(c, err), "see `"+c.CommandPath()+" --help`"))
	})
	a.typed = root.PersistentFlags()
	a.flags.add(a.typed)
	root.PersistentPreRunE = func(c *cobra.Command, args []string) error {
		if err := cmp.Or(emptyFlag(c.Flags()), emptyArgument(c, args)); err != nil {
			return err
		}
		return a.openLog()
	}
	addCommands(a, root, args)
	addHelp(a, root)
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		completeFlags(a, root)
	}
	wrongArgumentsAreUsage(root)
	if a.name != productName {
		renameCommands(a.name, root)
	}
	return root
}

// add declares the flags of every command.
func (g *globalFlags) add(f *pflag.FlagSet) {
	f.StringVar(&g.config, "config", "", "Choria client configuration `FILE` (or FLEETCTL_CONFIG; else Choria's own search)")
	f.StringVar(&g.site, "site", "", "the fleet that the settings call `NAME`: its configuration, and its limits (or FLEETCTL_SITE)")
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

// emptyFlag refuses a flag whose value is empty or blank: --nodes "$FILE" with an unset variable must not mean every node, and
// --within " " not every hour. Flags that may be repeated have their own message, unless nothing is left of a list.
func emptyFlag(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		list, isList := f.Value.(pflag.SliceValue)
		empty := !isList && strings.TrimSpace(f.Value.String()) == "" || isList && len(list.GetSlice()) == 0
		if empty && err == nil {
			err = usage(fmt.Errorf("--%s has an empty value", f.Name), "is a variable unset? Leave the flag out to run without it")
		}
		values := []string{f.Value.String()}
		if isList {
			values = list.GetSlice()
		}
		for _, value := range values {
			if other := flagIn(flags, value); other != "" && err == nil {
				err = usage(fmt.Errorf("--%s got the flag %s as its value", f.Name, other), "is a variable unset? Leave the flag out to run without it")
			}
		}
	})
	return err
}

// flagIn is the flag that a value names, blank for any other value: --exclude $NODES --yes with an unset variable excludes
// nothing, and asks. What stands behind a = is no part of it.
func flagIn(flags *pflag.FlagSet, value string) string {
	name, _, _ := strings.Cut(value, "=")
	long, isLong := strings.CutPrefix(name, "--")
	if short := strings.TrimPrefix(value, "-"); len(value) == 2 && len(short) == 1 && flags.ShorthandLookup(short) != nil || isLong && flags.Lookup(long) != nil {
		return name
	}
	return ""
}

// emptyArgument refuses an argument that is empty or blank, as emptyFlag does: inventory "$NODE" must not show the fleet. What
// follows a -- is a command's, and completion completes an empty word.
func emptyArgument(c *cobra.Command, args []string) error {
	if c.Name() == cobra.ShellCompRequestCmd || c.Name() == cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	if dash := c.ArgsLenAtDash(); dash >= 0 {
		args = args[:dash]
	}
	for i, arg := range args {
		if strings.TrimSpace(arg) == "" {
			return usage(fmt.Errorf("argument %d of `%s` is empty", i+1, c.CommandPath()), "is a variable unset?")
		}
	}
	return nil
}
