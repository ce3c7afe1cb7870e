package lab

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"fleetctl/internal/choria"

	"github.com/nats-io/nats.go"
)

func getFact(c *call) result {
	type input struct {
		Fact string `json:"fact"`
	}
	var in input
	if bad := c.parse(&in); bad != nil {
		return *bad
	}
	return result{data: map[string]any{"fact": in.Fact, "value": c.fact(in.Fact)}}
}

func getFacts(c *call) result {
	type input struct {
		Facts string `json:"facts"`
	}
	var in input
	if bad := c.parse(&in); bad != nil {
		return *bad
	}
	values := map[string]any{}
	for name := range strings.SplitSeq(in.Facts, ",") {
		name = strings.TrimSpace(name)
		values[name] = c.fact(name)
	}
	return result{data: map[string]any{"values": values}}
}

// fact is null where there is none; nodes in provisioning mode have none.
func (c *call) fact(path string) any {
	if path == "" || c.node.state == Provisioning {
		return nil
	}
	return c.node.fact(path)
}

func getConfigItem(c *call) result {
	var input struct {
		Item string `json:"item"`
	}
	if bad := c.parse(&input); bad != nil {
		return *bad
	}
	value, known := c.node.settings()[input.Item]
	if !known {
		return *aborted("Unknown key")
	}
	return result{data: map[string]any{"item": input.Item, "value": value}}
}

// settings are the parts of a server's configuration that can be asked for. Durations
// are nanoseconds. The caller holds mu.
func (n *node) settings() map[string]any {
	collectives := n.collectives()
	provider := "file"
	if n.lab.creds.version == choria.V2 {
		provider = "choria"
	}
	return map[string]any{
		"identity": n.identity, "collectives": collectives, "main_collective": collectives[0], "ttl": 60,
		"loglevel": "info", "logfile": "/var/log/choria.log", "classesfile": "/etc/choria/classes.txt", "registerinterval": 300,
		"rpcaudit": true, "rpcauthorization": n.state == Up && n.lab.creds.version == choria.V2,
		"plugin.yaml": "/etc/choria/facts.json", "plugin.security.provider": provider, "plugin.choria.use_srv": false,
		"plugin.choria.middleware_hosts": []string{n.lab.brokerHost()}, "plugin.choria.server.provision": n.state == Provisioning,
		"plugin.choria.server.provision.allow_update": n.upgradable, "plugin.choria.network.connect_timeout": 2 * time.Second,
	}
}

// brokerHost is the broker's address without a scheme.
func (l *Lab) brokerHost() string { return strings.TrimPrefix(l.brokerName(), "nats://") }

func getData(c *call) result {
	var input struct {
		Query  string `json:"query"`
		Source string `json:"source"`
	}
	if bad := c.parse(&input); bad != nil {
		return *bad
	}
	source, known := c.node.dataFunctions()[input.Source]
	if !known || c.node.state == Provisioning {
		return *aborted("Unknown data plugin")
	}
	value, err := source(input.Query)
	if err != nil {
		return result{data: json.RawMessage("null")}
	}
	return result{data: value}
}

// dataPlugins are the names of dataFunctions. The caller holds mu.
func (n *node) dataPlugins() []string {
	if n.state == Provisioning {
		return []string{}
	}
	return []string{"choria", "config_item", "machine_state", "scout"}
}

// dataFunctions are the data plugins, for compound filters and get_data. The caller
// holds mu, here and when it calls them.
func (n *node) dataFunctions() map[string]func(args ...any) (any, error) {
	query := func(args []any) string {
		if len(args) == 0 {
			return ""
		}
		text, _ := args[0].(string)
		return text
	}
	return map[string]func(args ...any) (any, error){
		"choria": func(...any) (any, error) { return n.dataChoria(), nil },
		"config_item": func(args ...any) (any, error) {
			value, present := n.settings()[query(args)]
			return map[string]any{"present": present, "value": value}, nil
		},
		"machine_state": func(args ...any) (any, error) {
			wanted := query(args)
			for _, m := range n.machines {
				if wanted == m.name || wanted == m.id || wanted == m.path {
					return m.record(), nil
				}
			}
			return nil, fmt.Errorf("no machine %q", wanted)
		},
		"scout": func(...any) (any, error) { return map[string]any{}, nil },
	}
}

func (n *node) dataChoria() map[string]any {
	machines := []string{}
	for _, m := range n.machines {
		machines = append(machines, m.name)
	}
	s := n.stats
	return map[string]any{
		"agents": n.agents(), "agents_count": len(n.agents()), "classes": n.classes, "classes_count": len(n.classes),
		"configfile": configFile, "connected_broker": n.lab.brokerName(), "cpus": n.cpus,
		"filtered": s.filtered, "go_version": runtime.Version(), "goroutines": 17, "license": "Apache-2.0",
		"machines": machines, "machines_count": len(machines), "passed": s.passed, "pid": n.pid(),
		"provisioning": n.state == Provisioning, "replies": s.replies, "total": s.total, "ttlexpired": s.expired,
		"events": s.events, "unvalidated": s.unvalidated, "uptime": int64(time.Since(n.born) / time.Second),
		"validated": s.validated, "version": n.version, "built": "", "commit": "",
	}
}

