package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSites(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		text string
		want map[string]Site
		err  string
	}{
		{"sites: {}", map[string]Site{}, ""},
		{"sites: {ams: {config: /etc/ams.conf}}", map[string]Site{"ams": {Config: "/etc/ams.conf"}}, ""},
		{"sites:\n  ams-1.x_y: {config: ams.conf, max_nodes: 5, require_filter: true, confirm: true, read_only: true, lock: ams, max_down: 9, share: true}\n  fra: {config: ../fra.conf}",
			map[string]Site{"ams-1.x_y": {filepath.Join(dir, "ams.conf"), Limits{5, true, true, true, []string{"ams"}, []string{"9"}, true}}, "fra": {Config: filepath.Join(filepath.Dir(dir), "fra.conf")}}, ""},
		{"sites: 5", nil, "line 1: sites: expected key: value"},
		{"sites:", nil, "line 1: sites: expected key: value"},
		{"sites: [ams]", nil, "line 1: sites: expected key: value"},
		{"sites:\n  ams: /etc/ams.conf", nil, "line 2: site ams: expected key: value"},
		{"sites:\n  ams: {}", nil, "line 2: site ams has no config"},
		{"sites:\n  ams: {read_only: true}", nil, "line 2: site ams has no config"},
		{"sites: {ams: {config: 5}}", nil, "line 1: config of site ams"},
		{"sites: {ams: {config: ~/ams.conf}}", nil, "want the path of a file, absolute or from the folder"},
		{`sites: {ams: {config: "/a\e[2J"}}`, nil, "want the path of a file"},
		{"sites: {ams: {config: /a, readonly: true}}", nil, "unknown setting readonly of site ams: did you mean read_only? there are config, max_nodes, require_filter, confirm, read_only"},
		{"sites: {ams: {config: /a, signer_ca: /b}}", nil, "unknown setting signer_ca of site ams"},
		{"sites: {ams: {config: /a, sites: {}}}", nil, "unknown setting sites of site ams"},
		{"sites: {ams: {config: /a, max_nodes: -1}}", nil, "line 1: max_nodes"},
		{"sites: {ams: {config: /a, read_only: maybe}}", nil, "line 1: read_only"},
		{"sites:\n  ams: {config: /a}\n  ams: {config: /b}", nil, "line 3: ams is already set in line 2"},
		{"sites: {ams: {config: /a, config: /b}}", nil, "config is already set"},
		{"sites: {\"\": {config: /a}}", nil, "is no name of a site"},
		{"sites: {-x: {config: /a}}", nil, "is no name of a site"},
		{"sites: {\"a b\": {config: /a}}", nil, "is no name of a site"},
		{"sites: {\"a/../b\": {config: /a}}", nil, "is no name of a site"},
	} {
		path := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := LoadSettings(path)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(strings.ReplaceAll(err.Error(), `"`, ""), tt.err) {
			t.Errorf("%q: error %v, want %q", tt.text, err, tt.err)
		}
		if d := cmp.Diff(tt.want, got.Sites); d != "" {
			t.Errorf("%q: %s", tt.text, d)
		}
	}
}

func TestASiteIsNeverLaxer(t *testing.T) {
	all := map[string]Site{"free": {Config: "/f"}, "strict": {"/s", Limits{5, true, true, true, []string{"s"}, []string{"rack=1"}, true}}, "large": {Config: "/l", Limits: Limits{MaxNodes: 900}}}
	for _, tt := range []struct {
		s    Settings
		site string
		want Settings
	}{
		{Settings{}, "", Settings{}},
		{Settings{}, "free", Settings{Site: "free"}},
		{Settings{}, "strict", Settings{Site: "strict", MaxNodes: 5, RequireFilter: true, Confirm: true, ReadOnly: true, Locks: []string{"s"}, MaxDown: []string{"rack=1"}, Share: true}},
		{Settings{MaxNodes: 3, ReadOnly: true, Confirm: true, RequireFilter: true}, "free", Settings{Site: "free", MaxNodes: 3, ReadOnly: true, Confirm: true, RequireFilter: true}},
		{Settings{MaxNodes: 3, Locks: []string{"all"}, MaxDown: []string{"7"}}, "strict", Settings{Site: "strict", MaxNodes: 3, RequireFilter: true, Confirm: true, ReadOnly: true, Locks: []string{"all", "s"}, MaxDown: []string{"7", "rack=1"}, Share: true}},
		{Settings{MaxNodes: 500, SignerCA: "/ca"}, "large", Settings{Site: "large", MaxNodes: 500, SignerCA: "/ca"}},
		{Settings{}, "large", Settings{Site: "large", MaxNodes: 900}},
	} {
		tt.s.Sites, tt.want.Sites = all, all
		got, err := tt.s.At(tt.site)
		if d := cmp.Diff(tt.want, got); d != "" || err != nil {
			t.Errorf("at %q: %s%v", tt.site, d, err)
		}
	}
	for name, want := range map[string]string{"fre": "did you mean free? there are free, large, strict", "moon": "there are free, large, strict"} {
		_, err := Settings{Sites: all}.At(name)
		if e, ok := errors.AsType[*UnknownSiteError](err); !ok || e.Hint() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Settings{}).At("x"); err == nil || !strings.Contains(err.(*UnknownSiteError).Hint(), "no sites") {
		t.Errorf("no sites: %v", err)
	}
}

