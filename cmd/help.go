package cmd

import (
	"embed"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"
)

// topicFiles are the help topics: the first line is the title. docs/ has the same at length; tests compare them.
//
//go:embed topics/*.txt
var topicFiles embed.FS

// newTopics are commands that only have a text: cobra lists them below the real ones.
func newTopics() []*cobra.Command {
	entries, err := topicFiles.ReadDir("topics")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	var out []*cobra.Command
	for _, e := range entries {
		text, err := topicFiles.ReadFile(path.Join("topics", e.Name()))
		if err != nil {
			panic(err)
		}
		title, body, _ := strings.Cut(string(text), "\n")
		out = append(out, &cobra.Command{Use: strings.TrimSuffix(e.Name(), ".txt"), Short: title, Long: title + "\n" + strings.TrimRight(body, "\n")})
	}
	return out
}

// newHelp is `fleetctl help COMMAND`, `fleetctl help req AGENT ACTION` and `fleetctl help TOPIC`.
func newHelp(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "help [COMMAND | TOPIC]",
		Short: "Explain a command, an action of an agent, or a topic",
		Example: `  fleetctl help req
  fleetctl help req --all
  fleetctl help req choria_provision restart
  fleetctl help exit-codes`,
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var out []cobra.Completion
			at, rest, err := c.Root().Find(args)
			if err == nil && at.Name() == reqName {
				return completeRequest(a)(c, rest, typed)
			}
			if err == nil {
				for _, sub := range at.Commands() {
					if sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
						out = append(out, cobra.CompletionWithDesc(sub.Name(), sub.Short))
					}
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error { return explain(a, c, args, all) },
	}
	c.Flags().BoolVar(&all, "all", false, "explain every flag, not only the common ones")
	return c
}

// explain writes the help of what the arguments name.
func explain(a *app, c *cobra.Command, args []string, all bool) error {
	about, rest, err := c.Root().Find(args)
	switch {
	case err == nil && about.Name() == reqName && len(rest) > 0:
		return explainAgent(a, rest)
	case err != nil || len(rest) > 0:
		if about == nil {
			about = c.Root()
		}
		return noHelp(about, args)
	}
	about.InitDefaultHelpFlag()
	_, err = io.WriteString(a.io.out, helpOf(about, widthOf(a.io.out), all))
	return err
}

// noHelp refuses a name that is neither a command nor a topic, below the command that was found.
func noHelp(at *cobra.Command, args []string) error {
	var topics, known []string
	for _, sub := range at.Commands() {
		known = append(append(known, sub.Name()), sub.Aliases...)
		if sub.IsAdditionalHelpTopicCommand() {
			topics = append(topics, sub.Name())
		}
	}
	hint := didYouMean(args[len(args)-1], known)
	if hint == "" && len(topics) > 0 {
		hint = "topics: " + strings.Join(topics, ", ")
	}
	return usage(fmt.Errorf("no help about %q", strings.Join(args, " ")), hint)
}

// addHelp makes every command write its help as helpOf has it.
func addHelp(a *app, root *cobra.Command) {
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		if agent := c.Flags().Args(); c.Name() == reqName && len(agent) > 0 {
			if err := explainAgent(a, agent); err != nil {
				a.helpError = err
			}
			return
		}
		_, _ = io.WriteString(a.io.out, helpOf(c, widthOf(a.io.out), false)) // stdout keeps the error
	})
	root.SetHelpCommand(newHelp(a))
}
