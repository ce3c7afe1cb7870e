package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	tests := []struct {
		text string
		want Settings
		err  string
	}{
		{"", Settings{}, ""},
		{"# only a comment\n", Settings{}, ""},
		{"---\n", Settings{}, ""},
		{"{}", Settings{}, ""},
		{"max_nodes: 500\nrequire_filter: true\nconfirm: true\nread_only: true\n", Settings{MaxNodes: 500, RequireFilter: true, Confirm: true, ReadOnly: true}, ""},
		{"signer_ca: /etc/pki/site.pem\ninsecure_signer: true\n", Settings{SignerCA: "/etc/pki/site.pem", InsecureSigner: true}, ""},
		{"on_event: |\n  tell chat\n  tell mail\n", Settings{OnEvent: "tell chat\ntell mail\n"}, ""},
		{"on_event: [tell]", Settings{}, "want a command for the shell"},
		{"on_event: \" \"", Settings{}, "want a command for the shell"},
		{"on_event: \"a\\e[2J\"", Settings{}, "want a command for the shell"},
		{"signer_ca: 5", Settings{}, "line 1: signer_ca"},
		{"signer_ca: \"\"", Settings{}, "line 1: signer_ca"},
		{"insecure_signer: maybe", Settings{}, "line 1: insecure_signer"},
		{"lock: web-1_a", Settings{Locks: []string{"web-1_a"}}, ""},
		{"lock: a.b", Settings{}, "the name of a lock"},
		{"lock: 5", Settings{}, "the name of a lock"},
		{"max_down: 5", Settings{MaxDown: []string{"5"}}, ""},
		{"max_down: [rack=1, 20]", Settings{MaxDown: []string{"rack=1", "20"}}, ""},
		{"max_down: 0", Settings{}, "a number of nodes, FACT=N, or a list of them"},
		{"max_down: rack", Settings{}, "a number of nodes, FACT=N, or a list of them"},
		{"max_down: [[5]]", Settings{}, "a number of nodes, FACT=N, or a list of them"},
		{"max_down: {a: 5}", Settings{}, "a number of nodes, FACT=N, or a list of them"},
		{"max_nodes: 0\nread_only: false", Settings{}, ""},
		{"# c\nmax_node: 5\n", Settings{}, `line 2: unknown setting "max_node": did you mean max_nodes?`},
		{"readonly: true", Settings{}, "did you mean read_only?"},
		{"collor: true", Settings{}, `unknown setting "collor": there are max_nodes, require_filter`},
		{"\"a\\e[2J\": true", Settings{}, `unknown setting "a\x1b[2J"`},
		{"signer_ca: \"/a\\e[2J\"", Settings{}, "want the path of a file"},
		{"max_nodes: 5\n\nmax_nodes: 6\n", Settings{}, "line 3: max_nodes is already set in line 1"},
		{"max_nodes: -1", Settings{}, "line 1: max_nodes"},
		{"max_nodes: many", Settings{}, "line 1: max_nodes"},
		{`max_nodes: "5"`, Settings{}, "line 1: max_nodes"},
		{"max_nodes: 1.5", Settings{}, "line 1: max_nodes"},
		{"max_nodes: [5]", Settings{}, "line 1: max_nodes"},
		{"max_nodes:", Settings{}, "line 1: max_nodes"},
		{"confirm: often", Settings{}, "line 1: confirm"},
		{"confirm:", Settings{}, "line 1: confirm"},
		{"read_only: {}", Settings{}, "line 1: read_only"},
		{"- a", Settings{}, "line 1: expected key: value"},
		{"a: [", Settings{}, "not valid YAML"},
		{"confirm: true\n---\nread_only: true", Settings{}, "more than one"},
		{"confirm: true\n---\na: [", Settings{}, "after the first document"},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := LoadSettings(path)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%q: error %v, want %q", tt.text, err, tt.err)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v, want %+v", tt.text, got, tt.want)
		}
	}
	if _, err := LoadSettings(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("max_nodes: 5\nconfirm: true")
	f.Add("? [a]\n: b")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSettings([]byte(text))
		if err != nil && !s.IsZero() {
			t.Errorf("settings %+v beside the error %v", s, err)
		}
		if s.MaxNodes < 0 {
			t.Errorf("max_nodes %d", s.MaxNodes)
		}
	})
}
