package render

import (
	"fmt"
	"time"

	"fleetctl/inventory"
)

// exampleFleet is a fleet of every kind of node, plain and by role.
func exampleFleet() (plain, byRole *inventory.Tally) {
	role := func(a inventory.Answer) []string { return a.Node.Classes[1:] }
	plain, byRole = inventory.NewTally(nil), inventory.NewTally(role)
	for _, t := range []*inventory.Tally{plain, byRole} {
		for i := range 203 {
			n := exampleNode()
			n.Identity, n.Upgradable = fmt.Sprintf("srv-%03d", i), i%5 < 2
			n.Classes = []string{"common", "role::web"}
			if i%4 == 0 {
				n.Version, n.Classes = "0.28.0", []string{"common"}
			}
			if i == 7 {
				n.Version = "0.99.0.20260131"
			}
			a := inventory.Answer{Identity: n.Identity, Node: &n, Uptime: time.Duration(i) * time.Hour}
			if i == 9 {
				n.Stats, a.Err = nil, fmt.Errorf("%w to rpcutil#daemon_stats from srv-009", inventory.ErrNoReply)
			}
			t.Add(a)
		}
		t.Skip(inventory.Answer{})
		t.Miss(inventory.Answer{Identity: "dead", Err: inventory.ErrNoReply})
		t.Miss(inventory.Answer{Identity: "shy", Err: &inventory.RefusedError{Node: "shy", Action: "inventory", Code: 1, Label: "Request Aborted", Message: "not you"}})
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
		{Changes: []inventory.Change{{What: inventory.Came}}, Count: 1, Nodes: []string{"db9.example.net"}},
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
