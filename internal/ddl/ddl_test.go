package ddl

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustAction(t testing.TB, agent, action string) *Action {
	t.Helper()
	d, err := Resolver{}.Resolve(t.Context(), agent)
	if err != nil {
		t.Fatal(err)
	}
	a, ok := d.Action(action)
	if !ok {
		t.Fatalf("%s has no action %s, only %v", agent, action, d.ActionNames())
	}
	return a
}

func TestEveryEmbeddedDocumentIsWhole(t *testing.T) {
	want := []string{"aaa_signer", "choria_provision", "choria_registry", "choria_util", "executor", "rpcutil", "scout"}
	if d := cmp.Diff(want, Embedded()); d != "" {
		t.Fatalf("embedded (-want +got):\n%s", d)
	}
	for _, name := range Embedded() {
		d, err := Resolver{}.Resolve(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.Origin != originEmbedded || d.Metadata.Description == "" || len(d.Actions) == 0 {
			t.Errorf("%s: origin %q, %d actions", name, d.Origin, len(d.Actions))
		}
		for _, a := range d.Actions {
			if a.Description == "" || !strings.Contains("ok failed always", a.Display) {
				t.Errorf("%s#%s: display %q", name, a.Name, a.Display)
			}
			for _, i := range a.Inputs {
				if i.Prompt == "" || i.Description == "" || i.Type == "" {
					t.Errorf("%s#%s %s: %+v", name, a.Name, i.Name, i)
				}
			}
			for _, o := range a.Outputs {
				if o.Description == "" || o.DisplayAs == "" {
					t.Errorf("%s#%s %s: %+v", name, a.Name, o.Name, o)
				}
			}
			for _, g := range a.Aggregates {
				if _, ok := a.Outputs[g.Output]; !ok {
					t.Errorf("%s#%s sums up %q, which is no output", name, a.Name, g.Output)
				}
			}
		}
	}
}

func TestEmbeddedDocumentsKeepTheFactsOfTheSheet(t *testing.T) {
	timeouts := map[string]time.Duration{"choria_provision": 20 * time.Second, "rpcutil": 2 * time.Second,
		"choria_util": 2 * time.Second, "choria_registry": 2 * time.Second}
	for name, want := range timeouts {
		d, err := Resolver{}.Resolve(t.Context(), name)
		if err != nil || d.Metadata.Timeout != want {
			t.Errorf("%s: timeout %v, %v, want %v", name, d.Metadata.Timeout, err, want)
		}
	}
	config := mustAction(t, "choria_provision", "configure").Inputs["config"]
	if config.MaxLength != 2048 || config.Validation != "^{.+}$" || config.Optional {
		t.Errorf("configure config: %+v", config)
	}
	splay := mustAction(t, "choria_provision", "restart").Inputs["splay"]
	if splay.Type != "number" || !splay.Optional || splay.Default != nil {
		t.Errorf("restart splay: %+v", splay)
	}
	if got := mustAction(t, "choria_registry", "names").Display; got != "failed" {
		t.Errorf("an action without display has %q, want failed", got)
	}
	stats := mustAction(t, "rpcutil", "daemon_stats")
	want := []Aggregate{{Function: "summary", Output: "version"}, {Function: "summary", Output: "agents"}}
	if d := cmp.Diff(want, stats.Aggregates); d != "" {
		t.Errorf("daemon_stats aggregates (-want +got):\n%s", d)
	}
}

func TestReadOnlyActionsAreKnown(t *testing.T) {
	tests := []struct {
		agent, action string
		want          bool
	}{
		{"rpcutil", "ping", true}, {"rpcutil", "inventory", true}, {"rpcutil", "nosuch", false},
		{"choria_util", "machine_states", true}, {"choria_util", "machine_transition", false},
		{"choria_registry", "ddl", true}, {"aaa_signer", "sign", true},
		{"scout", "checks", true}, {"scout", "maintenance", false}, {"scout", "goss_validate", false},
		{"executor", "status", true}, {"executor", "signal", false},
		{"choria_provision", "restart", false}, {"choria_provision", "jwt", false},
	}
	for _, tt := range tests {
		d, err := Resolver{}.Resolve(t.Context(), tt.agent)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.ReadOnly(tt.action); got != tt.want {
			t.Errorf("%s#%s: got %v, want %v", tt.agent, tt.action, got, tt.want)
		}
	}
	for agent, actions := range readOnly {
		for _, action := range actions {
			mustAction(t, agent, action)
		}
	}
}

func TestParseToleratesWhatItDoesNotKnow(t *testing.T) {
	d, err := parse([]byte(`{"$schema":"x","future":1,"metadata":{"name":"x","timeout":1.5,"more":{}},
		"actions":[{"action":"Do","input":{"A":{"type":"string","odd":[]}},"output":null,
		"aggregate":[{"function":"summary","args":[]},{"function":"summary"},{"function":"summary","args":[1]},
		{"function":"summary","args":["o",{"format":"%s %d","true":"Yes","1":2}]}]},{"action":"b"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Document{Metadata: Metadata{Name: "x", Timeout: 1500 * time.Millisecond}, Actions: []Action{
		{Name: "Do", Display: "failed", Inputs: map[string]Input{"A": {Name: "A", Type: "string"}}, Outputs: map[string]Output{},
			Aggregates: []Aggregate{{Function: "summary", Output: "o", Format: "%s %d", Labels: map[string]string{"true": "Yes", "1": "2"}}}},
		{Name: "b", Display: "failed", Inputs: map[string]Input{}, Outputs: map[string]Output{}},
	}}
	if d := cmp.Diff(want, d); d != "" {
		t.Errorf("document (-want +got):\n%s", d)
	}
	if d, err := parse([]byte(`{"metadata":{"name":"x"}}`)); err != nil || d.Metadata.Timeout != 10*time.Second {
		t.Errorf("without a timeout: %+v, %v, want 10s", d, err)
	}
}

func TestParseRefusesWhatIsNoDocument(t *testing.T) {
	for _, text := range []string{``, `[]`, `{}`, `{"metadata":null}`, `{"metadata":{}}`, `{"metadata":{"name":"x"},"actions":[{}]}`,
		`{"metadata":{"name":"x","timeout":1e9}}`, `{"metadata":{"name":"x"},"actions":[null]}`} {
		if d, err := parse([]byte(text)); err == nil {
			t.Errorf("Parse(%s) = %+v, want an error", text, d)
		}
	}
}
