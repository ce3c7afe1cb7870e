package cmd

import (
	"path/filepath"
	"testing"

	"fleetctl/internal/lab"
)

// XDG_CACHE_HOME names the folder of what is kept between runs. Without it and without a home, nothing is kept.
func TestTheEnvironmentNamesTheCacheFolder(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 3, Seed: 1})
	cache := p.path("cache")
	kept := func(pattern string) int {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(cache, "fleetctl", pattern))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	for _, folder := range []string{"", cache} {
		env := p.env()
		env["XDG_CACHE_HOME"] = folder
		if code, _, errs := runApp(t, env, "discover", "--discovery-timeout", "1"); code != 0 {
			t.Fatalf("exit %d: %s", code, errs)
		}
		want := 0
		if folder != "" {
			want = 1
		}
		if got := kept("nodes-*"); got != want {
			t.Errorf("XDG_CACHE_HOME=%q: %d lists of nodes, want %d", folder, got, want)
		}
	}
}
