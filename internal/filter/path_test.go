package filter

import (
	"strings"
	"testing"
)

func TestTextsAt(t *testing.T) {
	const document = `{"nodes":[{"name":"a","up":true},{"name":"b"},{"other":1}],"mixed":["x",1,null,["y"],"z"],"late":["x",["y"]],"yes":[true],"nil":[null],"none":[],"text":"a","a.b":["q"]}`
	tests := []struct {
		path, want string
		odd        string
		ok         bool
	}{
		{"nodes.#.name", "a b", "", true},
		{"nodes.#(up==true)#.name", "a", "", true},
		{"nodes", "", "member 1 is an object", true},
		{"mixed", "x z", "member 2 is a number", true},
		{"late", "x", "member 2 is an array", true},
		{"yes", "", "member 1 is a truth value", true},
		{"nil", "", "member 1 is null", true},
		{"none", "", "", true},
		{`a\.b`, "q", "", true},
		{"text", "", "", false},
		{"nodes.0", "", "", false},
		{"missing", "", "", false},
		{"", "", "", false},
	}
	for _, tt := range tests {
		texts, odd, ok := TextsAt([]byte(document), tt.path)
		if got := strings.Join(texts, " "); got != tt.want || odd != tt.odd || ok != tt.ok {
			t.Errorf("TextsAt(%q) = %q, %q, %t; want %q, %q, %t", tt.path, got, odd, ok, tt.want, tt.odd, tt.ok)
		}
	}
}
