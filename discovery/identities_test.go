package discovery

import (
	"errors"
	"strings"
	"testing"
)

func TestNodeSetsBecomeNames(t *testing.T) {
	tests := []struct{ given, want string }{
		{"web1", "web1"},
		{"web[09-11].ams1", "web09.ams1 web10.ams1 web11.ams1"},
		{"db3,web[2,1]", "db3 web1 web2"},
		{"/web[0-9]/", "/web[0-9]/"},
		{"/web[0-9]", "/web[0-9]"}, // refused by the filter, with the regex to write
		{"web[0-9]*", "web[0-9]*"},
		{`pql:inventory { facts.a in ["b","c"] }`, `pql:inventory { facts.a in ["b","c"] }`},
		{"group:a,b", "group:a,b"},
	}
	for _, tt := range tests {
		got, err := UnfoldIdentities([]string{tt.given})
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("UnfoldIdentities(%q) = %q, %v; want %q", tt.given, got, err, tt.want)
		}
	}
	for given, hint := range map[string]string{
		"web{01,02}": "write -I 'web[01,02]'", "web{1..9}.ams": "write -I 'web[1-9].ams'", "web{a,b}": "write a node set such as",
	} {
		got, err := UnfoldIdentities([]string{given})
		if e, ok := errors.AsType[*SourceError](err); !ok || e.Kind != Misuse || !strings.Contains(e.Hint, hint) {
			t.Errorf("UnfoldIdentities(%q) = %q, %v; want misuse, %s", given, got, err, hint)
		}
	}
	for _, wrong := range []string{"web[1-", "web1]", "web[9-1]", "web[a-b]", ",", "a,,b", "web[1-9999999]"} {
		if got, err := UnfoldIdentities([]string{wrong}); err == nil {
			t.Errorf("UnfoldIdentities(%q) = %q, want an error", wrong, got)
		}
	}
}