func utilInfo(c *call) result {
	n := c.node
	broker := n.lab.brokerName()
	return result{data: map[string]any{
		"security": "choria", "connector": "choria", "client_version": nats.Version, "client_flavour": "nats.go " + runtime.Version(),
		"connected_server": broker, "facter_domain": "", "facter_command": "", "srv_domain": "", "using_srv": false,
		"middleware_servers": []string{n.lab.brokerHost()}, "path": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"choria_version": "choria " + n.version, "secure_protocol": true, "connector_tls": true,
		"client_stats": map[string]any{"in_msgs": n.stats.total, "out_msgs": n.stats.replies + n.stats.events, "in_bytes": n.stats.total * 3000, "out_bytes": n.stats.replies * 1500, "reconnects": 0},
		"client_options": map[string]any{
			"servers": []string{broker}, "dont_randomize_servers": false, "name": n.identity, "pedantic": false, "secure": true,
			"allow_reconnect": true, "max_reconnect_attempts": -1, "reconnect_time_wait": 2, "connect_timeout": 2,
			"ping_interval": 120, "max_outstanding_pings": 2,
		},
	}}
}

// machine is an autonomous agent. Web servers have one.
type machine struct {
	name, version, state, path, id string
	started                        time.Time
}

// transitions are what a machine can do, by its state: the event and where it leads.
var transitions = map[string]map[string]string{
	"IDLE":     {"renew": "RENEWING"},
	"RENEWING": {"done": "IDLE", "fail": "FAILED"},
	"FAILED":   {"renew": "RENEWING"},
}

func newMachines(b *blueprint, now time.Time) []*machine {
	if b.role != "web" {
		return nil
	}
	sum := sha256.Sum256([]byte(b.identity))
	return []*machine{{
		name: "cert_renew", version: "1.2.0", state: "IDLE", path: "/etc/choria/machines/cert_renew", started: now,
		id: uuid([16]byte(sum[:16])),
	}}
}

func (m *machine) record() map[string]any {
	available := []string{}
	for event := range transitions[m.state] {
		available = append(available, event)
	}
	slices.Sort(available)
	return map[string]any{
		"name": m.name, "version": m.version, "state": m.state, "path": m.path, "id": m.id,
		"start_time": m.started.Unix(), "available_transitions": available, "scout": false,
	}
}

func machineStates(c *call) result {
	ids, names, states := []string{}, []string{}, map[string]any{}
	for _, m := range c.node.machines {
		ids, names = append(ids, m.id), append(names, m.name+" "+m.version)
		states[m.id] = m.record()
	}
	return result{data: map[string]any{"machine_ids": ids, "machine_names": names, "states": states}}
}

type machineQuery struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Path       string `json:"path"`
	Instance   string `json:"instance"`
	Transition string `json:"transition"`
}

// find returns the machines that fit every criterion that is given.
func (q machineQuery) find(machines []*machine) []*machine {
	fits := func(wanted, have string) bool { return wanted == "" || wanted == have }
	var found []*machine
	for _, m := range machines {
		if fits(q.Name, m.name) && fits(q.Version, m.version) && fits(q.Path, m.path) && fits(q.Instance, m.id) {
			found = append(found, m)
		}
	}
	return found
}

func machineState(c *call) result {
	var q machineQuery
	if bad := c.parse(&q); bad != nil {
		return *bad
	}
	q.Version = ""
	found := q.find(c.node.machines)
	var refusal *result
	switch {
	case q.Name == "" && q.Path == "" && q.Instance == "":
		refusal = aborted("No search criteria given")
	case len(c.node.machines) == 0:
		refusal = aborted("No running machines")
	case len(found) == 0:
		refusal = aborted("Could not find a matching machine")
	case len(found) > 1:
		refusal = aborted("Found multiple machines matching criteria")
	default:
		return result{data: found[0].record()}
	}
	// Refusals carry a record of no machine.
	refusal.data = map[string]any{
		"name": "unknown machine", "version": "unknown machine", "state": "unknown machine", "path": "", "id": "",
		"start_time": 0, "available_transitions": nil, "scout": false,
	}
	return *refusal
}

func machineTransition(c *call) result {
	var q machineQuery
	if bad := c.parse(&q); bad != nil {
		return *bad
	}
	reason := ""
	found := q.find(c.node.machines)
	if len(found) == 0 {
		reason = fmt.Sprintf("could not find machine matching criteria name='%s', version='%s', path='%s', id='%s'", q.Name, q.Version, q.Path, q.Instance)
	} else if next, ok := transitions[found[0].state][q.Transition]; ok {
		found[0].state = next
	} else {
		reason = fmt.Sprintf("transition %s is not valid while in %s state", q.Transition, found[0].state)
	}
	r := result{data: map[string]any{"success": reason == ""}}
	if reason != "" {
		r.code, r.message = choria.Aborted, fmt.Sprintf("Could not perform %s transition: %s", q.Transition, reason)
	}
	return r
}
