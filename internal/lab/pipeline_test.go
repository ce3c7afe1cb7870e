package lab

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/choria"
)

func TestServersDropWhatRealOnesDrop(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 8}, func(t *testing.T, l *Lab, c *client) {
		node := pick(t, l, func(n NodeInfo) bool { return n.Country != "mt" })
		to := []string{node}
		for _, a := range []ask{
			{agent: "nosuch", action: "ping", nodes: to},
			{agent: "choria_registry", action: "names", nodes: []string{pick(t, l, func(n NodeInfo) bool { return !l.byName[n.Identity].offers("choria_registry") })}},
			{agent: "rpcutil", action: "ping", nodes: to, filter: choria.Filter{Class: []string{"nosuch"}}},
			{agent: "rpcutil", action: "ping", nodes: to, collective: "mt_collective"},
			{agent: "rpcutil", action: "ping", nodes: to, age: 61 * time.Second},
			{agent: "rpcutil", action: "ping", nodes: to, age: -61 * time.Second},
			{agent: "choria_registry", action: "names"},
		} {
			c.silent(a)
		}
		if got := c.collect(c.publish(ask{agent: "rpcutil", action: "ping", nodes: to, age: 58 * time.Second}), 1, time.Second); len(got) != 1 {
			t.Error("a request of 58 s was not answered")
		}
		var stats struct{ Filtered, TTLExpired, Validated, Unvalidated int64 }
		r := c.one(node, "rpcutil", "daemon_stats", "")
		if err := json.Unmarshal(r.rpc.Data, &stats); err != nil {
			t.Fatal(err)
		}
		if stats.Filtered != 1 || stats.TTLExpired != 2 || stats.Unvalidated != 0 || stats.Validated == 0 {
			t.Errorf("counters %+v", stats)
		}
	})
}

func TestErrorRepliesHaveTheTextsOfRealServers(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 4}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[0].Identity
		for _, tt := range []struct {
			agent, action, data string
			code                choria.StatusCode
			text                string
		}{
			{"rpcutil", "nosuch", "", choria.UnknownAction, "Unknown action nosuch for agent rpcutil"},
			{"rpcutil", "get_fact", `{"fact":[1]}`, choria.InvalidData, "Could not parse request data for rpcutil#get_fact: json: cannot unmarshal array into Go struct field input.fact of type string"},
			{"rpcutil", "get_config_item", `{"item":"x"}`, choria.Aborted, "Unknown key"},
			{"rpcutil", "get_data", `{"source":"x"}`, choria.Aborted, "Unknown data plugin"},
			{"choria_provision", "restart", `{"token":"s3cret","splay":1.5}`, choria.InvalidData, "Could not parse request data for choria_provision#restart: json: cannot unmarshal number 1.5 into Go struct field RestartRequest.splay of type int"},
			{"choria_provision", "restart", "", choria.Aborted, wrongToken},
			{"choria_provision", "shutdown", `{"token":"S3cret"}`, choria.Aborted, wrongToken},
			{"choria_provision", "jwt", `{"token":"s3cret"}`, choria.Aborted, notInMode},
			{"choria_provision", "gen25519", `{"token":"s3cret"}`, choria.Aborted, notInMode},
			{"choria_provision", "gencsr", `{"token":"s3cret"}`, choria.Aborted, notInMode},
			{"choria_provision", "configure", `{"token":"s3cret"}`, choria.Aborted, notInMode},
			{"choria_provision", "release_update", `{"token":"s3cret"}`, choria.Aborted, "Cannot update a server that is not in provisioning mode"},
		} {
			if r := c.one(node, tt.agent, tt.action, tt.data); r.rpc.StatusCode != tt.code || r.rpc.StatusMsg != tt.text || string(r.rpc.Data) != "{}" || r.rpc.Action != tt.action {
				t.Errorf("%s#%s %s: got %d %q %s, want %d %q", tt.agent, tt.action, tt.data, r.rpc.StatusCode, r.rpc.StatusMsg, r.rpc.Data, tt.code, tt.text)
			}
		}
	})
}

