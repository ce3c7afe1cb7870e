package cmd

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// assetOptions are the flags of `fleetctl assets`.
type assetOptions struct {
	dir           string
	names         []string
	release, date string
	gzip          bool
}

// newAssets is a command for packagers, which no help shows.
func newAssets(do func(assetOptions) error) *cobra.Command {
	o := assetOptions{names: []string{productName, secondName}}
	c := &cobra.Command{
		Use:   "assets DIR",
		Short: "Write man pages and completion scripts into a folder, for packages",
		Long: `Writes man pages and the completion scripts of bash, zsh and fish into folders below DIR, as they lie below /usr/share.
The same program writes the same bytes.`,
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, name := range o.names {
				if name != productName && name != secondName {
					return usage(fmt.Errorf("--names: the program has no name %q", name), "its names are "+productName+" and "+secondName)
				}
			}
			o.dir = args[0]
			return do(o)
		},
	}
	c.Flags().StringSliceVar(&o.names, "names", o.names, "write scripts for each `NAME` of the program, and the man pages for the first")
	c.Flags().StringVar(&o.release, "release", "", "the `VERSION` that the man pages show; else that of this program")
	c.Flags().StringVar(&o.date, "date", "", "the `DATE` of the man pages; else that of the program's commit")
	c.Flags().BoolVar(&o.gzip, "gzip", false, "compress the man pages")
	return c
}

// assets are the files of a package beside the program and its documents, by their paths below share/.
func assets(o assetOptions) (map[string][]byte, error) {
	if len(o.names) == 0 {
		return nil, usage(errors.New("--names has no name"), "")
	}
	facts := build()
	m := manual{names: o.names, release: cmp.Or(o.release, facts.Version), date: cmp.Or(o.date, facts.Date), pages: map[string][]byte{}}
	if len(m.date) > len("2006-01-02") {
		m.date = m.date[:len("2006-01-02")] // commits have times
	}
	for i, name := range o.names {
		root := newRoot(&app{name: name, env: environment{func(string) (string, bool) { return "", false }}})
		if i == 0 {
			m.add(root)
		}
		for shell, at := range completionPaths {
			var script bytes.Buffer
			if err := shells[shell](&script, root); err != nil {
				return nil, err
			}
			m.pages[strings.ReplaceAll(at, "NAME", name)] = script.Bytes()
		}
	}
	return m.pages, nil
}

// completionPaths are where the shells look for a completion script.
var completionPaths = map[string]string{
	"bash": "bash-completion/completions/NAME", "zsh": "zsh/site-functions/_NAME", "fish": "fish/vendor_completions.d/NAME.fish",
}

// writeAssets writes each file with the permissions that it has in a package, whatever the umask is.
func writeAssets(o assetOptions) error {
	files, err := assets(o)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := files[name]
		if o.gzip && strings.HasPrefix(name, "man/") {
			name += ".gz"
			if data, err = compressed(data); err != nil {
				return err
			}
		}
		if err := writeAsset(o.dir, name, data); err != nil {
			return fmt.Errorf("write the files of a package: %w", err)
		}
	}
	return nil
}

func writeAsset(dir, name string, data []byte) error {
	for _, folder := range []string{path.Dir(path.Dir(name)), path.Dir(name)} {
		at := filepath.Join(dir, filepath.FromSlash(folder))
		if err := errors.Join(os.MkdirAll(at, 0o755), os.Chmod(at, 0o755)); err != nil {
			return err
		}
	}
	at := filepath.Join(dir, filepath.FromSlash(name))
	return errors.Join(os.WriteFile(at, data, 0o644), os.Chmod(at, 0o644))
}

// compressed is a gzip stream without a time or a name in it.
func compressed(data []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, bytes.NewReader(data)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
