//go:build unix

package interop

import (
	"strings"
	"testing"
	"time"
)

// TestBudgetOnChoriasBrokers: every command of the budget, in a bucket that we make and in one that choria makes.
func TestBudgetOnChoriasBrokers(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		n := newNetwork(t, version)
		n.streams = true
		n.startBroker(t)
		n.populate(t, 2)
		fleetctl := func(code int, says string, args ...string) {
			t.Helper()
			if res := n.Fleetctl(t, args...); res.Code != code || !strings.Contains(res.Stdout+res.Stderr, says) {
				t.Errorf("fleetctl %s: exit %d, want %d and %q: %s%s", strings.Join(args, " "), res.Code, code, says, res.Stdout, res.Stderr)
			}
		}
		restart := []string{"req", "choria_provision", "restart", "token=" + provisionToken, "splay=1", "--max-down", "1", "--max-down", "country=1", "--batch-sleep", "0", "--canary", "0", "--yes"}
		fleetctl(9, "choria kv add FLEETCTL --history 1 --replicas 3", restart...)
		fleetctl(9, "no bucket FLEETCTL", "shared", "limits")
		fleetctl(0, "runs cannot share limits", "doctor", "--discovery-timeout", "1")
		for _, made := range []string{"was made", "exists"} {
			fleetctl(0, made, "shared", "init", "--replicas", "1")
		}
		if res := n.Run(t, "kv", "ls"); res.Code != 0 || !strings.Contains(res.Stdout, "FLEETCTL") {
			t.Errorf("choria kv ls: exit %d, %s%s", res.Code, res.Stdout, res.Stderr)
		}
		fleetctl(0, "no limits bind all runs", "shared", "limits")
		fleetctl(0, `"verified": 2`, append(restart, "--json")...)
		fleetctl(0, "no node of run", "runs", "settle", "last")
		fleetctl(2, "has no request open to", "runs", "forget", "last", "nosuch.example.net", "--reason", "gone")
		fleetctl(0, "at most 1 down at once with one value of country", "shared", "limits", "--max-down", "5", "--max-down", "country=1")
		fleetctl(0, "bucket FLEETCTL with 1 replica", "doctor", "--discovery-timeout", "1")
		if res := n.Run(t, "kv", "get", "FLEETCTL", "budget."+n.collective, "--raw"); res.Code != 0 || !strings.Contains(res.Stdout, `"country":1`) {
			t.Errorf("choria kv get: exit %d, %s%s", res.Code, res.Stdout, res.Stderr)
		}

		if version == 2 {
			return // streams_user may not delete the bucket
		}
		// The bucket of choria's own making does as well.
		if res := n.Run(t, "kv", "del", "FLEETCTL", "--force"); res.Code != 0 {
			t.Fatalf("choria kv del: exit %d, %s%s", res.Code, res.Stdout, res.Stderr)
		}
		if res := n.Run(t, "kv", "add", "FLEETCTL", "--history", "1", "--replicas", "1"); res.Code != 0 {
			t.Fatalf("choria kv add: exit %d, %s%s", res.Code, res.Stdout, res.Stderr)
		}
		fleetctl(0, `"verified": 2`, append(restart, "--json")...)
		await(t, time.Minute, "no node counts", func() bool {
			res := n.Fleetctl(t, "shared", "limits")
			return res.Code == 0 && strings.Contains(res.Stdout+res.Stderr, "no nodes count as down")
		})
	})
}
