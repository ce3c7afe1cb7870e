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

func TestTheCacheIsWhereTheSystemKeepsCaches(t *testing.T) {
	for _, tt := range []struct {
		variables map[string]string
		want      string
	}{
		{map[string]string{"HOME": "/home/bob"}, "/home/bob/.cache/fleetctl"},
		{map[string]string{"HOME": "/home/bob", "XDG_CACHE_HOME": "/fast"}, "/fast/fleetctl"},
	} {
		a := &app{name: productName, env: environment{func(name string) (string, bool) { v, ok := tt.variables[name]; return v, ok }}}
		if got := a.fleetOptions().CacheDir; got != tt.want {
			t.Errorf("%v: %s, want %s", tt.variables, got, tt.want)
		}
	}
}
