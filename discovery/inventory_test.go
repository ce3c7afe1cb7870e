package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"fleetctl/internal/filter"

	"github.com/google/go-cmp/cmp"
)

func TestInventory(t *testing.T) {
	tests := []struct {
		name, want string // names without the domain
		flags      filter.Flags
		collective string
		agent      string
	}{
		{name: "collective", want: "dev1 dev2 dev3 dev10"},
		{name: "another collective", collective: "de_collective", want: "db1 dev2"},
		{name: "agent", agent: "other", want: "dev2"},
		{name: "names have to be there", flags: filter.Flags{Identities: []string{"dev1.example.net", "web1.example.net"}}, want: "dev1"},
		{name: "regex", flags: filter.Flags{Identities: []string{"/dev1/"}}, want: "dev1 dev10"},
		{name: "fact", flags: filter.Flags{Facts: []string{"country=MT"}}, want: "dev1 dev3"},
		{name: "merged fact", flags: filter.Flags{Facts: []string{"customer=acme"}}, want: "dev1 dev3 dev10"},
		{name: "date as text", flags: filter.Flags{Facts: []string{"since=2020-01-02"}}, want: "dev1 dev3 dev10"},
		{name: "number", flags: filter.Flags{Facts: []string{"cpus>3"}}, want: "dev1 dev3 dev10"},
		{name: "key that is a number", flags: filter.Flags{Facts: []string{"5=five"}}, want: "dev1 dev3 dev10"},
		{name: "class", flags: filter.Flags{Classes: []string{"three"}}, want: "dev2"},
		{name: "class regex", flags: filter.Flags{Classes: []string{"/^three/"}}, want: "dev2 dev3"},
		{name: "compound", flags: filter.Flags{Select: []string{`with("country=mt") or "other" in agents`}}, want: "dev1 dev2 dev3"},
		{name: "group", flags: filter.Flags{Identities: []string{"group:malta"}}, agent: "rpcutil", want: "dev1 dev3"},
		{name: "group by compound", flags: filter.Flags{Identities: []string{"group:acme"}}, want: "dev1 dev3 dev10"},
		{name: "group in any collective, the agent is passed over", flags: filter.Flags{Identities: []string{"group:named"}}, agent: "missing", want: "db1 dev2"},
		{name: "groups are joined", flags: filter.Flags{Identities: []string{"group:malta", "group:named", "group:malta"}}, want: "db1 dev1 dev2 dev3"},
		{name: "group of all", flags: filter.Flags{Identities: []string{"group:all"}}, want: "db1 dev1 dev2 dev3 dev10"},
		{name: "unknown group", flags: filter.Flags{Identities: []string{"group:x"}}, want: `ERR unknown group "x"; there are: malta, acme, named`},
		{name: "group and name", flags: filter.Flags{Identities: []string{"group:all", "a"}}, want: "ERR together with other filters"},
		{name: "group and fact", flags: filter.Flags{Identities: []string{"group:all"}, Facts: []string{"a=b"}}, want: "ERR together with other filters"},
		{name: "group and two agents", flags: filter.Flags{Identities: []string{"group:all"}, Agents: []string{"a"}}, agent: "b", want: "ERR together with other filters"},
		{name: "group with a filter that would surprise", flags: filter.Flags{Identities: []string{"group:broken"}}, want: "ERR slashes"},
		{name: "query", flags: filter.Flags{Identities: []string{"pql:x"}}, want: "ERR needs PuppetDB"},
	}
	s, err := Open("inventory", Settings{InventoryFile: "testdata/inventory.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		f, err := filter.Parse(tt.flags)
		if err != nil {
			t.Fatal(err)
		}
		if tt.collective == "" {
			tt.collective = "mcollective"
		}
		got, err := s.Discover(t.Context(), Query{Filter: f, Collective: tt.collective, Agent: tt.agent})
		short := strings.ReplaceAll(strings.Join(got.Nodes, " "), ".example.net", "")
		if wanted, isErr := strings.CutPrefix(tt.want, "ERR "); isErr {
			if e, ok := errors.AsType[*SourceError](err); !ok || e.Kind != Misuse || !strings.Contains(err.Error(), wanted) {
				t.Errorf("%s: %q, %v; want an error with %q", tt.name, short, err, wanted)
			}
		} else if err != nil || short != tt.want || got.Method != methodInventory {
			t.Errorf("%s: %q, %v; want %q", tt.name, short, err, tt.want)
		}
	}
}

func TestInventoryNamesEveryViolation(t *testing.T) {
	const schema = `"$schema":"` + inventorySchema + `"`
	const node = `{"name":"a","collectives":[],"facts":{},"classes":[],"agents":[]}`
	tests := []struct{ name, content, want string }{
		{"not an object", `[]`, "line 1: the file is an array, not an object"},
		{"nothing there", `{}`, "line 1: the file lacks $schema; line 1: the file lacks nodes"},
		{"wrong schema", `{"$schema":"x","nodes":[]}`, `line 1: $schema is "x", not "` + inventorySchema + `"`},
		{"schema is no text", `{"$schema":1,"nodes":[]}`, `$schema is a number, not a text`},
		{"unknown key", "{" + schema + `,"nodes":[],` + "\n" + `"Nodes":[]}`, `the file has the unknown key "Nodes"`},
		{"nodes are null", "{" + schema + `,"nodes":null}`, "nodes is null, not an array"},
		{"a node lacks all", "{" + schema + ",\"nodes\":[\n" + node + ",\n{}]}", "line 3: nodes[1] lacks name; line 3: nodes[1] lacks collectives; line 3: nodes[1] lacks facts; line 3: nodes[1] lacks classes; line 3: nodes[1] lacks agents"},
		{"a node has more", "{" + schema + `,"nodes":[{"name":"a","collectives":[],"facts":{},"classes":[],"agents":[],"x":1}]}`, `nodes[0] has the unknown key "x"`},
		{"kinds", "{" + schema + `,"nodes":[{"name":1,"collectives":"a","facts":[],"classes":[1,"a",null],"agents":{}}]}`,
			"nodes[0].agents is an object, not an array; line 1: nodes[0].classes[0] is a number, not a text; line 1: nodes[0].classes[2] is null, not a text; line 1: nodes[0].collectives is a text, not an array; line 1: nodes[0].facts is an array, not an object; line 1: nodes[0].name is a number, not a text"},
		{"blank name", "{" + schema + `,"nodes":[{"name":"","collectives":[],"facts":{},"classes":[],"agents":[]}]}`, "nodes[0].name is blank"},
		{"name that cannot be addressed", "{" + schema + `,"nodes":[{"name":"a b","collectives":[],"facts":{},"classes":[],"agents":[]}]}`, "nodes[0].name cannot be addressed: identity"},
		{"groups", "{" + schema + `,"nodes":[],"groups":[{},{"name":"a b"},{"name":""},{"name":"a","filter":null},{"name":"b","filter":{"fact":[],"compound":[]}},{"name":"c","x":1}]}`,
			`groups[0] lacks name; line 1: groups[1].name is "a b": letters, digits, _ and - only; line 1: groups[2].name is blank; line 1: groups[3].filter is null, not an object; line 1: groups[4].filter.compound is an array, not a text; line 1: groups[4].filter has the unknown key "fact"; line 1: groups[5] has the unknown key "x"`},
		{"too many", "{" + schema + `,"nodes":[` + strings.TrimSuffix(strings.Repeat("1,", 30), ",") + `]}`, "; and 10 more"},
		{"broken JSON", "{\n" + schema + ",\n\"nodes\": [}", "line 3: invalid character"},
		{"two values", "{" + schema + `,"nodes":[]}` + "\n{}", "line 2: more after the end"},
	}
	for _, tt := range tests {
		s, err := Open("inventory", Settings{Options: map[string]string{"file": writeFile(t, "inventory.json", tt.content)}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Discover(t.Context(), Query{})
		if e, ok := errors.AsType[*SourceError](err); !ok || e.Kind != Misuse || !strings.Contains(err.Error(), tt.want) || len(got.Nodes) > 0 {
			t.Errorf("%s: %q, %v;\nwant %q", tt.name, got.Nodes, err, tt.want)
		}
	}
}

func TestInventoryFiles(t *testing.T) {
	const head = "$schema: " + inventorySchema + "\n"
	const odd = head + "extra: 1\nnodes:\n- name: a\n  collectives: [mco]\n"
	tests := []struct{ name, file, content, option, want string }{
		{"not there", "", "", "", "ERR no such file"},
		{"YAML error", "x.yaml", head + "nodes:\n- name: a\n\tagents: []\n", "", "ERR yaml: line 3"},
		{"YAML violation", "x.yml", head + "nodes:\n- name: a\n  facts: {}\n  classes: []\n  agents:\n  - 5\n  collectives: []\n", "", "ERR line 7: nodes[0].agents[0] is a number"},
		{"key twice", "x.yaml", head + "nodes: []\nnodes: []\n", "", "ERR line 3"},
		{"two documents", "x.yaml", head + "nodes: []\n---\n", "", "ERR more than one YAML document"},
		{"empty", "x.yaml", "", "", "ERR empty"},
		{"not a number in JSON", "x.yaml", head + "nodes: []\ngroups: .inf\n", "", "ERR groups: +Inf"},
		{"YAML by another name", "x.txt", head + "nodes: []\n", "", "ERR line 1: invalid character"},
		{"violations", "x.yaml", odd, "", "ERR lacks"},
		{"unchecked", "x.yaml", odd, "novalidate=", "a"},
		{"unchecked, yet the schema is another", "x.yaml", "nodes: []\n", "novalidate=1", "ERR $schema is"},
		{"unchecked, yet of no use", "x.yaml", head + "nodes: 5\n", "novalidate=1", "ERR nodes is number"},
	}
	for _, tt := range tests {
		path := "testdata/none.yaml"
		if tt.file != "" {
			path = writeFile(t, tt.file, tt.content)
		}
		options, err := parseOptions(strings.Fields("file=" + path + " " + tt.option))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open("inventory", Settings{Options: options, InventoryFile: "unused"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Discover(t.Context(), Query{Collective: "mco"})
		if wanted, isErr := strings.CutPrefix(tt.want, "ERR "); isErr && (err == nil || !strings.Contains(err.Error(), wanted) || !strings.Contains(err.Error(), path)) || !isErr && (err != nil || strings.Join(got.Nodes, " ") != tt.want) {
			t.Errorf("%s: %q, %v; want %q", tt.name, got.Nodes, err, tt.want)
		}
	}
}

// randomNodes is a fleet of nodes with few values, so that filters match some of them.
func randomNodes(r *rand.Rand) []inventoryNode {
	pick := func(values ...string) string { return values[r.Intn(len(values))] }
	some := func(values ...string) []string {
		list := []string{}
		for _, v := range values {
			if r.Intn(2) == 0 {
				list = append(list, v)
			}
		}
		return list
	}
	var nodes []inventoryNode
	for i := range 1 + r.Intn(20) {
		facts := fmt.Sprintf(`{"country":%q,"cpus":%s,"os":{"family":%q},"up":%s,"list":[1,"a<b"]}`,
			pick("mt", "DE", "gb"), pick("1", "4.5", `"8"`, "16", "1e2", "1.0"), pick("RedHat", "Debian"), pick("true", "false", "null"))
		nodes = append(nodes, inventoryNode{
			Name: fmt.Sprintf("%s%d.example.net", pick("web", "db"), i), Collectives: some("mco", "de"),
			Facts: json.RawMessage(facts), Classes: some("one", "Two", "roles::web"), Agents: some("rpcutil", "puppet"),
		})
	}
	return nodes
}

func randomFilter(r *rand.Rand) filter.Filter {
	choices := []filter.Filter{
		{Facts: []filter.Fact{{Name: "country", Operator: "==", Value: "de"}}},
		{Facts: []filter.Fact{{Name: "cpus", Operator: ">=", Value: "4"}}},
		{Facts: []filter.Fact{{Name: "cpus", Operator: "!=", Value: "1.0"}}},
		{Facts: []filter.Fact{{Name: `list.#(=="a<b")`, Operator: "==", Value: "a<b"}}},
		{Facts: []filter.Fact{{Name: "up", Operator: "==", Value: "false"}}},
		{Facts: []filter.Fact{{Name: "os.family", Operator: "=~", Value: "/^red/"}}},
		{Classes: []string{"two"}}, {Classes: []string{"/TWO|roles/"}}, {Agents: []string{"puppet"}}, {Agents: []string{"/^p/"}},
		{Identities: []string{"/^web/"}}, {Identities: []string{"db1.example.net", "/[02468]\\./"}},
		{Compound: []string{`with("one") and not with("country=mt")`}}, {Compound: []string{`fact("cpus") > 2`}},
	}
	var f filter.Filter
	for range r.Intn(4) {
		c := choices[r.Intn(len(choices))]
		f.Facts = append(f.Facts, c.Facts...)
		f.Classes = append(f.Classes, c.Classes...)
		f.Agents = append(f.Agents, c.Agents...)
		f.Identities = append(f.Identities, c.Identities...)
		f.Compound = append(f.Compound, c.Compound...)
	}
	return f
}

func TestInventoryMatchesAsServersDo(t *testing.T) {
	r := rand.New(rand.NewSource(4))
	matched := 0
	for i := range 400 {
		nodes, f := randomNodes(r), randomFilter(r)
		text, err := json.Marshal(inventoryData{Schema: inventorySchema, Groups: []inventoryGroup{}, Nodes: nodes})
		if err != nil {
			t.Fatal(err)
		}
		format := []string{"json", "yaml"}[i%2] // JSON is YAML too
		data, err := readInventory(text, format, true)
		if err != nil {
			t.Fatal(err)
		}
		got, err := data.find(t.Context(), Query{Filter: f, Collective: "mco"})
		var want []string
		for _, n := range nodes {
			if strings.Contains(" "+strings.Join(n.Collectives, " ")+" ", " mco ") &&
				f.Match(filter.Node{Identity: n.Name, Agents: n.Agents, Classes: n.Classes, Facts: n.Facts}) {
				want = append(want, n.Name)
			}
		}
		if d := cmp.Diff(Sort(want), Sort(got)); err != nil || d != "" {
			t.Fatalf("%s, filter %+v: %v, -want +got:\n%s\n%s", format, f, err, d, text)
		}
		matched += len(got)
	}
	if matched < 400 {
		t.Errorf("only %d matches: the filters are too narrow to tell anything", matched)
	}
}

func FuzzInventory(f *testing.F) {
	const node = `{"name":"a","collectives":["c"],"facts":{"x":1},"classes":[],"agents":["rpcutil"]}`
	for _, s := range []string{`{"$schema":"` + inventorySchema + `","nodes":[` + node + `],"groups":[{"name":"g","filter":{"facts":["x=1"]}}]}`,
		"$schema: " + inventorySchema + "\nnodes: []\n", "{}", "a: &a [*a]", "&a [*a, *a]", "? {a: b}\n: c", "nodes: !!binary x", "- 2020-01-01", "{\"nodes\":[1,2", "a: b\na: c"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, content []byte, isYAML bool) {
		format := "json"
		if isYAML {
			format = "yaml"
		}
		data, err := readInventory(content, format, true)
		if err != nil {
			return
		}
		if data.Schema != inventorySchema {
			t.Fatalf("accepted the schema %q", data.Schema)
		}
		for _, n := range data.Nodes {
			if checkName(n.Name) != nil || n.Collectives == nil || n.Classes == nil || n.Agents == nil || !json.Valid(n.Facts) || n.Facts[0] != '{' {
				t.Fatalf("accepted the node %+v", n)
			}
		}
		all, err := data.find(t.Context(), Query{})
		if err != nil || len(all) != len(data.Nodes) {
			t.Fatalf("an empty filter finds %d of %d nodes: %v", len(all), len(data.Nodes), err)
		}
		again, err := json.Marshal(data.Nodes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readInventory([]byte(`{"$schema":"`+inventorySchema+`","nodes":`+strings.Replace(string(again), "null", "[]", min(1, 1-min(1, len(data.Nodes))))+`}`), "json", true); err != nil {
			t.Fatalf("written again it is refused: %v", err)
		}
	})
}
