//go:build nolab

package cmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

// withLab says that this build has no practice fleet. Packagers choose that with the build tag nolab (docs/adr/0032).
const withLab = false

// labOptions has nothing to hold: there is no lab to start.
type labOptions struct{}

// newLab makes a command that takes every line that is right in the other build, and says what to do instead.
func newLab(a *app, do func(context.Context, *app, labOptions) error) *cobra.Command {
	return &cobra.Command{
		Use:   "lab",
		Short: "A practice fleet: not in this build",
		Long: `This build of fleetctl has no practice fleet: it was made with the build tag nolab. Everything else works as documented.
Use another build for practice: ` + otherBuild + ".",
		DisableFlagParsing: true,
		RunE:               func(c *cobra.Command, _ []string) error { return do(c.Context(), a, labOptions{}) },
	}
}

// otherBuild is what to do without a practice fleet.
const otherBuild = "the released archive of fleetctl has one, and so has `go run . lab` in its source"

func runLab(context.Context, *app, labOptions) error {
	return usage(errors.New("this build of fleetctl has no practice fleet"), "use another build: "+otherBuild)
}
