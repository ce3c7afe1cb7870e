package cmd

import (
	"embed"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"fleetctl/internal/render"
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

// newHelp is `fleetctl help COMMAND` and `fleetctl help TOPIC`.
func newHelp(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | TOPIC]",
		Short: "Explain a command or a topic",
		Args:  cobra.ArbitraryArgs,
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var out []cobra.Completion
			if at, _, err := c.Root().Find(args); err == nil {
				for _, sub := range at.Commands() {
					if sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
						out = append(out, cobra.CompletionWithDesc(sub.Name(), sub.Short))
					}
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				var topics []string
				for _, t := range newTopics() {
					topics = append(topics, t.Name())
				}
				return usage(fmt.Errorf("no help about %q", strings.Join(args, " ")), "topics: "+strings.Join(topics, ", "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// fitHelp lays the help of all commands out for the terminal; elsewhere it stays as it was written.
func fitHelp(a *app, root *cobra.Command) {
	if !isTerminal(a.io.out) {
		return
	}
	width := widthOf(a.io.out)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages ", fmt.Sprintf("Flags.FlagUsagesWrapped %d ", width)))
	var fit func(c *cobra.Command)
	fit = func(c *cobra.Command) {
		c.Long = render.Reflow(c.Long, width)
		for _, sub := range c.Commands() {
			fit(sub)
		}
	}
	fit(root)
}
