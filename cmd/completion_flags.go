package cmd

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/internal/fleet"
	"fleetctl/inventory"
)

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
		_, usage := pflag.UnquoteUsage(f) // cobra offers the text as it is, with its backquotes
		f.Usage, _, _ = strings.Cut(usage, "; ")
		var err error
		switch {
		case f.Annotations[wordsKey] != nil:
			err = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(f.Annotations[wordsKey], cobra.ShellCompDirectiveNoFileComp))
		case slices.Contains(files, f.Name) && f.Value.Type() == "string":
			err = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault))
		case f.Name == "wa":
			err = c.RegisterFlagCompletionFunc(f.Name, always(a, completeAgents))
		case f.Name == "wi" || f.Name == "exclude":
			err = c.RegisterFlagCompletionFunc(f.Name, completeNodes(a))
		case f.Name == "wf":
			err = c.RegisterFlagCompletionFunc(f.Name, completeFacts(a, nil, "", "="))
		case f.Name == "group-by":
			err = c.RegisterFlagCompletionFunc(f.Name, completeFacts(a, inventory.GroupNames, "", ""))
		case f.Name == "columns":
			err = c.RegisterFlagCompletionFunc(f.Name, completeList(completeFacts(a, strings.Split(inventory.ColumnNames(), ", "), inventory.FactPrefix, "")))
		case f.Name == "spread-by":
			err = c.RegisterFlagCompletionFunc(f.Name, completeFacts(a, nil, "", ""))
		case f.Name == "max-per":
			err = c.RegisterFlagCompletionFunc(f.Name, completeFacts(a, nil, "", "="))
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

// atHand is the fleet of the configuration, with what earlier commands have left on this disk; nil when there is none.
// Nothing is dialed and nothing is printed.
func atHand(a *app, c *cobra.Command) *fleet.Fleet {
	o := a.fleetOptions()
	o.Tell = func(string) {}
	cfg, err := o.ReadConfig(nil)
	if err != nil {
		return nil
	}
	collective := ""
	if f := c.Flags().Lookup("target"); f != nil {
		collective = f.Value.String()
	}
	f, err := fleet.New(o, cfg, collective)
	if err != nil {
		return nil
	}
	return f
}

// mostOffered is how many names a shell is given: it sorts and compares them all.
const mostOffered = 500

// offer are those of the names that begin with what was typed, with something before and after each.
func offer(names []string, typed, before, after string) []cobra.Completion {
	var out []cobra.Completion
	for _, name := range names {
		if len(out) < mostOffered && strings.HasPrefix(before+name, typed) {
			out = append(out, before+name+after)
		}
	}
	return out
}

// completeNodes offers the nodes that the last whole discoveries found.
func completeNodes(a *app) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		f := atHand(a, c)
		if f == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		_, documents := offline(a)
		return offer(f.NodesAtHand(documents.Known()), typed, "", ""), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFacts offers fixed words, and the names of the facts that an inventory has shown, with something before and
// after each name.
func completeFacts(a *app, words []string, before, after string) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		out, directive := offer(words, typed, "", ""), cobra.ShellCompDirectiveNoFileComp
		if after != "" {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		if f := atHand(a, c); f != nil {
			out = append(out, offer(f.FactsAtHand(), typed, before, after)...)
		}
		return out, directive
	}
}

// completeList completes the last item of a list with commas.
func completeList(item cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		at := strings.LastIndexByte(typed, ',') + 1
		offered, directive := item(c, args, typed[at:])
		for i := range offered {
			offered[i] = typed[:at] + offered[i]
		}
		return offered, directive | cobra.ShellCompDirectiveNoSpace
	}
}
