package cmd

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"fleetctl/internal/render"
)

// Set by the linker in releases.
var (
	version = ""
	commit  = ""
	date    = ""
)

// buildFacts is what `fleetctl version --json` prints.
type buildFacts struct {
	SchemaVersion int    `json:"schema_version"`
	Version       string `json:"version"`
	Commit        string `json:"commit,omitempty"`
	Date          string `json:"date,omitempty"`
	Go            string `json:"go"`
	Platform      string `json:"platform"`
	Protocols     []int  `json:"protocols"`
	Lab           bool   `json:"lab"` // false in a build without the practice fleet
}

func build() buildFacts {
	f := buildFacts{
		SchemaVersion: 1, Version: version, Commit: commit, Date: date,
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Protocols: []int{1, 2}, Lab: withLab,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return f
	}
	if f.Version == "" {
		f.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && f.Commit == "":
			f.Commit = s.Value
		case s.Key == "vcs.time" && f.Date == "":
			f.Date = s.Value
		}
	}
	return f
}

func newVersion(do func(out io.Writer, asJSON bool) error) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Show the version and how it was built",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return do(c.OutOrStdout(), asJSON) },
	}
	c.Flags().BoolVarP(&asJSON, "json", "j", false, "JSON")
	return c
}

func showVersion(out io.Writer, asJSON bool) error {
	f := build()
	if asJSON {
		return render.IndentedJSON(out, f)
	}
	without := ""
	if !f.Lab {
		without = ", without lab"
	}
	_, err := fmt.Fprintf(out, "fleetctl %s (%s, %s%s)\n", f.Version, f.Go, f.Platform, without)
	return err
}
