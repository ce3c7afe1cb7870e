package discovery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleetctl/internal/filter"

	"github.com/google/go-cmp/cmp"
)

func TestExclude(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"down": "web2\nweb[4-5]\nweb9\n", "none": "# nothing\n", "csv": "Sender,Version\nweb1,1\n",
		"result": `{"replies":[{"sender":"web1"}],"run":{"nodes":[{"identity":"web1"},{"identity":"web2"}]}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nodes := strings.Fields("web5 web4 web3 web2 web1 db1")
	untouched := slices.Clone(nodes)
	tests := []struct{ specs, kept, did string }{ // did: nodes out, names that are missing, idle
		{"", "web5 web4 web3 web2 web1 db1", ""},
		{"web3", "web5 web4 web2 web1 db1", "web3 1"},
		{"web[1-3],db1", "web5 web4", "web[1-3] 3|db1 1"},
		{"web[1-7]", "db1", "web[1-7] 5 web[6-7]"},
		{"/^web/", "db1", "/^web/ 5"},
		{"/1$/ web1", "web5 web4 web3 web2", "/1$/ 2|web1 1"},
		{"/^WEB/", "web5 web4 web3 web2 web1 db1", "/^WEB/ 0 idle"},
		{"WEB1", "web5 web4 web3 web2 web1 db1", "WEB1 0 WEB1 idle"},
		{"web1,wbe2", "web5 web4 web3 web2 db1", "web1 1|wbe2 0 wbe2 idle"},
		{"web[8-9]", "web5 web4 web3 web2 web1 db1", "web[8-9] 0 web[8-9] idle"},
		{"@down", "web3 web1 db1", "@down 3 web9"},
		{"@none", "web5 web4 web3 web2 web1 db1", "@none 0"},
		{"@csv", "web5 web4 web3 web2 db1", "@csv 1"},
		{"@result", "web5 web4 web3 web2 db1", "@result 1"},
		{"web[1-5] db1", "", "web[1-5] 5|db1 1"},
	}
	for _, tt := range tests {
		x, err := ReadExclusions(t.Context(), strings.Fields(strings.ReplaceAll(tt.specs, "@", "@~/")), dir)
		if err != nil {
			t.Errorf("%s: %v", tt.specs, err)
			continue
		}
		kept, did := x.From(nodes)
		var got []string
		for _, e := range did {
			text := fmt.Sprintf("%s %d", strings.ReplaceAll(e.Spec, "@~/", "@"), e.Out)
			if len(e.Missing) > 0 {
				text += " " + Fold(e.Missing)
			}
			if e.Idle() {
				text += " idle"
			}
			got = append(got, text)
		}
		if d := cmp.Diff([]string{tt.kept, tt.did}, []string{strings.Join(kept, " "), strings.Join(got, "|")}); d != "" {
			t.Errorf("--exclude %s: -want +got:\n%s", tt.specs, d)
		}
	}
	if !slices.Equal(nodes, untouched) {
		t.Error("the caller's list was changed")
	}
}

func TestExcludeRefusesWhatIsNoName(t *testing.T) {
	tests := []struct{ spec, err, hint string }{
		{"role=web", "cannot use --exclude", `-S 'not with("role=web")'`},
		{"web{01,02}", "--exclude", "write --exclude 'web[01,02]'"},
		{"web{a,b}", "--exclude", "node set"},
		{"web*", "know no wildcards", "write --exclude '/^web.*$/'"},
		{"/web", "a regex needs a slash at both ends", "write --exclude '/web/'"},
		{"/(/", "does not compile", `write --exclude '/\(/'`},
		{"//", "matches everything", "write --exclude"},
		{"", "blank", ""},
		{" ", "blank", ""},
		{"web1 web2", "' ' cannot be in the name", "write --exclude '/^(web1|web2)$/'"},
		{"web[", "position 4", "node set"},
		{"group:x", "only names, node sets", "@FILE"},
		{"pql:nodes { a = 1 }", "only names, node sets", "@FILE"},
		{"@", "no such file", "exists"},
		{"@/no/such/file", "no such file", "exists"},
		{"web1,,web2", "a name is missing", ""},
	}
	for _, tt := range tests {
		_, err := ReadExclusions(t.Context(), []string{tt.spec}, "")
		e, ok := errors.AsType[*SourceError](err)
		if !ok || e.Kind != Misuse || !strings.Contains(err.Error(), tt.err) || !strings.Contains(e.Hint, tt.hint) {
			t.Errorf("--exclude %q: %v (%+v); want misuse with %q, and %q", tt.spec, err, e, tt.err, tt.hint)
		}
	}
	// What is proposed for a fact is accepted.
	if _, err := filter.Parse(filter.Flags{Select: []string{`not with("role=web")`}}); err != nil {
		t.Error(err)
	}
}

func TestExclusionNotes(t *testing.T) {
	x, err := ReadExclusions(t.Context(), []string{"wbe1", "/^WEB/", "web[1-3]", "web1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	_, did := x.From([]string{"web1", "web2"})
	want := []string{`--exclude "wbe1" excludes no node: is web1 meant?`, `--exclude "/^WEB/" excludes no node`,
		`--exclude "web[1-3]": 1 of its 3 names are none of the nodes: web3`, ""}
	var got []string
	for _, e := range did {
		got = append(got, e.Note())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	listed := Exclusion{Spec: "@f", Listed: true}
	if listed.Idle() || listed.Note() != `--exclude "@f" names no node: the file has none` {
		t.Errorf("an empty file: idle %t, %q", listed.Idle(), listed.Note())
	}
}