func TestCollectives(t *testing.T) {
	for _, tt := range []struct {
		text string
		want map[string]Limits
		err  string
	}{
		{"collectives: {}", map[string]Limits{}, ""},
		{"collectives:\n  production: {lock: production, max_down: [50, rack=1], share: true}\n  mt-1_x: {read_only: true, max_nodes: 5, confirm: true, require_filter: true}",
			map[string]Limits{"production": {Locks: []string{"production"}, MaxDown: []string{"50", "rack=1"}, Share: true}, "mt-1_x": {MaxNodes: 5, RequireFilter: true, Confirm: true, ReadOnly: true}}, ""},
		{"collectives: 5", nil, "line 1: collectives: expected key: value"},
		{"collectives: {production: web}", nil, "line 1: collective production: expected key: value"},
		{"collectives: {production: {locks: web}}", nil, "unknown setting locks of collective production: did you mean lock? there are max_nodes, require_filter"},
		{"collectives: {production: {config: /a}}", nil, "unknown setting config of collective production"},
		{"collectives: {production: {lock: a b}}", nil, "line 1: lock is a b: want the name of a lock"},
		{"collectives: {production: {share: maybe}}", nil, "line 1: share is maybe: want true or false"},
		{"collectives: {production: {max_down: 0}}", nil, "line 1: max_down is 0: want a number of nodes"},
		{"collectives: {\"\": {share: true}}", nil, "is no name of a collective"},
		{"collectives: {a.b: {share: true}}", nil, "is no name of a collective"},
		{"collectives: {\"a b\": {share: true}}", nil, "is no name of a collective"},
		{"collectives: {\"*\": {share: true}}", nil, "is no name of a collective"},
		{"collectives:\n  a: {share: true}\n  a: {lock: b}", nil, "line 3: a is already set in line 2"},
	} {
		got, err := parseSettings([]byte(tt.text))
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(strings.ReplaceAll(err.Error(), `"`, ""), tt.err) {
			t.Errorf("%q: error %v, want %q", tt.text, err, tt.err)
		}
		if d := cmp.Diff(tt.want, got.Collectives); d != "" {
			t.Errorf("%q: %s", tt.text, d)
		}
	}
}

// Limits for all, of a site and of a collective add up: none of them takes away what another demands.
func TestTheLimitsOfACollectiveAddUp(t *testing.T) {
	s := Settings{
		MaxNodes: 100, Locks: []string{"all"}, MaxDown: []string{"9"}, Share: true,
		Sites:       map[string]Site{"ams": {Config: "/a", Limits: Limits{MaxNodes: 50, Locks: []string{"ams"}, MaxDown: []string{"rack=1"}}}},
		Collectives: map[string]Limits{"production": {MaxNodes: 70, Locks: []string{"production"}, MaxDown: []string{"7"}, ReadOnly: true}},
	}
	at, err := s.At("ams")
	if err != nil {
		t.Fatal(err)
	}
	got, want := at.In("production"), at
	want.Locks, want.MaxDown, want.ReadOnly = []string{"all", "ams", "production"}, []string{"9", "rack=1", "7"}, true
	if d := cmp.Diff(want, got); d != "" || got.MaxNodes != 50 || !got.Share {
		t.Errorf("at ams, in production: %s", d)
	}
	if d := cmp.Diff(at, at.In("testing")); d != "" {
		t.Errorf("in a collective without limits: %s", d)
	}
}
