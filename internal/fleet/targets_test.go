package fleet

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/filter"
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

func TestTargetsAreWrittenAsTheyWouldBeTyped(t *testing.T) {
	all := Targets{
		Filter:     filter.Flags{Facts: []string{"a=b", "c=d"}, Classes: []string{"c"}, Agents: []string{"a"}, Identities: []string{"i"}, With: []string{"w"}, Select: []string{"s"}},
		Collective: "t", NodesFile: "f", Method: "m", Do: []string{"k=v"}, Exclude: []string{"x"}, Limit: "5%", Timeout: time.Second, Window: true, LimitSeed: 1,
	}
	want := "-F a=b -F c=d -C c -A a -I i -W w -S s -T t --nodes f --dm m --do k=v --exclude x --limit 5%"
	if got := strings.Join(all.Arguments(), " "); got != want {
		t.Errorf("got %s", got)
	}
	if got := (Targets{}).Arguments(); got != nil {
		t.Errorf("nothing is written as %q", got)
	}
}

func TestWhatChoosesNodes(t *testing.T) {
	for _, tt := range []struct {
		t                Targets
		filtered, chosen bool
		stdin, hint      string
	}{
		{t: Targets{}, hint: "no server answered"},
		{t: Targets{Collective: "t", Limit: "5", Method: "mc"}, hint: "no server answered"},
		{t: Targets{Filter: filter.Flags{Select: []string{"s"}}}, filtered: true, chosen: true, hint: "no server matches the filter"},
		{t: Targets{NodesFile: "f"}, chosen: true, hint: "the list of --nodes names nobody"},
		{t: Targets{NodesFile: "-"}, chosen: true, stdin: "--nodes -", hint: "--nodes"},
		{t: Targets{Do: []string{"x=y", "file:-"}}, stdin: "--do file=-", hint: "no server answered"},
		{t: Targets{Exclude: []string{"n1"}, NodesFile: "f"}, chosen: true, hint: "--exclude takes nodes out"},
	} {
		if tt.t.Filtered() != tt.filtered || tt.t.Chosen() != tt.chosen || tt.t.Stdin() != tt.stdin || !strings.Contains(tt.t.EmptyHint(), tt.hint) {
			t.Errorf("%+v: filtered %t, chosen %t, stdin %q, hint %q", tt.t, tt.t.Filtered(), tt.t.Chosen(), tt.t.Stdin(), tt.t.EmptyHint())
		}
	}
}

func TestTargetsAreCheckedWithoutTheNetwork(t *testing.T) {
	f, err := Targets{Filter: filter.Flags{Identities: []string{"n[1-2]"}}, Limit: "5"}.Parse()
	if names, exact := f.ExactIdentities(); err != nil || !exact || !slices.Equal(names, []string{"n1", "n2"}) {
		t.Errorf("got %q, %t, %v", names, exact, err)
	}
	for want, wrong := range map[string]Targets{
		"pigeon": {Method: "pigeon"}, "leaves no nodes": {Limit: "0"}, `-I "n[1-"`: {Filter: filter.Flags{Identities: []string{"n[1-"}}},
		"a!": {Filter: filter.Flags{Facts: []string{"a!=/b/"}}}, "cannot filter the nodes of a file": {NodesFile: "f", Filter: filter.Flags{Agents: []string{"a"}}},
	} {
		if _, err := wrong.Parse(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", wrong, err, want)
		}
	}
	e := &NoNodesError{Hint: "h"}
	if !errors.Is(e, ErrNoNodes) || e.Error() != "no node matched" || (&NoNodesError{What: "w"}).Error() != "w" {
		t.Errorf("%v", e)
	}
}