func TestDiscoveryFindsWhatTheFilterMeans(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 40, Seed: 3}, func(t *testing.T, l *Lab, c *client) {
		fact := func(name, op, value string) choria.Filter {
			return choria.Filter{Fact: []choria.FactFilter{{Fact: name, Operator: op, Value: value}}}
		}
		compound := func(expr string) choria.Filter {
			return choria.Filter{Compound: [][]choria.CompoundFilter{{{Expr: expr}}}}
		}
		for _, tt := range []struct {
			name   string
			filter choria.Filter
			fits   func(NodeInfo) bool
		}{
			{"everything", choria.Filter{}, func(NodeInfo) bool { return true }},
			{"fact", fact("country", "==", "mt"), func(n NodeInfo) bool { return n.Country == "mt" }},
			{"nested fact", fact("networking.domain", "=~", "^ams"), func(n NodeInfo) bool { return n.Site == "ams1" }},
			{"class", choria.Filter{Class: []string{"role::db"}}, func(n NodeInfo) bool { return n.Role == "db" }},
			{"identity regex", choria.Filter{Identity: []string{"/^web/"}}, func(n NodeInfo) bool { return n.Role == "web" }},
			{"agent", choria.Filter{Agent: []string{"choria_registry"}}, func(n NodeInfo) bool { return l.byName[n.Identity].rank < registries }},
			{"compound", compound(`with("role=web") and fact("country") == "de"`), func(n NodeInfo) bool { return n.Role == "web" && n.Country == "de" }},
			{"data plugin", compound(`choria().machines_count == 1`), func(n NodeInfo) bool { return n.Role == "web" }},
			{"machine state", compound(`machine_state("cert_renew").state == "IDLE"`), func(n NodeInfo) bool { return n.Role == "web" }},
			{"broken compound", choria.Filter{Compound: [][]choria.CompoundFilter{{{Expr: "true"}, {Expr: "true"}}}}, func(NodeInfo) bool { return false }},
		} {
			var want []string
			for _, n := range l.Nodes() {
				if tt.fits(n) {
					want = append(want, n.Identity)
				}
			}
			slices.Sort(want)
			if tt.name != "broken compound" && len(want) == 0 {
				t.Errorf("%s: nothing to find", tt.name)
			}
			if got := c.discover(tt.filter, time.Second); !slices.Equal(got, want) {
				t.Errorf("%s: found %v, want %v", tt.name, got, want)
			}
		}
		mt := c.collect(c.publish(ask{agent: "discovery", collective: "mt_collective"}), -1, time.Second)
		for _, r := range mt {
			if info, _ := l.Node(r.sender); info.Country != "mt" {
				t.Errorf("%s of %s is in mt_collective", r.sender, info.Country)
			}
		}
		if len(mt) == 0 {
			t.Error("no node is in mt_collective")
		}
	})
}

