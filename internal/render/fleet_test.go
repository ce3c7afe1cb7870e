package render

import (
	"fmt"
	"time"

	"fleetctl/inventory"
)

// exampleFleet is a fleet of every kind of node, plain and by role.
func exampleFleet() (plain, byRole *inventory.Tally) {
	role := func(n inventory.Node) []string { return n.Classes[1:] }
	plain, byRole = inventory.NewTally(nil), inventory.NewTally(role)
	for _, t := range []*inventory.Tally{plain, byRole} {
		for i := range 203 {
			n := exampleNode()
			n.Identity, n.Upgradable, n.Uptime = fmt.Sprintf("srv-%03d", i), i%5 < 2, time.Duration(i)*time.Hour
			n.Classes = []string{"common", "role::web"}
			if i%4 == 0 {
				n.Version, n.Classes = "0.28.0", []string{"common"}
			}
			if i == 7 {
				n.Version = "0.99.0.20260131"
			}
			if i == 9 {
				n.Stats, n.Err = nil, fmt.Errorf("%w to rpcutil#daemon_stats from srv-009", inventory.ErrNoReply)
			}
			t.Add(n)
		}
		t.Skip(inventory.Node{})
		t.Miss(inventory.Node{Identity: "dead", Err: inventory.ErrNoReply})
		t.Miss(inventory.Node{Identity: "shy", Err: &inventory.RefusedError{Node: "shy", Action: "inventory", Code: 1, Label: "Request Aborted", Message: "not you"}})
	}
	return plain, byRole
}

func exampleDifference() inventory.Difference {
	nodes := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("web%d.example.net", i+1))
		}
		return names
	}
	return inventory.Difference{Before: 500, After: 501, Same: 86, Groups: []inventory.ChangeGroup{
		{Changes: []inventory.Change{{What: "came"}}, Count: 1, Nodes: []string{"db9.example.net"}},
		{Changes: []inventory.Change{{What: "version", From: new("0.28.0"), To: new("0.29.4")}, {What: "fact", Name: "up", Ways: 412}}, Count: 412, Nodes: nodes(412)},
		{Changes: []inventory.Change{{What: "agent", Name: "scout", To: new("")}}, Count: 2, Nodes: []string{"odd\x1b[2J", "web1.example.net"}},
	}}
}

func exampleToken() Token {
	return Token{File: "client.jwt", Purpose: "client", Holder: "up=bob\x1b[2J", Organization: "choria", Permissions: []string{"events_viewer", "fleet_management"},
		Algorithm: "EdDSA", Signature: "unchecked", Problem: "it has EXPIRED", IssuedAt: exampleDay.Add(-48 * time.Hour),
		NotBefore: exampleDay.Add(-47 * time.Hour), ExpiresAt: exampleDay.Add(-time.Hour), Details: [][2]string{{"Agents", "rpcutil.*"}, {"OPA Policy", ""}},
		Claims: []byte(`{"callerid":"up=bob"}`)}
}
