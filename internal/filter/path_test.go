package filter

import (
	"strings"
	"testing"
)

func TestTextsAt(t *testing.T) {
	const document = `{"nodes":[{"name":"a","up":true},{"name":"b"},{"other":1}],"mixed":["x",1,null,["y"],"z"],"none":[],"text":"a","a.b":["q"]}`
	tests := []struct {
		path, want string
		others     int
		ok         bool
	}{
		{"nodes.#.name", "a b", 0, true},
		{"nodes.#(up==true)#.name", "a", 0, true},
		{"nodes", "", 3, true},
		{"mixed", "x z", 3, true},
		{"none", "", 0, true},
		{`a\.b`, "q", 0, true},
		{"text", "", 0, false},
		{"nodes.0", "", 0, false},
		{"missing", "", 0, false},
		{"", "", 0, false},
	}
	for _, tt := range tests {
		texts, others, ok := TextsAt([]byte(document), tt.path)
		if got := strings.Join(texts, " "); got != tt.want || others != tt.others || ok != tt.ok {
			t.Errorf("TextsAt(%q) = %q, %d, %t; want %q, %d, %t", tt.path, got, others, ok, tt.want, tt.others, tt.ok)
		}
	}
}