func TestUtilityAgentsAnswer(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 10, Upgradable: Amount{N: 40, Percent: true}}, func(t *testing.T, l *Lab, c *client) {
		node := pick(t, l, func(n NodeInfo) bool { return n.Upgradable && n.Role == "web" })
		for _, tt := range []struct{ agent, action, data, want string }{
			{"rpcutil", "inventory", "", `"upgradable":true`},
			{"rpcutil", "inventory", "", `"machines":[{"name":"cert_renew","state":"IDLE","version":"1.2.0"}]`},
			{"rpcutil", "agent_inventory", "", `"agent":"choria_provision"`},
			{"rpcutil", "get_fact", `{"fact":"role"}`, `{"fact":"role","value":"web"}`},
			{"rpcutil", "get_fact", `{"fact":"tags.0"}`, `{"fact":"tags.0","value":"web"}`},
			{"rpcutil", "get_fact", `{"fact":"no.such"}`, `{"fact":"no.such","value":null}`},
			{"rpcutil", "get_facts", `{"facts":"role, x"}`, `{"values":{"role":"web","x":null}}`},
			{"rpcutil", "get_config_item", `{"item":"identity"}`, fmt.Sprintf(`{"item":"identity","value":%q}`, node)},
			{"rpcutil", "get_data", `{"source":"config_item","query":"identity"}`, fmt.Sprintf(`{"present":true,"value":%q}`, node)},
			{"choria_util", "info", "", `"security":"choria"`},
			{"choria_util", "machine_states", "", `"machine_names":["cert_renew 1.2.0"]`},
			{"choria_util", "machine_state", `{"name":"cert_renew"}`, `"state":"IDLE"`},
			{"choria_util", "machine_state", "", `"name":"unknown machine"`},
			{"choria_util", "machine_transition", `{"transition":"renew"}`, `{"success":true}`},
			{"choria_util", "machine_transition", `{"transition":"renew"}`, `{"success":false}`},
			{"scout", "checks", "", `{"checks":[]}`},
		} {
			if r := c.one(node, tt.agent, tt.action, tt.data); !strings.Contains(string(r.rpc.Data), tt.want) {
				t.Errorf("%s#%s %s: %s, want %s in it", tt.agent, tt.action, tt.data, r.rpc.Data, tt.want)
			}
		}
		got := c.collect(c.publish(ask{agent: "choria_registry", action: "ddl", service: true,
			data: `{"name":"rpcutil","plugin_type":"agent","format":"json"}`}), -1, time.Second)
		if len(got) != 1 || !strings.Contains(string(got[0].rpc.Data), `"name":"rpcutil"`) {
			t.Errorf("registry: %d replies, want one with the document: %+v", len(got), got)
		}
	})
}

func TestProvisionerConfiguresANode(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 3, ProvisionAfter: 20 * time.Second, Upgradable: Amount{N: 3}}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[0].Identity
		c.one(node, "choria_provision", "reprovision", `{"token":"s3cret"}`)
		if err := l.Await(t.Context(), node, Provisioning); err != nil {
			t.Fatal(err)
		}
		p := dialAs(t, l, "provisioner")
		defer p.conn.Close()
		for _, tt := range []struct {
			action, data string
			code         choria.StatusCode
			want         string
		}{
			{"restart", `{"token":"s3cret"}`, choria.Aborted, "Configuration /etc/choria/server.conf enables provisioning, restart cannot continue"},
			{"reprovision", `{"token":"s3cret"}`, choria.Aborted, "Server is already in provisioning mode, cannot enable provisioning mode again"},
			{"jwt", `{"token":"wrong"}`, choria.Aborted, wrongToken},
			{"jwt", `{"token":"s3cret"}`, choria.OK, `"ecdh_public":"`},
			{"gen25519", `{"token":"s3cret","nonce":"n"}`, choria.OK, `"directory":"/etc/choria"`},
			{"gencsr", `{"token":"s3cret","cn":"x","O":"Example"}`, choria.OK, `BEGIN CERTIFICATE REQUEST`},
			{"configure", `{"token":"s3cret"}`, choria.Aborted, "Did not receive any configuration to write, cannot write a empty configuration file"},
			{"configure", `{"token":"s3cret","config":"{}","key":"k"}`, choria.Aborted, "EDCH Public Key not supplied while providing a private key"},
			{"configure", `{"token":"s3cret","config":"{\"a\":1}"}`, choria.Aborted, "Could not decode configuration data: "},
			{"configure", `{"token":"s3cret","config":"{}","certificate":"c","ca":"c","ssldir":"/x","key":"k","ecdh_public":"e"}`, choria.Aborted, "TLS Setup Failed: could not decrypt private key: bad key received"},
			{"configure", `{"token":"s3cret","config":"{}","action_policies":{"a":"b"}}`, choria.Aborted, `Could not save Action Policies: expected \"a\" to have .policy extension`},
			{"release_update", `{"token":"s3cret","version":"9"}`, choria.Aborted, "Update to version 9 failed, release rolled back: "},
			{"configure", `{"token":"s3cret","config":"{\"a\":\"b\"}"}`, choria.OK, "Wrote 2 lines to /etc/choria/server.conf"},
		} {
			r := p.one(node, "choria_provision", tt.action, tt.data)
			quoted, _ := json.Marshal(r.rpc.StatusMsg)
			if r.rpc.StatusCode != tt.code || !strings.Contains(string(quoted)+string(r.rpc.Data), tt.want) {
				t.Errorf("%s %s: %d %q %s, want %d %s", tt.action, tt.data, r.rpc.StatusCode, r.rpc.StatusMsg, r.rpc.Data, tt.code, tt.want)
			}
		}
		// An adopted node is left to its provisioner.
		before := p.started(node)
		if got := p.collect(p.publish(ask{agent: "rpcutil", action: "nothing"}), 2, time.Minute); len(got) != 1 {
			t.Errorf("%d replies, want the unknown action answered once", len(got))
		}
		if info, _ := l.Node(node); info.State != Provisioning {
			t.Errorf("state %v, want provisioning still", info.State)
		}
		p.one(node, "choria_provision", "restart", `{"token":"s3cret","splay":1}`)
		if err := l.Await(t.Context(), node, Up); err != nil {
			t.Fatal(err)
		}
		if after := c.started(node); after <= before {
			t.Errorf("start time %d, want later than %d", after, before)
		}
	})
}

