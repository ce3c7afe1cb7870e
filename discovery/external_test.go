//go:build unix

package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/filter"

	"github.com/google/go-cmp/cmp"
)

// script is the absolute path of a program in testdata.
func script(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", "external-"+name+".sh"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

const binPath = "/usr/local/bin:/usr/bin:/bin"

func runExternal(t *testing.T, s Settings, q Query) (Result, error) {
	t.Helper()
	s.Path = binPath
	source, err := Open("external", s)
	if err != nil {
		t.Fatal(err)
	}
	return source.Discover(t.Context(), q)
}

func TestExternal(t *testing.T) {
	got, err := runExternal(t, Settings{Command: script(t, "good") + ` 'an argument'`}, Query{Timeout: 10 * time.Second})
	if err != nil || strings.Join(got.Nodes, " ") != "web9 web10" || got.Method != methodExternal {
		t.Errorf("Discover = %+v, %v", got, err)
	}
}

func TestExternalRequest(t *testing.T) {
	f := filter.Filter{Facts: []filter.Fact{{Name: "country", Operator: "==", Value: "mt"}}, Identities: []string{"pql:x"}, Compound: nil, Agents: []string{"a"}}
	tests := []struct {
		name     string
		settings Settings
		query    Query
		want     string
	}{
		{"all", Settings{Command: "unused", Options: map[string]string{"command": script(t, "echo"), "site": "ams"}, Federations: []string{"one", "two"}},
			Query{Filter: f, Collective: "mco", Agent: "puppet", Timeout: 2500 * time.Millisecond},
			`{"protocol":"` + externalRequest + `","collective":"mco","filter":{"fact":[{"fact":"country","operator":"==","value":"mt"}],"cf_class":[],"agent":["a","puppet"],"identity":["pql:x"],"compound":[]},` +
				`"federations":["one","two"],"options":{"site":"ams"},"$schema":"` + externalSchema + `","timeout":2.5}`},
		{"none", Settings{Command: script(t, "echo")}, Query{Collective: "mco", Timeout: time.Millisecond},
			`{"protocol":"` + externalRequest + `","collective":"mco","filter":{"fact":[],"cf_class":[],"agent":[],"identity":[],"compound":[]},"federations":null,"options":{},"$schema":"` + externalSchema + `","timeout":1}`},
	}
	for _, tt := range tests {
		_, err := runExternal(t, tt.settings, tt.query)
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		_, got, _ := strings.Cut(err.Error(), "it says: ")
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %v, -want +got:\n%s", tt.name, err, d)
		}
	}
}

// A program gets the request, its reply and a path; nothing of our environment, which may hold tokens.
func TestExternalGetsNothingOfOurEnvironment(t *testing.T) {
	t.Setenv("FLEETCTL_TOKEN", "s3cret")
	program := filepath.Join(t.TempDir(), "env.sh")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nenv >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := runExternal(t, Settings{Command: program}, Query{Timeout: 10 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "CHORIA_EXTERNAL_") || strings.Contains(err.Error(), "FLEETCTL") || strings.Contains(err.Error(), "HOME=") {
		t.Errorf("the program saw %v", err)
	}
}

func TestExternalKeepsTheCallersOptions(t *testing.T) {
	options := map[string]string{"command": script(t, "good"), "a": "b"}
	if _, err := newExternal(Settings{Options: options}); err != nil || len(options) != 2 {
		t.Errorf("options %v, %v", options, err)
	}
}

func TestExternalFails(t *testing.T) {
	reply := func(text string) string { return script(t, "reply") + " '" + text + "'" }
	const good = `"protocol":"` + externalReply + `"`
	tests := []struct {
		name, command, want string
		kind                Kind
	}{
		{"exit code", script(t, "fail"), "ended with exit status 3: the database is locked", Fault},
		{"not found", "no-such-program-anywhere", "is not in PATH", Misuse},
		{"not there", "/no/such/program", "no such file", Misuse},
		{"relative", "./testdata/external-good.sh", "is a relative path", Misuse},
		{"not executable", filepath.Join(filepath.Dir(script(t, "good")), "inventory.yaml"), "permission denied", Misuse},
		{"no reply", script(t, "remove"), "open the reply", Fault},
		{"empty reply", reply(""), "it is empty", Fault},
		{"broken reply", reply("{\n\"nodes\": ["), "line 2: ", Fault},
		{"list", reply(`["a"]`), "line 1: ", Fault},
		{"no protocol", reply(`{"nodes":["a"]}`), `its protocol is ""`, Fault},
		{"protocol of requests", reply(`{"protocol":"` + externalRequest + `","nodes":["a"]}`), `its protocol is`, Fault},
		{"error", reply(`{"error":"no\u001b[31m database"}`), "it says: no [31m database", Fault},
		{"bad name", reply(`{` + good + `,"nodes":["a","b.>"]}`), "nodes[1]: ", Fault},
		{"name that is no text", reply(`{` + good + `,"nodes":[1]}`), "nodes", Fault},
	}
	for _, tt := range tests {
		got, err := runExternal(t, Settings{Command: tt.command}, Query{Timeout: 10 * time.Second})
		e, ok := errors.AsType[*SourceError](err)
		if !ok || e.Kind != tt.kind || e.Hint == "" || !strings.Contains(err.Error(), tt.want) || len(got.Nodes) > 0 {
			t.Errorf("%s: %q, %v; want %v with %q", tt.name, got.Nodes, err, tt.kind, tt.want)
		}
	}
	if got, err := runExternal(t, Settings{Command: reply(`{` + good + `}`)}, Query{Timeout: 10 * time.Second}); err != nil || len(got.Nodes) != 0 {
		t.Errorf("no nodes: %+v, %v", got, err)
	}
}

func TestExternalIsStoppedInTime(t *testing.T) {
	start := time.Now()
	_, err := runExternal(t, Settings{Command: script(t, "hang")}, Query{})
	if err == nil || !strings.Contains(err.Error(), "did not end within 1s") || time.Since(start) > 8*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	interrupted := errors.New("interrupt")
	ctx, cancel := context.WithCancelCause(t.Context())
	source, err := newExternal(Settings{Command: script(t, "hang"), Path: binPath})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { cancel(interrupted) })
	if _, err := source.Discover(ctx, Query{Timeout: time.Minute}); !errors.Is(err, interrupted) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestExternalLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, name := range []string{"fail", "reply", "remove"} {
		if _, err := runExternal(t, Settings{Command: script(t, name)}, Query{Timeout: 10 * time.Second}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSplitWords(t *testing.T) {
	tests := []struct{ command, want string }{
		{"", "null"},
		{"  ", "null"},
		{"/bin/x", `["/bin/x"]`},
		{" a  b\tc\n", `["a","b","c"]`},
		{`a "b c" 'd "e"'`, `["a","b c","d \"e\""]`},
		{`a\ b "c\"d" 'e\f'`, `["a b","c\"d","e\\f"]`},
		{`a "" ''`, `["a","",""]`},
		{`a"b"'c'd`, `["abcd"]`},
		{"a # b\nc", `["a","c"]`},
		{"a#b", `["a#b"]`},
		{`$HOME *`, `["$HOME","*"]`},
		{`"a`, "ERR"},
		{`'a`, "ERR"},
		{`a\`, "ERR"},
	}
	for _, tt := range tests {
		words, err := splitWords(tt.command)
		got, _ := json.Marshal(words)
		if (err != nil) != (tt.want == "ERR") || err == nil && string(got) != tt.want {
			t.Errorf("splitWords(%q) = %s, %v; want %s", tt.command, got, err, tt.want)
		}
	}
}
