package cmd

import (
	"os"
	"testing"
)

// Colors are for terminals, and not against the operator's wish: the flag, the variables, color = false.
func TestColorsFollowTheOperator(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminal can be made here")
	}
	defer tty.Close()
	nodes := writeFile(t, "nodes", "n1\n")
	for _, tt := range []struct {
		name  string
		lines []string
		env   map[string]string
		args  []string
		want  bool
	}{
		{"a terminal", nil, nil, nil, true},
		{"color = false", []string{"color = false"}, nil, nil, false},
		{"color = true", []string{"color = true"}, nil, nil, true},
		{"--no-color", nil, nil, []string{"--no-color"}, false},
		{"NO_COLOR", nil, map[string]string{"NO_COLOR": ""}, nil, false},
		{"TERM=dumb", nil, map[string]string{"TERM": "dumb"}, nil, false},
	} {
		env := withVariable(unsigned, "FLEETCTL_CONFIG", writeConfig(t, tt.lines...))
		for k, v := range tt.env {
			env = withVariable(env, k, v)
		}
		a, _, errs := newApp(t, "", env)
		if code := a.execute(t.Context(), append([]string{"discover", "--nodes", nodes}, tt.args...)); code != 0 {
			t.Fatalf("%s: exit %d: %s", tt.name, code, errs)
		}
		if got := a.color(&stdout{Writer: tty}); got != tt.want {
			t.Errorf("%s: colors %t", tt.name, got)
		}
	}
}
