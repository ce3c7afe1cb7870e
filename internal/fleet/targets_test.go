package fleet

import (
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
		got, err := unfoldIdentities([]string{tt.given})
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("unfoldIdentities(%q) = %q, %v; want %q", tt.given, got, err, tt.want)
		}
	}
	for _, wrong := range []string{"web[1-", "web1]", "web[9-1]", "web[a-b]", ",", "a,,b", "web[1-9999999]"} {
		if got, err := unfoldIdentities([]string{wrong}); err == nil {
			t.Errorf("unfoldIdentities(%q) = %q, want an error", wrong, got)
		}
	}
}
