package discovery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"fleetctl/internal/filter"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestMethodNames(t *testing.T) {
	for name, want := range map[string]string{
		"": "broadcast", "mc": "broadcast", "broadcast": "broadcast", "choria": "puppetdb", "puppetdb": "puppetdb",
		"file": "flatfile", "flatfile": "flatfile", "inventory": "inventory", "external": "external",
	} {
		if got, err := Method(name); got != want || err != nil {
			t.Errorf("Method(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"delegate", "MC", " mc"} {
		_, err := Method(name)
		if e, ok := errors.AsType[*SourceError](err); !ok || e.Kind != Misuse || !strings.Contains(e.Hint, "choria (puppetdb)") {
			t.Errorf("Method(%q): %v", name, err)
		}
	}
}

func TestParseOptions(t *testing.T) {
	got, err := parseOptions([]string{"file=/a=b", "filter: nodes.#(x==\"y\").name", " k = v ", "empty="})
	if d := cmp.Diff(map[string]string{"file": "/a=b", "filter": `nodes.#(x=="y").name`, "k": "v", "empty": ""}, got); err != nil || d != "" {
		t.Errorf("%v, -want +got:\n%s", err, d)
	}
	for _, bad := range [][]string{{"file"}, {"=x"}, {" :x"}, {""}, {"a=1", "a=2"}, {"a=1", "a:1"}} {
		if got, err := parseOptions(bad); err == nil {
			t.Errorf("parseOptions(%q) = %v", bad, got)
		}
	}
}

func TestChoose(t *testing.T) {
	compound := filter.Filter{Compound: []string{`with("a")`}}
	id := func(s string) filter.Filter { return filter.Filter{Identities: []string{s}} }
	tests := []struct {
		name    string
		request Request
		method  string // or ERR and a part of the error
		option  string // k=v of the only option
		note    bool
	}{
		{name: "nothing", method: "broadcast"},
		{name: "configured", request: Request{DefaultMethod: "choria"}, method: "puppetdb"},
		{name: "typed wins", request: Request{Method: "mc", DefaultMethod: "choria"}, method: "broadcast"},
		{name: "unknown", request: Request{Method: "x"}, method: "ERR unknown discovery method"},
		{name: "unknown default", request: Request{DefaultMethod: "x"}, method: "ERR unknown discovery method"},
		{name: "unknown default that does not count", request: Request{Method: "mc", DefaultMethod: "x"}, method: "broadcast"},
		{name: "file of nodes wins", request: Request{Method: "mc", NodesFile: "x", DefaultMethod: "bad"}, method: "flatfile"},
		{name: "file of nodes and filter", request: Request{NodesFile: "x", Filter: id("a")}, method: "ERR taken as they are"},
		{name: "flatfile and filter", request: Request{Method: "file", Options: []string{"file=x"}, Filter: compound}, method: "ERR taken as they are"},
		{name: "-S leads to a broadcast", request: Request{DefaultMethod: "puppetdb", Filter: compound}, method: "broadcast", note: true},
		{name: "-S leads from programs too", request: Request{Method: "external", Filter: compound}, method: "broadcast", note: true},
		{name: "-S with an inventory", request: Request{Method: "inventory", Filter: compound}, method: "inventory"},
		{name: "-S with a broadcast", request: Request{Method: "mc", Filter: compound}, method: "broadcast"},
		{name: "options lost with -S", request: Request{Method: "external", Filter: compound, Options: []string{"a=b"}}, method: "ERR does not know the option"},
		{name: "pql by broadcast", request: Request{Filter: id("pql:x")}, method: "ERR needs PuppetDB"},
		{name: "pql and -S", request: Request{Method: "choria", Filter: filter.Filter{Identities: []string{"pql:x"}, Compound: []string{"true"}}}, method: "ERR needs PuppetDB"},
		{name: "pql", request: Request{Method: "choria", Filter: id("pql:x")}, method: "puppetdb"},
		{name: "group by PuppetDB", request: Request{Method: "choria", Filter: id("group:x")}, method: "ERR groups are in inventory files"},
		{name: "group for a program", request: Request{Method: "external", Filter: id("group:x")}, method: "external"},
		{name: "option", request: Request{Method: "inventory", Options: []string{"file:/x"}}, method: "inventory", option: "file=/x"},
		{name: "unknown option", request: Request{Method: "inventory", Options: []string{"format=x"}}, method: `ERR does not know the option "format"`},
		{name: "option of a broadcast", request: Request{Options: []string{"file=x"}}, method: "ERR does not know the option"},
		{name: "option of PuppetDB", request: Request{Method: "choria", Options: []string{"file=x"}}, method: "ERR does not know the option"},
		{name: "options of a program", request: Request{Method: "external", Options: []string{"x=y"}}, method: "external", option: "x=y"},
		{name: "configured options", request: Request{Method: "file", Defaults: []string{"file = /x", "command=/y"}}, method: "flatfile", option: "file=/x"},
		{name: "configured options of another method", request: Request{Defaults: []string{"what"}}, method: "broadcast"},
		{name: "bad configured options", request: Request{Method: "external", Defaults: []string{"what"}}, method: "ERR default_discovery_options"},
		{name: "typed options replace configured ones", request: Request{Method: "external", Options: []string{"a=1"}, Defaults: []string{"b=2"}}, method: "external", option: "a=1"},
		{name: "configured options are not for --nodes", request: Request{NodesFile: "x", Defaults: []string{"file=/y"}}, method: "flatfile"},
		{name: "typed options are", request: Request{NodesFile: "x", Options: []string{"filter=a"}}, method: "flatfile", option: "filter=a"},
	}
	for _, tt := range tests {
		got, err := Choose(tt.request)
		if wanted, isErr := strings.CutPrefix(tt.method, "ERR "); isErr {
			if err == nil || !strings.Contains(err.Error(), wanted) {
				t.Errorf("%s: %+v, %v; want an error with %q", tt.name, got, err, wanted)
			}
			continue
		}
		options := map[string]string{}
		if k, v, ok := strings.Cut(tt.option, "="); ok {
			options[k] = v
		}
		if err != nil || got.Method != tt.method || !cmp.Equal(options, got.Options, cmpopts.EquateEmpty()) || (got.Note != "") != tt.note {
			t.Errorf("%s: %+v, %v; want %s %v", tt.name, got, err, tt.method, options)
		}
	}
}

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		method, want string
		settings     Settings
	}{
		{"mc", "no way to the network", Settings{}},
		{"what", "unknown discovery method", Settings{}},
		{"flatfile", "needs a file", Settings{}},
		{"file", "needs a file", Settings{Options: map[string]string{"file": ""}}},
		{"flatfile", "both name", Settings{NodesFile: "a", Options: map[string]string{"file": "b"}}},
		{"flatfile", "cannot read nodes from stdin", Settings{NodesFile: "-"}},
		{"flatfile", "unknown format", Settings{NodesFile: "a", Options: map[string]string{"format": "xml"}}},
		{"flatfile", "is blank", Settings{NodesFile: "a", Options: map[string]string{"filter": ""}}},
		{"flatfile", "for JSON and YAML", Settings{NodesFile: "a", Options: map[string]string{"filter": "a", "format": "text"}}},
		{"flatfile", "does not know the option", Settings{NodesFile: "a", Options: map[string]string{"fiel": "a"}}},
		{"inventory", "needs a file", Settings{}},
		{"external", "needs a command", Settings{}},
		{"external", "needs a command", Settings{Command: " # x"}},
		{"external", "is not closed", Settings{Command: "'x"}},
		{"choria", "does not know the option", Settings{Options: map[string]string{"a": "b"}}},
	} {
		if s, err := Open(tt.method, tt.settings); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Open(%q, %+v) = %v, %v; want %q", tt.method, tt.settings, s, err, tt.want)
		}
	}
}

func TestOpenBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{ended: true, answers: []answer{{sender: "b"}, {sender: "a"}}}
		dialed := 0
		s, err := Open("mc", Settings{Dial: func(context.Context) (Broadcaster, error) { dialed++; return n, nil }})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Discover(t.Context(), Query{Filter: filter.Filter{Identities: []string{"x"}}})
		if err != nil || strings.Join(got.Nodes, " ") != "x" || dialed != 0 {
			t.Errorf("names: %+v, %v, dialed %d times", got, err, dialed)
		}
		got, err = s.Discover(t.Context(), Query{Timeout: ms})
		if err != nil || strings.Join(got.Nodes, " ") != "a b" || dialed != 1 {
			t.Errorf("broadcast: %+v, %v, dialed %d times", got, err, dialed)
		}
		if _, err = s.Discover(t.Context(), Query{Timeout: ms, Filter: filter.Filter{Identities: []string{"group:x"}}}); err == nil || dialed != 1 {
			t.Errorf("group: %v, dialed %d times", err, dialed)
		}
	})
	down := errors.New("broker is down")
	s, err := Open("", Settings{Dial: func(context.Context) (Broadcaster, error) { return nil, down }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Discover(t.Context(), Query{Timeout: ms}); !errors.Is(err, down) {
		t.Errorf("no connection: %v", err)
	}
}

func TestKindNames(t *testing.T) {
	for k, want := range map[Kind]string{Fault: "fault", Misuse: "misuse", Unreachable: "unreachable", 9: "fault"} {
		if got := k.String(); got != want {
			t.Errorf("kind %d is %q, want %q", k, got, want)
		}
	}
}

// writeFile puts a file into a directory of the test.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlatfile(t *testing.T) {
	const nodes = `{"hosts":[{"name":"b","up":true},{"name":"a","up":false},{"name":"b"}],"mixed":["x",1,"w"],"numbers":[1,2],"text":"x","bad":["a b"],"none":[]}`
	const filtered = `{"replies":[{"sender":"b"}],"run":{"nodes":[{"identity":"a","state":"verified"},{"identity":"b","state":"verified"}]}}`
	tests := []struct{ name, content, options, want string }{
		{"by content", "web[1-2]\n# x\n", "", "web1 web2"},
		{"text", "b\na\n", "format=text", "a b"},
		{"text that is JSON", `["a"]`, "format=text", "ERR line 1"},
		{"JSON", `["b","a"]`, "format=json", "a b"},
		{"JSON that is text", "a\n", "format=json", "ERR array of names"},
		{"JSON that is a result", `{"replies":[]}`, "format=json", "ERR array of names"},
		{"broken JSON", "[\"a\",\n\"b\" x]", "format=json", "ERR line 2"},
		{"YAML", "[b, a]", "format=yml", "a b"},
		{"YAML that is a map", "a: b", "format=yaml", "ERR line 1: not a YAML list"},
		{"results", `{"replies":[{"sender":"b","statuscode":5},{"sender":"a"}]}`, "format=response", "a b"},
		{"results that are a list", `["a"]`, "format=rpc", "ERR earlier request"},
		{"filter", nodes, "filter=hosts.#.name", "a b"},
		{"filter with a query", nodes, "filter=hosts.#(up==true)#.name", "b"},
		{"filter of YAML", "hosts:\n- {name: b, since: 2020-01-01}\n- {name: a}\n5: x\n", "filter=hosts.#.name", "a b"},
		{"filter of YAML that says so", "[x, y]", "format=yaml filter=@this", "x y"},
		{"a number beside names", nodes, "filter=mixed", "ERR more than names: member 2 is a number"},
		{"no name at all", nodes, "filter=numbers", "ERR member 1 is a number"},
		{"an object beside names, as in a Bolt inventory", "groups:\n- targets: [web1, {uri: web2, config: {}}]\n", "filter=groups.0.targets", "ERR member 2 is an object; a path such as nodes.#.name"},
		{"arrays in an array", "groups:\n- targets: [web1]\n- targets: [web2]\n", "filter=groups.#.targets", "ERR member 1 is an array"},
		{"arrays in an array, flat", "groups:\n- targets: [web1]\n- targets: [web2]\n", "filter=groups.#.targets|@flatten", "web1 web2"},
		{"keys of an Ansible inventory", "all:\n  hosts:\n    web1:\n    web2: {x: 1}\n", "filter=all.hosts.@keys", "web1 web2"},
		{"a node set where names are", `{"a":["web[1-2]"]}`, "filter=a", "ERR name 1: identity"},
		{"our result by its formats", filtered, "format=results", "b"},
		{"our result by its formats", filtered, "format=choriarpc", "b"},
		{"our result by its formats", filtered, "format=rpc", "b"},
		{"our result by its formats", filtered, "format=response", "b"},
		{"our result by content", filtered, "", "b"},
		{"our result as JSON", filtered, "format=json", "ERR array of names"},
		{"our result as YAML", filtered, "format=yaml", "ERR not a YAML list"},
		{"our result as text", filtered, "format=text", "ERR line 1"},
		{"our result without replies", `{"replies":[],"run":{"nodes":[{"identity":"a"},{"identity":"b"}]}}`, "format=results", ""},
		{"our CSV as text", "Sender,Version\nb,1\n", "format=text", "b"},
		{"empty array", nodes, "filter=none", ""},
		{"filter to a text", nodes, "filter=text", "ERR does not lead to an array"},
		{"filter to nothing", nodes, "filter=nothing", "ERR does not lead to an array"},
		{"bad name", nodes, "filter=bad", "ERR name 1: identity"},
		{"filter of broken JSON", "{\n\"a\": [\n}", "filter=a", "ERR line 3"},
		{"filter of broken YAML", "a:\n- b\n\t- c\n", "filter=a", "ERR yaml: line 2"},
		{"filter of nothing", "", "filter=a", "ERR empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, "nodes", tt.content)
			options, err := parseOptions(strings.Fields("file=" + path + " " + tt.options))
			if err != nil {
				t.Fatal(err)
			}
			s, err := Open("file", Settings{Options: options})
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Discover(t.Context(), Query{Agent: "rpcutil", Collective: "mcollective"})
			if wanted, isErr := strings.CutPrefix(tt.want, "ERR "); isErr {
				e, ok := errors.AsType[*SourceError](err)
				if !ok || e.Kind != Misuse || !strings.Contains(err.Error(), wanted) || !strings.Contains(err.Error(), path) || len(got.Nodes) > 0 {
					t.Errorf("Discover = %q, %v; want an error with %q", got.Nodes, err, wanted)
				}
				return
			}
			if err != nil || strings.Join(got.Nodes, " ") != tt.want || got.Method != methodFlatfile {
				t.Errorf("Discover = %+v, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestFlatfileSources(t *testing.T) {
	home := filepath.Dir(writeFile(t, "list", "a\n"))
	tests := []struct {
		name, want string
		settings   Settings
		query      Query
	}{
		{name: "--nodes", settings: Settings{NodesFile: filepath.Join(home, "list")}, want: "a"},
		{name: "home", settings: Settings{Options: map[string]string{"file": "~/list"}, Home: home}, want: "a"},
		{name: "stdin when asked", settings: Settings{NodesFile: "-", Stdin: strings.NewReader("b")}, want: "b"},
		{name: "not there", settings: Settings{NodesFile: filepath.Join(home, "none")}, want: "ERR no such file"},
		{name: "a directory", settings: Settings{NodesFile: home}, want: "ERR is a directory"},
		{name: "filter", settings: Settings{NodesFile: filepath.Join(home, "list")}, query: Query{Filter: filter.Filter{Classes: []string{"x"}}}, want: "ERR cannot filter"},
	}
	for _, tt := range tests {
		s, err := Open("flatfile", tt.settings)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Discover(t.Context(), tt.query)
		if wanted, isErr := strings.CutPrefix(tt.want, "ERR "); isErr && (err == nil || !strings.Contains(err.Error(), wanted)) || !isErr && (err != nil || strings.Join(got.Nodes, " ") != tt.want) {
			t.Errorf("%s: %q, %v; want %q", tt.name, got.Nodes, err, tt.want)
		}
	}
}
