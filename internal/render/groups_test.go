package render

import (
	"fmt"
	"strings"
	"testing"

	"fleetctl/rpcclient"
)

// A node that lost its identity stands first, also where it is silent and only the footer would list it.
func TestANodeThatLostItsIdentityIsShownFirst(t *testing.T) {
	groups := gravestFirst([]Group{{Cause: "unverified: is still the same process"}, {Cause: "no-reply: came back unprovisioned: see the provisioner"}})
	if !isGrave(groups[0].Cause) || isGrave(groups[1].Cause) {
		t.Errorf("got %v", groups)
	}
}

// A node that an update has broken stands before many that it has not.
func TestAFailedRollbackIsShownFirst(t *testing.T) {
	const (
		broken = "Update to version 0.30.2 failed, rollback also failed, server in broken state: no such file"
		back   = "Update to version 0.30.2 failed, release rolled back: invalid checksum"
		locked = "Could not obtain provisioning lock"
	)
	reply := func(node, message string) *rpcclient.Reply {
		return &rpcclient.Reply{Node: node, Code: 1, Message: message}
	}
	replies := []*rpcclient.Reply{reply("z", broken), reply("d", locked)}
	for i := range 3 {
		replies = append(replies, reply(fmt.Sprintf("n%d", i), back))
	}
	var causes []string
	for _, g := range groupFailures(replies) {
		causes = append(causes, fmt.Sprintf("%d %s", len(g.Nodes), g.Cause))
	}
	want := []string{"1 " + broken, "3 " + back, "1 " + locked + ": another provisioner is at work there, or was less than 2 minutes ago"}
	if got := strings.Join(causes, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	groups := []Group{{Cause: "no-reply"}, {Cause: "refused: " + broken}, {Cause: "refused: " + back}}
	if got := gravestFirst(groups); got[0].Cause != "refused: "+broken || got[1].Cause != "no-reply" {
		t.Errorf("got %v", got)
	}
}
