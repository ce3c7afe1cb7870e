//go:build unix

package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLocksAmongChoriasElections: Choria's own commands see our locks, break them, and wait for them.
func TestLocksAmongChoriasElections(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		n := newNetwork(t, version)
		n.streams = true
		n.startBroker(t)
		n.populate(t, 2)
		home, env := n.home(t)

		ended := make(chan result, 1)
		go func() {
			res, err := execute(t.Context(), home, env, fleetctlBinary(t), "req", "choria_provision", "restart", "token="+provisionToken,
				"--lock", "web", "--lock-wait", "30", "--batch", "1", "--batch-sleep", "40", "--yes")
			if err != nil {
				res.Stderr += err.Error()
			}
			ended <- res
		}()
		await(t, time.Minute, "choria election info shows our lock", func() bool {
			res := n.Run(t, "election", "info")
			return strings.Contains(res.Stdout, "fleetctl_web") && strings.Contains(res.Stdout, `"caller":"choria=admin`)
		})
		if res := n.Fleetctl(t, "req", "rpcutil", "ping", "--lock", "web"); res.Code != 7 || !strings.Contains(res.Stderr, "lock web is held by choria=admin") {
			t.Errorf("a second run with the lock: exit %d, %s", res.Code, res.Stderr)
		}

		mark := filepath.Join(home, "elected")
		startProcess(t, "election", n.folder(t, "election"), n.choria, "election", "run", "fleetctl_web", "--config", n.ConfigFile, "touch "+mark)
		elected := func() bool { _, err := os.Stat(mark); return err == nil }
		// An election tries within 5 s for the first time.
		select {
		case res := <-ended:
			t.Fatalf("the run has ended: exit %d, %s", res.Code, res.Stderr)
		case <-time.After(8 * time.Second):
		}
		if elected() {
			t.Error("an election of Choria's won while a run held the lock")
		}

		if res := n.Run(t, "election", "evict", "fleetctl_web", "--force"); res.Code != 0 {
			t.Fatalf("evict: exit %d, %s", res.Code, res.Stderr)
		}
		res := <-ended
		if res.Code != 5 || !strings.Contains(res.Stdout+res.Stderr, "lock web was taken") {
			t.Errorf("the evicted run: exit %d, %s%s", res.Code, res.Stdout, res.Stderr)
		}
		await(t, 2*time.Minute, "the election wins after the eviction", elected)
		if res := n.Fleetctl(t, "shared", "locks"); res.Code != 0 || !strings.Contains(res.Stdout, "web") {
			t.Errorf("shared locks: exit %d, %s%s", res.Code, res.Stdout, res.Stderr)
		}
		if res := n.Fleetctl(t, "doctor", "--discovery-timeout", "1"); res.Code != 0 || !strings.Contains(res.Stdout, "a lock lives for 1m0s") {
			t.Errorf("doctor: exit %d, %s%s", res.Code, res.Stdout, res.Stderr)
		}
	})
}
