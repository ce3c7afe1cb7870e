package lab

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"fleetctl/internal/choria"
)

// call is one action asked of one node. The node's mutex is held while it runs.
type call struct {
	node    *node
	arrival *arrival
	data    json.RawMessage
	now     time.Time
}

// result is what an action makes of a call.
type result struct {
	code    choria.StatusCode
	message string // "" is OK
	data    any    // nil is the empty object
	quiet   bool   // no reply
	then    func(process int)
}

type action func(*call) result

// agentTable holds what the agents of a stock server do. It is set in init because the
// actions look at it themselves.
var agentTable map[string]map[string]action

func init() {
	agentTable = map[string]map[string]action{
		"rpcutil": {
			"ping": ping, "inventory": inventory, "daemon_stats": daemonStats, "agent_inventory": agentInventory,
			"collective_info": collectiveInfo, "get_fact": getFact, "get_facts": getFacts,
			"get_config_item": getConfigItem, "get_data": getData,
		},
		"choria_util": {
			"info": utilInfo, "machine_states": machineStates, "machine_state": machineState, "machine_transition": machineTransition,
		},
		"choria_provision": {
			"configure": locked(provisionConfigure), "gen25519": locked(provisionKeyPair), "gencsr": locked(provisionCSR),
			"jwt": locked(provisionJWT), "release_update": locked(provisionUpdate),
			"restart": provisionRestart, "shutdown": provisionShutdown, "reprovision": provisionAgain,
		},
		"choria_registry": {"ddl": registryDDL, "names": registryNamesAction},
		"scout":           {"checks": scoutChecks, "trigger": scoutChange, "maintenance": scoutChange, "resume": scoutChange},
	}
}

// aborted is a refusal with a reason.
func aborted(format string, args ...any) *result {
	return &result{code: choria.Aborted, message: fmt.Sprintf(format, args...)}
}

// parse reads the inputs as compiled agents do: into a struct, nothing else is checked.
func (c *call) parse(into any) *result {
	if err := json.Unmarshal(c.data, into); err != nil {
		rpc := c.arrival.rpc
		return &result{code: choria.InvalidData, message: fmt.Sprintf("Could not parse request data for %s#%s: %v", c.arrival.request.Agent, rpc.Action, err)}
	}
	return nil
}

func ping(c *call) result { return result{data: map[string]any{"pong": c.now.Unix()}} }

func inventory(c *call) result {
	n := c.node
	machines := []map[string]any{}
	for _, m := range n.machines {
		machines = append(machines, map[string]any{"name": m.name, "version": m.version, "state": m.state})
	}
	view := n.view(false)
	classes := view.Classes
	if classes == nil {
		classes = []string{}
	}
	return result{data: struct {
		Agents         []string         `json:"agents"`
		Classes        []string         `json:"classes"`
		Collectives    []string         `json:"collectives"`
		DataPlugins    []string         `json:"data_plugins"`
		Facts          json.RawMessage  `json:"facts"`
		Machines       []map[string]any `json:"machines"`
		MainCollective string           `json:"main_collective"`
		Version        string           `json:"version"`
		Upgradable     bool             `json:"upgradable"`
	}{n.agents(), classes, n.collectives(), n.dataPlugins(), view.Facts, machines, n.collectives()[0], n.version, n.upgradable}}
}

