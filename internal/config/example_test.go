package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The example of the settings has every setting, commented out, and is right once a # is removed.
func TestTheExampleHasEverySetting(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := parseSettings(text); err != nil || !s.IsZero() {
		t.Errorf("as it is, the example sets something: %+v, %v", s, err)
	}
	used := regexp.MustCompile(`(?m)^#([a-z_]+:|  )`).ReplaceAllString(string(text), "$1")
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(used), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := LoadSettings(path)
	if err != nil || s.IsZero() || len(s.Sites) == 0 || len(s.Collectives) == 0 || s.Collectives["production"].Locks == nil || !s.Collectives["production"].Share || s.Sites["fra"].Locks == nil || s.Prometheus.TokenFile == "" || len(s.Approvals) != 2 {
		t.Errorf("without its #, the example is %+v, %v", s, err)
	}
	for _, k := range settingKeys {
		if strings.Count(used, "\n"+k.name+":") != 1 {
			t.Errorf("docs/examples/config.yaml has no line #%s: show the setting there, commented out", k.name)
		}
	}
}
