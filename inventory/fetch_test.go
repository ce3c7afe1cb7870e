package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetctl/rpcclient"
)

// fleet answers like real servers would: replies by node and action.
type fleet map[string]map[string]rpcclient.Reply

func (f fleet) Call(ctx context.Context, req rpcclient.Request, nodes []string) iter.Seq2[rpcclient.Reply, error] {
	return func(yield func(rpcclient.Reply, error) bool) {
		for _, node := range nodes {
			if r, ok := f[node][req.Agent+"#"+req.Action+"@"+req.Collective]; ok {
				r.Node = node
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

const (
	inventoryData = `{"agents":["choria_provision","rpcutil"],"facts":{"country":"mt","big":12345678901234567890},"classes":["common"],
		"version":"0.29.4","data_plugins":["choria"],"main_collective":"mcollective","collectives":["mcollective","mt"],
		"machines":[{"name":"m","version":"1.0.0","state":"RUN"}],"upgradable":true}`
	statsData = `{"agents":["rpcutil"],"threads":["Go"],"configfile":"/etc/choria/server.conf","version":"0.29.4","pid":7462,
		"starttime":1795332289,"total":86,"validated":76,"unvalidated":1,"passed":77,"filtered":10,"replies":75,"ttlexpired":2,
		"events":3,"times":{"cstime":0}}`
)

func exampleFleet() fleet {
	return fleet{"n1": {
		"rpcutil#inventory@mt":    {Data: json.RawMessage(inventoryData)},
		"rpcutil#daemon_stats@mt": {Data: json.RawMessage(statsData)},
	}}
}

func exampleNode() Node {
	return Node{Identity: "n1", Version: "0.29.4", Upgradable: true, MainCollective: "mcollective",
		Collectives: []string{"mcollective", "mt"}, Agents: []string{"choria_provision", "rpcutil"}, Classes: []string{"common"},
		DataPlugins: []string{"choria"}, Machines: []Machine{{Name: "m", Version: "1.0.0", State: "RUN"}},
		Facts: json.RawMessage(`{"country":"mt","big":12345678901234567890}`),
		Stats: &Stats{StartTime: time.Unix(1795332289, 0), ConfigFile: "/etc/choria/server.conf", PID: 7462, Total: 86,
			Validated: 76, Unvalidated: 1, Passed: 77, Filtered: 10, Expired: 2, Replies: 75, Events: 3, Threads: []string{"Go"}}}
}

func TestFetchReadsBothReplies(t *testing.T) {
	got, err := Fetch(t.Context(), exampleFleet(), "mt", "n1", 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exampleNode(), got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestFetchWithoutInventoryIsNoNode(t *testing.T) {
	f := exampleFleet()
	delete(f["n1"], "rpcutil#inventory@mt")
	got, err := Fetch(t.Context(), f, "mt", "n1", 0)
	if !errors.Is(err, ErrNoReply) || !strings.Contains(err.Error(), "rpcutil#inventory from n1") {
		t.Errorf("error %v, want ErrNoReply with action and node", err)
	}
	if diff := cmp.Diff(Node{}, got); diff != "" {
		t.Errorf("a node that did not answer: %s", diff)
	}
}

func TestFetchWithoutStatsKeepsTheNode(t *testing.T) {
	f := exampleFleet()
	f["n1"]["rpcutil#daemon_stats@mt"] = rpcclient.Reply{Code: 1, Message: "You are not authorized"}
	got, err := Fetch(t.Context(), f, "mt", "n1", 0)
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || refused.Code != 1 || refused.Message != "You are not authorized" || refused.Action != "daemon_stats" || refused.Node != "n1" {
		t.Errorf("error %#v, want the refusal", err)
	}
	for _, word := range []string{"You are not authorized", "1", "n1", "daemon_stats"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	want := exampleNode()
	want.Stats = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

type brokenCaller struct{ err error }

func (c brokenCaller) Call(context.Context, rpcclient.Request, []string) iter.Seq2[rpcclient.Reply, error] {
	return func(yield func(rpcclient.Reply, error) bool) { yield(rpcclient.Reply{}, c.err) }
}

func TestFetchPassesTheCallersErrorOn(t *testing.T) {
	lost := errors.New("connection lost")
	if _, err := Fetch(t.Context(), brokenCaller{lost}, "mt", "n1", 0); !errors.Is(err, lost) {
		t.Errorf("error %v, want the caller's", err)
	}
}

func TestFetchIgnoresStrangers(t *testing.T) {
	stranger := func(yield func(rpcclient.Reply, error) bool) { yield(rpcclient.Reply{Node: "n2"}, nil) }
	_, err := Fetch(t.Context(), callerFunc(func() iter.Seq2[rpcclient.Reply, error] { return stranger }), "mt", "n1", 0)
	if !errors.Is(err, ErrNoReply) {
		t.Errorf("error %v, want ErrNoReply", err)
	}
}

type callerFunc func() iter.Seq2[rpcclient.Reply, error]

func (f callerFunc) Call(context.Context, rpcclient.Request, []string) iter.Seq2[rpcclient.Reply, error] {
	return f()
}

func TestOddPayloadNamesTheField(t *testing.T) {
	tests := []struct{ action, from, to, field, problem string }{
		{"inventory", `"version":"0.29.4"`, `"version":29`, "version", "is the number 29, want a string"},
		{"inventory", `"version":"0.29.4"`, `"version":""`, "version", "is empty"},
		{"inventory", `"version":"0.29.4",`, ``, "version", "missing"},
		{"inventory", `"main_collective":"mcollective"`, `"main_collective":null`, "main_collective", "is null, want a string"},
		{"inventory", `"collectives":["mcollective","mt"]`, `"collectives":"mt"`, "collectives", "is a string, want an array of strings"},
		{"inventory", `"upgradable":true`, `"upgradable":"yes"`, "upgradable", "is a string, want a boolean"},
		{"inventory", `"facts":{"country":"mt","big":12345678901234567890}`, `"facts":[]`, "facts", "is an array, want an object"},
		{"inventory", `[{"name":"m","version":"1.0.0","state":"RUN"}]`, `{}`, "machines", "is an object, want an array of objects with name, state and version"},
		{"inventory", inventoryData, `[]`, "", "not a JSON object"},
		{"inventory", inventoryData, `null`, "", "not a JSON object"},
		{"inventory", inventoryData, ``, "", "not a JSON object"},
		{"daemon_stats", `"starttime":1795332289,`, ``, "starttime", "missing"},
		{"daemon_stats", `1795332289`, `-1`, "starttime", "-1 is no time"},
		{"daemon_stats", `"pid":7462`, `"pid":1.5`, "pid", "is the number 1.5, want an integer"},
		{"daemon_stats", `"total":86`, `"total":null`, "total", "is null, want an integer"},
		{"daemon_stats", `"passed":77`, `"passed":true`, "passed", "is a boolean, want an integer"},
	}
	for _, tt := range tests {
		f := exampleFleet()
		key := "rpcutil#" + tt.action + "@mt"
		text := strings.Replace(string(f["n1"][key].Data), tt.from, tt.to, 1)
		f["n1"][key] = rpcclient.Reply{Data: json.RawMessage(text)}
		_, err := Fetch(t.Context(), f, "mt", "n1", 0)
		got, ok := errors.AsType[*PayloadError](err)
		if !ok {
			t.Errorf("%s with %s: error %v, want a *PayloadError", tt.action, tt.to, err)
			continue
		}
		want := PayloadError{Node: "n1", Action: tt.action, Field: tt.field, Problem: tt.problem}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%s with %s: -want +got\n%s", tt.action, tt.to, diff)
		}
		if !strings.Contains(err.Error(), tt.field) || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%q does not name the field", err)
		}
	}
}

func TestEmptyListsMayBeNull(t *testing.T) {
	f := exampleFleet()
	f["n1"]["rpcutil#inventory@mt"] = rpcclient.Reply{Data: json.RawMessage(
		`{"version":"1","main_collective":"m","agents":null,"classes":null,"collectives":null,"machines":null,"facts":null}`)}
	n, err := Fetch(t.Context(), f, "mt", "n1", 0)
	if err != nil {
		t.Fatal(err)
	}
	n.Stats = nil
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema_version":1,"identity":"n1","version":"1","upgradable":false,"main_collective":"m","collectives":[],"agents":[],` +
		`"classes":[],"data_plugins":[],"machines":[],"facts":{},"stats":null}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestNodeDocument(t *testing.T) {
	text, err := json.Marshal(exampleNode())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema_version":1,"identity":"n1","version":"0.29.4","upgradable":true,"main_collective":"mcollective",` +
		`"collectives":["mcollective","mt"],"agents":["choria_provision","rpcutil"],"classes":["common"],"data_plugins":["choria"],` +
		`"machines":[{"name":"m","version":"1.0.0","state":"RUN"}],"facts":{"country":"mt","big":12345678901234567890},` +
		`"stats":{"start_time":"2026-11-22T07:24:49Z","configfile":"/etc/choria/server.conf","pid":7462,"total":86,"validated":76,` +
		`"unvalidated":1,"passed":77,"filtered":10,"ttlexpired":2,"replies":75,"events":3,"threads":["Go"]}}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{inventoryData, statsData, `{"collectives":null}`, `{"fact":"x","value":[1, {"a":"<"}]}`, `null`, `{"version":null}`, `x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := decodeInventory("n1", data)
		if err == nil {
			if n.Version == "" || n.Identity != "n1" {
				t.Errorf("%q gives a node without a version: %+v", data, n)
			}
			s, err := decodeStats("n1", data)
			if err == nil {
				n.Stats = &s
			}
			if text, err := json.Marshal(n); err != nil || !json.Valid(text) {
				t.Errorf("%q cannot be written again: %v", data, err)
			}
		}
		if s, err := decodeStats("n1", data); err == nil {
			if _, err := json.Marshal(s); err != nil {
				t.Errorf("%q cannot be written again: %v", data, err)
			}
		}
		_, cerr := decodeCollectives("n1", data)
		_, ferr := decodeFact("n1", data)
		for _, err := range []error{err, cerr, ferr} {
			if p, ok := errors.AsType[*PayloadError](err); err != nil && (!ok || p.Node != "n1" || p.Action == "" || p.Problem == "") {
				t.Errorf("%q: error %#v, want a *PayloadError that says where", data, err)
			}
		}
	})
}