func daemonStats(c *call) result {
	n := c.node
	s := n.stats
	return result{data: struct {
		Agents      []string       `json:"agents"`
		ConfigFile  string         `json:"configfile"`
		Filtered    int64          `json:"filtered"`
		PID         int            `json:"pid"`
		Passed      int64          `json:"passed"`
		Threads     []string       `json:"threads"`
		Replies     int64          `json:"replies"`
		StartTime   int64          `json:"starttime"`
		TTLExpired  int64          `json:"ttlexpired"`
		Events      int64          `json:"events"`
		Times       map[string]int `json:"times"`
		Total       int64          `json:"total"`
		Unvalidated int64          `json:"unvalidated"`
		Validated   int64          `json:"validated"`
		Version     string         `json:"version"`
	}{
		Agents: n.agents(), ConfigFile: configFile, Filtered: s.filtered, PID: n.pid(), Passed: s.passed,
		Threads: []string{fmt.Sprintf("Go %s with %d go procs on %d cores", runtime.Version(), 17, n.cpus)},
		Replies: s.replies, StartTime: n.started.Unix(), TTLExpired: s.expired, Events: s.events,
		Times: map[string]int{"cstime": 0, "cutime": 0, "stime": 0, "utime": 0},
		Total: s.total, Unvalidated: s.unvalidated, Validated: s.validated, Version: n.version,
	}}
}

// pid stays the same over restarts: the server replaces itself with exec.
func (n *node) pid() int { return 1000 + n.rank }

// metadata are the agents' own figures: description and timeout in seconds.
var metadata = map[string]struct {
	description string
	timeout     int
}{
	"choria_provision": {"Choria Provisioner", 20}, "choria_registry": {"Choria Registry Service", 2},
	"choria_util": {"Choria Utilities", 10}, "discovery": {"Discovery Agent", 2},
	"rpcutil": {"Choria RPC Utilities", 2}, "scout": {"Choria Scout Agent Management API", 20},
}

func agentInventory(c *call) result {
	type entry struct {
		Agent       string `json:"agent"`
		License     string `json:"license"`
		Author      string `json:"author"`
		Timeout     int    `json:"timeout"`
		Name        string `json:"name"`
		Version     string `json:"version"`
		URL         string `json:"url"`
		Description string `json:"description"`
		Service     bool   `json:"service,omitempty"`
	}
	var list []entry
	for _, name := range c.node.agents() {
		m := metadata[name]
		list = append(list, entry{
			Agent: name, License: "Apache-2.0", Author: "R.I.Pienaar <rip@devco.net>", Timeout: m.timeout, Name: name,
			Version: c.node.version, URL: "https://choria.io", Description: m.description, Service: name == "choria_registry",
		})
	}
	return result{data: map[string]any{"agents": list}}
}

func collectiveInfo(c *call) result {
	collectives := c.node.collectives()
	return result{data: struct {
		MainCollective string   `json:"main_collective"`
		Collectives    []string `json:"collectives"`
	}{collectives[0], collectives}}
}

// registryDDL serves the documents that we embed.
func registryDDL(c *call) result {
	var input struct {
		Name       string `json:"name"`
		PluginType string `json:"plugin_type"`
		Format     string `json:"format"`
	}
	if bad := c.parse(&input); bad != nil {
		return *bad
	}
	if input.PluginType != "agent" || input.Format != "json" && input.Format != "ddl" {
		return result{code: choria.InvalidData, message: "Validation failed: plugin_type must be agent and format json or ddl"}
	}
	document, known := c.node.lab.documents[input.Name]
	if !known {
		return *aborted("Could not load DDL")
	}
	if input.Format == "ddl" {
		return *aborted("Could not encode DDL")
	}
	return result{data: map[string]any{"name": input.Name, "plugin_type": "agent", "version": document.version, "ddl": document.text}}
}

func registryNamesAction(c *call) result {
	var input struct {
		PluginType string `json:"plugin_type"`
	}
	if bad := c.parse(&input); bad != nil {
		return *bad
	}
	if input.PluginType != "agent" {
		return result{code: choria.InvalidData, message: "Validation failed: plugin_type must be agent"}
	}
	return result{data: map[string]any{"names": slices.Sorted(maps.Keys(c.node.lab.documents)), "plugin_type": "agent"}}
}

// No node of the lab has Scout checks: the agent answers as it does on such a server.
func scoutChecks(*call) result { return result{data: map[string]any{"checks": []string{}}} }

func scoutChange(*call) result {
	return result{data: map[string]any{"transitioned": []string{}, "failed": []string{}, "skipped": []string{}}}
}
