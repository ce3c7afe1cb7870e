package lab

import (
	"encoding/json"
	"testing"
	"time"

	"fleetctl/internal/choria"

	"github.com/nats-io/nats.go"
)

func TestReleaseUpdateGoesWrongAsItDoesOnRealServers(t *testing.T) {
	one := Amount{N: 1}
	o := Options{Nodes: 6, ProvisionAfter: -1, Upgradable: Amount{N: 4}, Version: "0.29.4", Faults: Faults{UpdateLate: one, UpdateFail: one, UpdateBroken: one}}
	inVirtualTime(t, o, func(t *testing.T, l *Lab, c *client) {
		event := c.watch()
		p := dialAs(t, l, "provisioner")
		defer p.conn.Close()
		update := func(f Fault) (string, *nats.Subscription) {
			t.Helper()
			node := pick(t, l, func(n NodeInfo) bool { return n.Fault == f && n.Upgradable })
			c.one(node, "choria_provision", "reprovision", `{"token":"s3cret"}`)
			wantEvent(t, event(), "shutdown", "server", node)
			wantEvent(t, event(), "startup", "provision_mode_server", node)
			return node, p.publish(ask{agent: "choria_provision", action: "release_update", nodes: []string{node},
				data: `{"token":"s3cret","version":"0.30.2","repository":"https://example.net/choria"}`})
		}
		version := func(node string) string {
			t.Helper()
			var stats struct{ Version string }
			if err := json.Unmarshal(p.one(node, "rpcutil", "daemon_stats", "").rpc.Data, &stats); err != nil {
				t.Fatal(err)
			}
			return stats.Version
		}
		comesBack := func(node string, asked time.Time) {
			t.Helper()
			if e := event(); e.Type != "upgraded" || e.Identity != node || e.Version != "0.29.4" || e.NewVersion != "0.30.2" {
				t.Errorf("event %+v", e)
			}
			wantEvent(t, event(), "shutdown", "provision_mode_server", node)
			wantEvent(t, event(), "startup", "provision_mode_server", node)
			if got := version(node); got != "0.30.2" || p.started(node) <= asked.Unix() {
				t.Errorf("version %s since %d, want 0.30.2 since later than %d", got, p.started(node), asked.Unix())
			}
		}

		asked := time.Now()
		node, replies := update(NoFault)
		if got := p.collect(replies, 1, agentTime); len(got) != 1 || got[0].text != "Restarting Choria Server after 2s" {
			t.Errorf("%+v", got)
		}
		comesBack(node, asked)

		asked = time.Now()
		node, replies = update(UpdateLate)
		pass(time.Second) // it holds the agent's mutex by now
		p.silent(ask{agent: "choria_provision", action: "restart", data: `{"token":"s3cret"}`, nodes: []string{node}})
		comesBack(node, asked)
		if got := p.collect(replies, 1, time.Second); len(got) != 0 {
			t.Errorf("late update replied %+v", got)
		}

		for f, want := range map[Fault]string{
			UpdateFail:   "Update to version 0.30.2 failed, release rolled back: downloaded file had an invalid checksum",
			UpdateBroken: "Update to version 0.30.2 failed, rollback also failed, server in broken state: rename /usr/sbin/choria.backup /usr/sbin/choria: no such file or directory",
		} {
			node, replies := update(f)
			got := p.collect(replies, 1, agentTime)
			if len(got) != 1 || got[0].rpc.StatusCode != choria.Aborted || got[0].text != want {
				t.Errorf("%v: %+v, want %q", f, got, want)
			}
			if v := version(node); v != "0.29.4" {
				t.Errorf("%v: version %s", f, v)
			}
			before := p.started(node)
			p.one(node, "choria_provision", "configure", `{"token":"s3cret","config":"{\"a\":\"b\"}"}`)
			wantEvent(t, event(), "provisioned", "provision_mode_server", node)
			p.one(node, "choria_provision", "restart", `{"token":"s3cret","splay":1}`)
			wantEvent(t, event(), "shutdown", "provision_mode_server", node)
			if f == UpdateFail {
				wantEvent(t, event(), "startup", "server", node)
				continue
			}
			pass(time.Minute)
			if after := p.started(node); after != before {
				t.Errorf("start time %d, want %d: there is no program to start", after, before)
			}
		}
	})
}
