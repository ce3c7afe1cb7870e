package cmd

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"fleetctl/internal/config"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
)

func newSites(a *app, do func(context.Context, *app, bool) error) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "sites",
		Short: "List the sites of the settings, with their configurations and limits",
		Long: `A site is one of several fleets: a Choria client configuration, and limits for it. --site NAME, or FLEETCTL_SITE, chooses
one. The limits are those in force there: the strictest of the site's own and those for all.`,
		Example: "  fleetctl --site ams ping",
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return do(c.Context(), a, asJSON) },
	}
	c.Flags().BoolVarP(&asJSON, "json", "j", false, "JSON")
	return c
}

// siteLine is a site as it is listed.
type siteLine struct {
	Name          string `json:"name"`
	Config        string `json:"config"`
	Chosen        bool   `json:"chosen"` // by --site or FLEETCTL_SITE
	MaxNodes      int    `json:"max_nodes"`
	RequireFilter bool   `json:"require_filter"`
	Confirm       bool   `json:"confirm"`
	ReadOnly      bool   `json:"read_only"`

	Locks   []string `json:"locks,omitempty"`
	MaxDown []string `json:"max_down,omitempty"`
}

// limits are the limits in force, in words.
func (s siteLine) limits() string {
	var out []string
	for _, l := range []struct {
		on   bool
		text string
	}{
		{s.ReadOnly, "read_only"}, {s.MaxNodes > 0, "max_nodes " + strconv.Itoa(s.MaxNodes)}, {s.RequireFilter, "require_filter"}, {s.Confirm, "confirm"},
		{len(s.Locks) > 0, "lock " + strings.Join(s.Locks, ", ")}, {len(s.MaxDown) > 0, "max_down " + strings.Join(s.MaxDown, ", ")},
	} {
		if l.on {
			out = append(out, l.text)
		}
	}
	return strings.Join(out, ", ")
}

func siteLines(s config.Settings, chosen string) ([]siteLine, error) {
	lines := []siteLine{}
	for _, name := range slices.Sorted(maps.Keys(s.Sites)) {
		at, err := s.At(name)
		if err != nil {
			return nil, err
		}
		lines = append(lines, siteLine{name, s.Sites[name].Config, name == chosen, at.MaxNodes, at.RequireFilter, at.Confirm, at.ReadOnly, at.Locks, at.MaxDown})
	}
	return lines, nil
}

func listSites(_ context.Context, a *app, asJSON bool) error {
	s, err := a.env.settings()
	if err != nil {
		return err
	}
	lines, err := siteLines(s, a.fleetOptions().SiteName())
	if err != nil {
		return err
	}
	if asJSON {
		return render.IndentedJSON(a.io.out, struct {
			SchemaVersion int        `json:"schema_version"`
			Sites         []siteLine `json:"sites"`
		}{render.SchemaVersion, lines})
	}
	if len(lines) == 0 {
		a.say("no sites in %s", plain.Line(a.env.settingsFile()))
		return nil
	}
	rows := make([][]string, len(lines))
	for i, l := range lines {
		if rows[i] = []string{l.Name, l.Config, l.limits()}; l.Chosen {
			rows[i][0] += " (chosen)"
		}
	}
	return render.Table(a.io.out, "", []string{"Site", "Configuration", "Limits"}, rows)
}

// completeSites offers the sites of the settings.
func completeSites(a *app) ([]cobra.Completion, cobra.ShellCompDirective) {
	s, err := a.env.settings()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp // completion must not complain
	}
	var out []cobra.Completion
	for _, name := range slices.Sorted(maps.Keys(s.Sites)) {
		out = append(out, cobra.CompletionWithDesc(name, s.Sites[name].Config))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
