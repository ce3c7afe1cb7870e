//go:build unix

package interop

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRealNetworkAnswersItsOwnClient keeps the other tests honest: what they stand on works without us.
func TestRealNetworkAnswersItsOwnClient(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		net := startNetwork(t, version, 3)
		if diff := cmp.Diff(net.Nodes, names(t, net.Run(t, "find", "--json"))); diff != "" {
			t.Errorf("choria find (-want +got)\n%s", diff)
		}
		net.StopServer(t, net.Nodes[2])
		if diff := cmp.Diff(net.Nodes[:2], names(t, net.Run(t, "find", "--json"))); diff != "" {
			t.Errorf("choria find with one frozen (-want +got)\n%s", diff)
		}
		net.ContServer(t, net.Nodes[2])
		// Documents of one and the same client are the same: the comparison leaves out all that may differ.
		one, two := net.Run(t, "req", "rpcutil", "daemon_stats", "--json"), net.Run(t, "req", "rpcutil", "daemon_stats", "--json")
		if diff := cmp.Diff(essence(t, one), essence(t, two)); diff != "" {
			t.Errorf("the same request twice\n%s", diff)
		}
		if diff := cmp.Diff(keyOrder(t, one), keyOrder(t, two)); diff != "" {
			t.Errorf("keys of the same request twice\n%s", diff)
		}
	})
}
