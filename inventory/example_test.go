package inventory_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"fleetctl/inventory"
	"fleetctl/rpcclient"
)

// replies are what nodes answer, by action. An *rpcclient.Client asks real ones.
type replies map[string]string

// Call implements inventory.Caller.
func (r replies) Call(_ context.Context, req rpcclient.Request, nodes []string) iter.Seq2[rpcclient.Reply, error] {
	return func(yield func(rpcclient.Reply, error) bool) {
		for _, node := range nodes {
			if !yield(rpcclient.Reply{Node: node, Data: json.RawMessage(r[req.Action])}, nil) {
				return
			}
		}
	}
}

var fleet = replies{
	"inventory": `{"agents":["rpcutil"],"facts":{"country":"mt"},"classes":["common"],"version":"0.29.4","data_plugins":[],
		"main_collective":"mcollective","collectives":["mcollective"],"machines":[],"upgradable":true}`,
	"daemon_stats": `{"agents":["rpcutil"],"threads":[],"configfile":"/etc/choria/server.conf","version":"0.29.4","pid":7462,"starttime":1795332289,
		"total":86,"validated":76,"unvalidated":1,"passed":77,"filtered":10,"replies":75,"ttlexpired":2,"events":3,"times":{}}`,
	"get_fact": `{"fact":"country","value":"mt"}`,
}

// One node, as `fleetctl inventory NODE` shows it.
func ExampleFetch() {
	node, err := inventory.Fetch(context.Background(), fleet, "mcollective", "web1.example.net", 0)
	fmt.Println(node.Identity, node.Version, inventory.YesNo(node.Upgradable), node.Stats.PID, err)
	// Output: web1.example.net 0.29.4 yes 7462 <nil>
}

// A whole fleet, counted while its answers come.
func ExampleSurvey_Ask() {
	tally := inventory.NewTally(nil)
	for node, err := range (inventory.Survey{Collective: "mcollective", Timeout: time.Minute}).Ask(context.Background(), fleet, []string{"web1", "web2"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		tally.Add(node)
	}
	for _, v := range tally.Versions() {
		fmt.Println(v.Name, v.Nodes)
	}
	// Output: 0.29.4 2
}

// How one fact is distributed.
func ExampleFactsOf() {
	request, err := inventory.FactRequest("mcollective", "country")
	if err != nil {
		fmt.Println(err)
		return
	}
	facts, err := inventory.FactsOf(fleet.Call(context.Background(), request, []string{"web1", "web2"}))
	for _, v := range facts.Values {
		fmt.Println(v.Value, v.Nodes, err)
	}
	// Output: mt [web1 web2] <nil>
}
