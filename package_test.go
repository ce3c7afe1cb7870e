package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// packaged is an entry of the list of files in .goreleaser.yaml.
type packaged struct {
	Src, Dst, Type, Packager string
}

// releaseList is what the tests read of .goreleaser.yaml.
type releaseList struct {
	Builds []struct {
		Flags        []string
		ModTimestamp string `yaml:"mod_timestamp"`
	}
	Archives []struct {
		Files []struct{ Src string }
	}
	Nfpms []struct {
		Formats  []string
		Mtime    string
		Contents []packaged
	}
	Sboms    []struct{ Args []string }
	Checksum struct{ Algorithm string }
}

func readReleaseList(t *testing.T) releaseList {
	t.Helper()
	data, err := os.ReadFile(".goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var list releaseList
	if err := yaml.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Nfpms) != 1 || len(list.Builds) != 1 || len(list.Archives) != 1 {
		t.Fatalf("%+v", list)
	}
	return list
}

// writtenAssets has the program write its man pages and completion scripts, and returns the folder.
func writtenAssets(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "assets")
	c := exec.CommandContext(t.Context(), self)
	c.Args = []string{"fleetctl", "assets", "--gzip", dir} // the test binary is fleetctl when it is called so
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// Each file that a package lists exists or is generated, and stands in the package once. release-check compares the lists
// with packages that were built.
func TestPackagesHoldWhatTheirListSays(t *testing.T) {
	t.Parallel()
	list, assets := readReleaseList(t), writtenAssets(t)
	n := list.Nfpms[0]
	if !slices.Equal(n.Formats, []string{"deb", "rpm", "apk"}) {
		t.Errorf("formats: %q", n.Formats)
	}
	for _, format := range n.Formats {
		held := map[string]string{"/usr/bin/fleetctl": "the program"}
		for _, p := range n.Contents {
			if p.Packager != "" && p.Packager != format {
				continue
			}
			if p.Type == "symlink" {
				held[p.Dst] = p.Src
				continue
			}
			pattern := filepath.FromSlash(p.Src)
			if rest, ok := strings.CutPrefix(p.Src, "bin/assets/"); ok {
				pattern = filepath.Join(assets, filepath.FromSlash(rest))
			}
			found, err := filepath.Glob(pattern)
			if err != nil || len(found) == 0 {
				t.Errorf("%s: nothing is %s: %v", format, p.Src, err)
			}
			for _, f := range found {
				at := p.Dst
				if strings.HasSuffix(p.Dst, "/") {
					at += filepath.Base(f)
				}
				if held[at] != "" {
					t.Errorf("%s: %s is held twice, as %s and %s", format, at, held[at], p.Src)
				}
				held[at] = p.Src
			}
		}
		license, zsh := "/usr/share/licenses/fleetctl/LICENSE", "/usr/share/zsh/site-functions/_fleetctl"
		if format == "deb" { // where Debian has them
			license, zsh = "/usr/share/doc/fleetctl/copyright", "/usr/share/zsh/vendor-completions/_fleetctl"
		}
		for _, want := range []string{"/usr/bin/choria-fleetctl", "/usr/share/man/man1", "/usr/share/man/man7", "/usr/share/bash-completion/completions",
			"/usr/share/fish/vendor_completions.d", "/usr/share/doc/fleetctl/docs/examples", "/usr/share/doc/fleetctl/examples", "/usr/share/doc/fleetctl/README.md", license, zsh} {
			if held[want] == "" {
				t.Errorf("the %s lacks %s", format, want)
			}
		}
	}
	entries, err := os.ReadDir(assets)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries { // every kind of generated file is in a package
		if !slices.ContainsFunc(n.Contents, func(p packaged) bool { return strings.HasPrefix(p.Src, "bin/assets/"+e.Name()+"/") }) {
			t.Errorf("no package has bin/assets/%s", e.Name())
		}
	}
}

// What would make two builds of one commit differ: paths of the machine, times of the build, serial numbers.
func TestReleasesCanBeRepeated(t *testing.T) {
	list := readReleaseList(t)
	b, n := list.Builds[0], list.Nfpms[0]
	if !slices.Contains(b.Flags, "-trimpath") || !strings.Contains(b.ModTimestamp, "CommitTimestamp") || !strings.Contains(n.Mtime, "CommitDate") {
		t.Errorf("%+v, mtime %q", b, n.Mtime)
	}
	if len(list.Sboms) != 1 || !slices.Contains(list.Sboms[0].Args, "-noserial") || !slices.Contains(list.Sboms[0].Args, "-notimestamp") || list.Checksum.Algorithm != "sha256" {
		t.Errorf("SBOM %+v, checksum %+v", list.Sboms, list.Checksum)
	}
	data, err := os.ReadFile(".goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"{{ .Date }}", "{{ .Now", "{{ .Timestamp }}"} {
		if strings.Contains(string(data), word) {
			t.Errorf(".goreleaser.yaml has the time of the build: %s", word)
		}
	}
}
