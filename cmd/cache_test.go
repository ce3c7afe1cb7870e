package cmd

import "testing"

func TestTheCacheIsWhereTheSystemKeepsCaches(t *testing.T) {
	for _, tt := range []struct {
		variables map[string]string
		want      string
	}{
		{map[string]string{"HOME": "/home/bob"}, "/home/bob/.cache/fleetctl"},
		{map[string]string{"HOME": "/home/bob", "XDG_CACHE_HOME": "/fast"}, "/fast/fleetctl"},
	} {
		a := &app{env: environment{func(name string) (string, bool) { v, ok := tt.variables[name]; return v, ok }}}
		if got := a.fleetOptions().CacheDir; got != tt.want {
			t.Errorf("%v: %s, want %s", tt.variables, got, tt.want)
		}
	}
}
