package cmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// noArguments refuses arguments of a command that takes flags only. When nodes are chosen by flags, the argument was
// probably meant as a filter.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see `" + c.CommandPath() + " --help`"
	if c.Flags().Lookup("wi") != nil {
		hint = "nodes are chosen by flags: `" + c.CommandPath() + " -I NAME`"
	}
	return usage(fmt.Errorf("unexpected argument %q", args[0]), hint)
}

// aRun requires the argument RUN. More arguments may follow when the command takes inputs.
func aRun(most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usage(errors.New("the name of a run is missing"), "write `"+c.CommandPath()+" RUN`, where RUN is an id, its beginning, or last; `fleetctl runs list` has them")
		case args[0] == "":
			return usage(errors.New("the name of the run is empty"), "is a variable unset? `fleetctl runs list` has the names")
		case most > 0 && len(args) > most:
			return usage(fmt.Errorf("unexpected argument %q", args[most]), "see `"+c.CommandPath()+" --help`")
		}
		return nil
	}
}

// atMostOneNode checks the arguments of inventory.
func atMostOneNode(c *cobra.Command, args []string) error {
	if len(args) <= 1 {
		return nil
	}
	return usage(errors.New("one identity at a time"), "of several nodes: `"+c.CommandPath()+" -I NAME -I NAME`")
}

// wrongArgumentsAreUsage makes wrong arguments, unknown commands included, end with the code of wrong usage, as wrong
// flags do.
func wrongArgumentsAreUsage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if _, ours := errors.AsType[*exitError](err); err == nil || ours {
				return err
			}
			return usage(err, "see `"+c.CommandPath()+" --help`")
		}
	}
	for _, sub := range c.Commands() {
		wrongArgumentsAreUsage(sub)
	}
}
