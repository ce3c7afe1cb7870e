package filter

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"token", "splay", "repository", "C"}
	for name, want := range map[string]string{"tokn": "token", "tkoen": "token", "Token": "token", "spaly": "splay",
		"repo": "", "repositry": "repository", "zzz": "", "": "", "c": "C"} {
		if got := Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestNearestFew(t *testing.T) {
	known := []string{"version", "virtual", "class", "versions", "version", "agent"}
	for name, want := range map[string]string{"versoin": "version versions", "clas": "class", "VIRTUAL": "virtual", "zzzzzz": "", "": ""} {
		if got := strings.Join(NearestFew(name, known, 2), " "); got != want {
			t.Errorf("NearestFew(%q) = %q, want %q", name, got, want)
		}
	}
	long := strings.Repeat("a", 700)
	if got := NearestFew(long, []string{strings.Repeat("b", 600)}, 1); len(got) > 0 {
		t.Error("names without a common letter are near because they are long")
	}
}
