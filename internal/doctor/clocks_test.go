package doctor

import (
	"strings"
	"testing"
	"time"
)

func TestClocksAreJudged(t *testing.T) {
	second := time.Second
	for _, tt := range []struct {
		name  string
		skews map[string]time.Duration
		want  string
	}{
		{"good", map[string]time.Duration{"a": 0, "b": second}, ""},
		{"one off", map[string]time.Duration{"a": 0, "b": -5 * second}, "1 of 2 clocks differ from ours, by up to -5s: b"},
		{"ours", map[string]time.Duration{"a": 4 * second, "b": 5 * second}, "every clock differs from ours, by up to 5s"},
	} {
		f := judgeClocks(tt.skews)
		if got := strings.Join(f.warnings, "; "); got != tt.want || (f.fix == "") != (tt.want == "") {
			t.Errorf("%s: got %q, fix %q, want %q", tt.name, got, f.fix, tt.want)
		}
	}
}
