package cmd

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
)

func newCompletion(a *app) *cobra.Command {
	shells := map[string]func(root *cobra.Command) error{
		"bash":       func(root *cobra.Command) error { return root.GenBashCompletionV2(a.io.out, true) },
		"zsh":        func(root *cobra.Command) error { return root.GenZshCompletion(a.io.out) },
		"fish":       func(root *cobra.Command) error { return root.GenFishCompletion(a.io.out, true) },
		"powershell": func(root *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(a.io.out) },
	}
	names := slices.Sorted(maps.Keys(shells))
	return &cobra.Command{
		Use:   "completion " + strings.Join(names, "|"),
		Short: "Write the completion script of a shell",
		Long: `Writes a script that completes commands, flags, agents, actions, inputs and runs. Completion never uses the network:
the agents come from the built-in documents, from libdir and from the registry's cache.

    bash        source <(fleetctl completion bash)          # in ~/.bashrc, with the package bash-completion
    zsh         source <(fleetctl completion zsh)           # in ~/.zshrc, after compinit
    fish        fleetctl completion fish | source           # in ~/.config/fish/config.fish
    powershell  fleetctl completion powershell | Out-String | Invoke-Expression    # in $PROFILE`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names,
		RunE:      func(c *cobra.Command, args []string) error { return shells[args[0]](c.Root()) },
	}
}

// wordsKey is the annotation of a flag that holds the values that completion offers.
const wordsKey = "fleetctl_words"

// completeWith makes completion offer these values for a flag that f has.
func completeWith(f *pflag.FlagSet, name string, words ...string) {
	if err := f.SetAnnotation(name, wordsKey, words); err != nil {
		panic(err) // f has no such flag
	}
}

// completeFlags registers the completion of every flag of a command and of the commands below it.
func completeFlags(a *app, c *cobra.Command) {
	files := []string{"config", "log-file", "nodes", "known", "expect-file", "output-file", "junit", "facts", "dir", "state-dir", "signer-ca"}
	register := func(f *pflag.Flag) {
		var err error
		switch {
		case f.Annotations[wordsKey] != nil:
			err = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(f.Annotations[wordsKey], cobra.ShellCompDirectiveNoFileComp))
		case slices.Contains(files, f.Name) && f.Value.Type() == "string":
			err = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault))
		case f.Name == "wa":
			err = c.RegisterFlagCompletionFunc(f.Name, always(a, completeAgents))
		case f.Name == "site":
			err = c.RegisterFlagCompletionFunc(f.Name, always(a, completeSites))
		case f.Name == "target":
			err = c.RegisterFlagCompletionFunc(f.Name, always(a, completeCollectives))
		}
		if err != nil {
			panic(err) // a flag that is registered twice
		}
	}
	c.LocalNonPersistentFlags().VisitAll(register)
	c.PersistentFlags().VisitAll(register)
	for _, sub := range c.Commands() {
		completeFlags(a, sub)
	}
}

// offline returns what is available without the network: the configuration, if it can be read, and the local documents.
func offline(a *app) (*config.Config, ddl.Resolver) {
	cfg, err := a.fleetOptions().ReadConfig(nil)
	if err != nil {
		return nil, ddl.Resolver{} // completion must not complain
	}
	return cfg, ddl.Resolver{Dirs: cfg.LibDirs, CacheDir: cfg.RegistryCache}
}

func completeAgents(a *app) ([]cobra.Completion, cobra.ShellCompDirective) {
	_, documents := offline(a)
	var out []cobra.Completion
	for _, name := range documents.Known() {
		about := ""
		if doc, err := documents.Resolve(context.Background(), name); err == nil {
			about = doc.Metadata.Description
		}
		out = append(out, cobra.CompletionWithDesc(name, about))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func completeCollectives(a *app) ([]cobra.Completion, cobra.ShellCompDirective) {
	cfg, _ := offline(a)
	if cfg == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return cfg.Collectives, cobra.ShellCompDirectiveNoFileComp
}

// always makes a completion function that ignores what was typed.
func always(a *app, complete func(*app) ([]cobra.Completion, cobra.ShellCompDirective)) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return complete(a)
	}
}

// completeRequest completes AGENT ACTION key=value.
func completeRequest(a *app) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return completeAgents(a)
		}
		_, documents := offline(a)
		doc, err := documents.Resolve(context.Background(), args[0])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if len(args) == 1 {
			var out []cobra.Completion
			for _, action := range doc.Actions {
				out = append(out, cobra.CompletionWithDesc(action.Name, action.Description))
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		}
		action, ok := doc.Action(args[1])
		if !ok {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completeInput(action, args[2:], typed)
	}
}

// secretForms are the ways to give a secret without typing it.
var secretForms = []string{"@", "-", "env:"}

// completeInput offers the inputs that are not given yet, and the values of inputs with a fixed list.
func completeInput(action *ddl.Action, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if key, _, ok := strings.Cut(typed, "="); ok {
		in, known := action.Inputs[key]
		values, directive := in.List, cobra.ShellCompDirectiveNoFileComp
		switch {
		case known && in.Secret():
			values, directive = secretForms, directive|cobra.ShellCompDirectiveNoSpace
		case known && in.Type == "boolean":
			values = []string{"true", "false"}
		}
		var out []cobra.Completion
		for _, v := range values {
			out = append(out, key+"="+v)
		}
		return out, directive
	}
	var out []cobra.Completion
	for _, key := range slices.Sorted(maps.Keys(action.Inputs)) {
		if slices.ContainsFunc(given, func(arg string) bool { return strings.HasPrefix(arg, key+"=") || strings.HasPrefix(arg, key+":") }) {
			continue
		}
		out = append(out, cobra.CompletionWithDesc(key+"=", action.Inputs[key].Description))
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeRun completes the id of a run.
func completeRun(a *app, o *recordOptions) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		runs, err := a.store(*o).List()
		if err != nil || len(runs) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		out := []cobra.Completion{cobra.CompletionWithDesc("last", "the newest run")}
		for _, r := range runs[:min(len(runs), shownRuns)] {
			out = append(out, r.ID)
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}
