package cmd

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
)

// shells are the shells that have a completion script, each with what writes it.
var shells = map[string]func(w io.Writer, root *cobra.Command) error{
	"bash":       bashCompletion,
	"zsh":        func(w io.Writer, root *cobra.Command) error { return root.GenZshCompletion(w) },
	"fish":       func(w io.Writer, root *cobra.Command) error { return root.GenFishCompletion(w, true) },
	"powershell": func(w io.Writer, root *cobra.Command) error { return root.GenPowerShellCompletionWithDesc(w) },
}

func newCompletion(a *app) *cobra.Command {
	names := slices.Sorted(maps.Keys(shells))
	return &cobra.Command{
		Use:   "completion " + strings.Join(names, "|"),
		Short: "Write the completion script of a shell",
		Long: `Writes a script that completes commands, flags, agents, actions, inputs and runs. Completion uses the network only
for runs behind --shared and runs adopt, for a second at most: the agents come from the built-in documents, from libdir and
from the registry's cache.

    bash        source <(fleetctl completion bash)          # in ~/.bashrc, with the package bash-completion
    zsh         source <(fleetctl completion zsh)           # in ~/.zshrc, after compinit
    fish        fleetctl completion fish | source           # in ~/.config/fish/config.fish
    powershell  fleetctl completion powershell | Out-String | Invoke-Expression    # in $PROFILE`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names,
		RunE:      func(c *cobra.Command, args []string) error { return shells[args[0]](a.io.out, c.Root()) },
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
