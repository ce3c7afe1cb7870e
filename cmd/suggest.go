package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
)

// shownNear is how many names are proposed for a mistyped one.
const shownNear = 3

// didYouMean proposes known names for a mistyped one: those that differ in few letters, else those of which one begins
// with the other. It is "" when there are none.
func didYouMean(name string, known []string) string {
	near := filter.NearestFew(name, known, shownNear)
	if len(near) == 0 && name != "" {
		for _, k := range known {
			if (strings.HasPrefix(k, name) || strings.HasPrefix(name, k)) && !slices.Contains(near, k) {
				near = append(near, k)
			}
		}
		near = near[:min(len(near), shownNear)]
	}
	switch len(near) {
	case 0:
		return ""
	case 1:
		return "did you mean " + near[0] + "?"
	}
	return "did you mean one of these? " + strings.Join(near, ", ")
}

// subcommandOnly refuses the arguments of a command that only has commands below it, and proposes one of those.
func subcommandOnly(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, sub := range c.Commands() {
		known = append(append(known, sub.Name()), sub.Aliases...)
		for _, below := range sub.Commands() { // `fleetctl resume` means `fleetctl runs resume`
			if below.Name() == args[0] {
				return usage(fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath()), "did you mean `"+below.CommandPath()+"`?")
			}
		}
	}
	if hint := asAction(c, args[0]); hint != "" {
		return usage(fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath()), hint)
	}
	hint := didYouMean(args[0], known)
	if hint == "" {
		hint = "see `" + c.CommandPath() + " --help`"
	}
	return usage(fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath()), hint)
}

// asAction is the command to write for an action that was typed as one, such as `fleetctl restart`; "" for other words.
func asAction(c *cobra.Command, name string) string {
	if c.HasParent() {
		return ""
	}
	for _, agent := range []string{"choria_provision", "rpcutil"} {
		doc, err := (ddl.Resolver{}).Resolve(c.Context(), agent)
		if err == nil && slices.Contains(doc.ActionNames(), name) {
			return "write `" + c.Name() + " req " + agent + " " + name + "`"
		}
	}
	return ""
}

// unknownFlag proposes flags of a command for a mistyped one; "" for other errors, and when none is near.
func unknownFlag(c *cobra.Command, err error) string {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || unknown.GetSpecifiedShortnames() != "" {
		return ""
	}
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, "--"+f.Name)
		}
	})
	return didYouMean("--"+unknown.GetSpecifiedName(), known)
}
