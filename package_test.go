package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
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

// holds is what a package of a format holds, by its place, each with where it comes from.
func (l releaseList) holds(t *testing.T, format, assets string) map[string]string {
	held := map[string]string{"/usr/bin/fleetctl": "the program"}
	for _, p := range l.Nfpms[0].Contents {
		if p.Packager != "" && p.Packager != format {
			continue
		}
		if p.Type == "dir" {
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
			if info, err := os.Stat(f); err != nil || info.IsDir() {
				t.Errorf("%s: %s in %s is a folder, of which nfpm would lose the names: %v", format, f, p.Src, err)
			}
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
	return held
}

// A package holds each file that is generated, each page of the documentation, and what its system expects. release-check
// compares packages that were built with the same files.
func TestPackagesHoldWhatTheirListSays(t *testing.T) {
	notRaced(t)
	t.Parallel()
	list, assets := readReleaseList(t), writtenAssets(t)
	if got := list.Nfpms[0].Formats; !slices.Equal(got, []string{"deb", "rpm", "apk"}) {
		t.Errorf("formats: %q", got)
	}
	const doc = "/usr/share/doc/fleetctl/"
	want := []string{"/usr/bin/fleetctl", "/usr/bin/choria-fleetctl", doc + "README.md", doc + "CHANGELOG.md", doc + "CONTRIBUTING.md", doc + "examples/config.yaml"}
	for _, file := range trackedFiles(t) {
		if strings.HasPrefix(file, "docs/") {
			want = append(want, doc+file)
		}
	}
	for file := range filesBelow(t, assets) {
		want = append(want, "/usr/share/"+file)
	}
	for _, format := range list.Nfpms[0].Formats {
		want := slices.Clone(want)
		license := "/usr/share/licenses/fleetctl/LICENSE"
		if format == "deb" { // where Debian has them
			license = doc + "copyright"
			for i := range want {
				want[i] = strings.Replace(want[i], "/zsh/site-functions/", "/zsh/vendor-completions/", 1)
			}
		}
		want = append(want, license)
		held := list.holds(t, format, assets)
		for _, file := range want {
			if held[file] == "" {
				t.Errorf("the %s lacks %s", format, file)
			}
			delete(held, file)
		}
		for file, from := range held {
			t.Errorf("the %s holds %s, from %s: why?", format, file, from)
		}
	}
}

// rpm removes a folder with its package only where the package has it.
func TestTheRPMHasItsOwnFolders(t *testing.T) {
	t.Parallel()
	list, own := readReleaseList(t), map[string]bool{}
	for _, p := range list.Nfpms[0].Contents {
		if p.Type == "dir" && p.Packager == "rpm" {
			own[p.Dst] = true
		}
	}
	for file := range list.holds(t, "rpm", writtenAssets(t)) {
		for dir := path.Dir(file); strings.Contains(dir, "/fleetctl"); dir = path.Dir(dir) {
			if !own[dir] {
				t.Errorf("the rpm has %s and not the folder %s", file, dir)
			}
		}
	}
}

// filesBelow are the files below a folder, by their paths in it.
func filesBelow(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files := map[string]bool{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files[path] = true
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files below %s, %v", len(files), dir, err)
	}
	return files
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
