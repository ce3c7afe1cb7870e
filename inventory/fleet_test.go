package inventory

import (
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleetctl/rpcclient"
)

func sequence(replies []rpcclient.Reply, err error) iter.Seq2[rpcclient.Reply, error] {
	return func(yield func(rpcclient.Reply, error) bool) {
		for _, r := range replies {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(rpcclient.Reply{}, err)
		}
	}
}

func reply(node, data string) rpcclient.Reply {
	return rpcclient.Reply{Node: node, Data: json.RawMessage(data)}
}

func refused(node string) rpcclient.Reply {
	return rpcclient.Reply{Node: node, Code: 1, Message: "no"}
}

// both orders of the replies must give the same report.
func eitherWay(t *testing.T, replies []rpcclient.Reply, report func(iter.Seq2[rpcclient.Reply, error]) (any, error)) string {
	t.Helper()
	var texts []string
	for range 2 {
		v, err := report(sequence(replies, nil))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
		slices.Reverse(replies)
	}
	if diff := cmp.Diff(texts[0], texts[1]); diff != "" {
		t.Errorf("the order of the replies matters: %s", diff)
	}
	return texts[0]
}

func TestCollectivesAreCountedByNode(t *testing.T) {
	replies := []rpcclient.Reply{
		reply("n1", `{"main_collective":"m","collectives":["m","mt"]}`), reply("n2", `{"collectives":["m","m"]}`),
		reply("n1", `{"main_collective":"m","collectives":["m","mt"]}`), reply("n3", `{"collectives":["b","m"]}`), reply("n4", `{"collectives":5}`), refused("n5"),
	}
	got := eitherWay(t, replies, func(s iter.Seq2[rpcclient.Reply, error]) (any, error) { return CollectivesOf(s) })
	want := `{"schema_version":1,"nodes":3,"collectives":[{"name":"m","nodes":3},{"name":"b","nodes":1},{"name":"mt","nodes":1}],` +
		`"problems":[{"identity":"n4","problem":"rpcutil#collective_info reply of n4: field \"collectives\": is the number 5, want an array of strings"},` +
		`{"identity":"n5","problem":"n5 refused rpcutil#collective_info: no (code 1, ` + rpcclient.Reply{Code: 1}.Code.String() + `)"}]}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestFactsAreGroupedByTheirText(t *testing.T) {
	replies := []rpcclient.Reply{
		reply("n1", `{"fact":"f","value":"mt"}`), reply("n2", `{"fact":"f","value":"mt"}`), reply("n3", `{"fact":"f","value":null}`),
		reply("n4", `{"fact":"f"}`), reply("n5", `{"value":[1, 2]}`), reply("n6", `{"value":2.50}`), reply("n7", `7`),
	}
	got := eitherWay(t, replies, func(s iter.Seq2[rpcclient.Reply, error]) (any, error) {
		f, err := FactsOf(s)
		if len(f.Problems) != 1 || f.Problems[0].Node != "n7" {
			t.Errorf("problems %v, want n7's", f.Problems)
		}
		return f.Values, err
	})
	want := `[{"Value":"2.50","Nodes":["n6"]},{"Value":"[1,2]","Nodes":["n5"]},{"Value":"mt","Nodes":["n1","n2"]},{"Value":"nil","Nodes":["n3","n4"]}]`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestReportsKeepWhatCameBeforeAnError(t *testing.T) {
	lost := errors.New("connection lost")
	got, err := CollectivesOf(sequence([]rpcclient.Reply{reply("n1", `{"collectives":["m"]}`)}, lost))
	if !errors.Is(err, lost) || len(got.Nodes) != 1 {
		t.Errorf("%v, %v, want one node and the error", got, err)
	}
}

func TestRequestsOfReports(t *testing.T) {
	fact, err := FactRequest("mt", `os.release"`)
	if err != nil {
		t.Fatal(err)
	}
	for want, got := range map[string]rpcclient.Request{"collective_info ": CollectivesRequest("mt"), `get_fact {"fact":"os.release\""}`: fact} {
		if text := got.Action + " " + string(got.Data); text != want || got.Agent != "rpcutil" || got.Collective != "mt" {
			t.Errorf("%+v, want %s", got, want)
		}
	}
}