func TestReleaseUpdateChangesTheVersion(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 2, ProvisionAfter: -1, Upgradable: Amount{N: 1}}, func(t *testing.T, l *Lab, c *client) {
		event := c.watch()
		p := dialAs(t, l, "provisioner")
		defer p.conn.Close()
		for _, n := range l.Nodes() {
			c.one(n.Identity, "choria_provision", "reprovision", `{"token":"s3cret"}`)
			wantEvent(t, event(), "shutdown", "server", n.Identity)
			wantEvent(t, event(), "startup", "provision_mode_server", n.Identity)
			r := p.one(n.Identity, "choria_provision", "release_update", `{"token":"s3cret","version":"1.0.0","repository":"https://example.net"}`)
			if !n.Upgradable {
				if r.text != "Version updates is not enabled in the configuration" {
					t.Errorf("%q", r.text)
				}
				continue
			}
			if r.text != "Restarting Choria Server after 2s" {
				t.Errorf("%q", r.text)
			}
			if e := event(); e.Type != "upgraded" || e.NewVersion != "1.0.0" || e.Version != n.Version {
				t.Errorf("event %+v", e)
			}
			wantEvent(t, event(), "shutdown", "provision_mode_server", n.Identity)
			if e := event(); e.Type != "startup" || e.Version != "1.0.0" {
				t.Errorf("event %+v", e)
			}
		}
	})
}

func TestProvisioningLockKeepsOthersOut(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 1}, func(t *testing.T, l *Lab, c *client) {
		node := l.nodes[0]
		c.one(node.identity, "choria_provision", "jwt", `{"token":"s3cret"}`)
		node.mu.Lock()
		node.lock.holder = "another.choria=one"
		node.mu.Unlock()
		if r := c.one(node.identity, "choria_provision", "jwt", `{"token":"s3cret"}`); r.text != "Could not obtain provisioning lock" {
			t.Errorf("%q", r.text)
		}
		if r := c.one(node.identity, "choria_provision", "restart", `{"token":"wrong"}`); r.text != wrongToken {
			t.Errorf("restart does not use the lock: %q", r.text)
		}
		c.collect(c.publish(ask{agent: "discovery", filter: choria.Filter{Class: []string{"none"}}}), 1, lockWindow)
		if r := c.one(node.identity, "choria_provision", "jwt", `{"token":"s3cret"}`); r.text != notInMode {
			t.Errorf("after the lock has ended: %q", r.text)
		}
	})
}
