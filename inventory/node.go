package inventory

import (
	"encoding/json"
	"time"
)

// schemaVersion is the version of the documents of this package; they only ever grow.
const schemaVersion = 1

// Node is one node, as it described itself.
type Node struct {
	Identity string `json:"identity"`
	// Version is the server's, such as 0.29.4. It is empty when the node did not answer rpcutil#inventory.
	Version string `json:"version"`
	// Upgradable means that the server may upgrade itself during provisioning (docs/protocol.md, upgradable).
	Upgradable     bool     `json:"upgradable"`
	MainCollective string   `json:"main_collective"`
	Collectives    []string `json:"collectives"`
	Agents         []string `json:"agents"`
	// AgentVersions is nil when they were not asked for or not answered.
	AgentVersions map[string]string `json:"agent_versions,omitempty"`
	Classes       []string          `json:"classes"`
	DataPlugins   []string          `json:"data_plugins,omitzero"`
	Machines      []Machine         `json:"machines"`
	// TokenExpires is when the server's token ends, as its reply showed it (protocol v2); zero where it showed none.
	TokenExpires time.Time `json:"token_expires,omitzero"`
	// Facts is the JSON object of the node's facts; nil where they are left out.
	Facts json.RawMessage `json:"-"`
	// Stats is nil when the node answered rpcutil#inventory but not rpcutil#daemon_stats.
	Stats *Stats `json:"-"`
	// Uptime is by the node's own clock, and zero without Stats.
	Uptime time.Duration `json:"-"`
	// Place is the node's place in the list that a survey asked.
	Place int `json:"-"`
	// Err is what a survey misses: ErrNoReply, ErrAbsent or ErrExpired (wrapped), *RefusedError or *PayloadError. Where the node told
	// what it is, less important things are missing.
	Err error `json:"-"`
}

// Told reports whether the node answered rpcutil#inventory.
func (n Node) Told() bool { return n.Version != "" }

// Machine is one autonomous agent.
type Machine struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"`
}

// Stats is what rpcutil#daemon_stats counts since the server started.
type Stats struct {
	// StartTime has whole seconds and is the node's clock.
	StartTime  time.Time
	ConfigFile string
	PID        int64
	// Total counts messages; Validated and Unvalidated those that passed and failed the security checks; Passed and
	// Filtered those that a filter let through or kept out.
	Total, Validated, Unvalidated, Passed, Filtered int64
	// Expired counts messages past their time to live, Replies and Events what was sent.
	Expired, Replies, Events int64
	Threads                  []string
}

type statsDocument struct {
	StartTime   time.Time `json:"start_time"`
	ConfigFile  string    `json:"configfile"`
	PID         int64     `json:"pid"`
	Total       int64     `json:"total"`
	Validated   int64     `json:"validated"`
	Unvalidated int64     `json:"unvalidated"`
	Passed      int64     `json:"passed"`
	Filtered    int64     `json:"filtered"`
	Expired     int64     `json:"ttlexpired"`
	Replies     int64     `json:"replies"`
	Events      int64     `json:"events"`
	Threads     []string  `json:"threads"`
}

// MarshalJSON writes the keys of rpcutil#daemon_stats, and start_time as RFC 3339 in UTC.
func (s Stats) MarshalJSON() ([]byte, error) {
	d := statsDocument(s)
	d.StartTime, d.Threads = d.StartTime.UTC(), notNil(d.Threads)
	return json.Marshal(d)
}

// MarshalJSON writes the document of `fleetctl inventory IDENTITY --json`: lists are never null, stats is null when
// the node did not answer.
func (n Node) MarshalJSON() ([]byte, error) {
	m, facts := n.members(), n.Facts
	m.AgentVersions, m.DataPlugins = nil, notNil(n.DataPlugins)
	if len(facts) == 0 {
		facts = json.RawMessage("{}")
	}
	return json.Marshal(struct {
		SchemaVersion int `json:"schema_version"`
		members
		Facts json.RawMessage `json:"facts"`
		Stats *Stats          `json:"stats"`
	}{schemaVersion, m, facts, n.Stats})
}

// members are the keys of a node that all documents share, in their order. Its lists are never null.
type members Node

func (n Node) members() members {
	n.Collectives, n.Agents, n.Classes, n.Machines = notNil(n.Collectives), notNil(n.Agents), notNil(n.Classes), notNil(n.Machines)
	return members(n)
}

// record is a node in documents about many: reports, JSON lines and snapshots.
type record struct {
	members
	StartTime     time.Time       `json:"start_time,omitzero"`
	UptimeSeconds *int64          `json:"uptime_seconds,omitempty"`
	Facts         json.RawMessage `json:"facts,omitempty"`
}

// Record is the node as documents about many write it, without its data plugins.
func (n Node) Record() ([]byte, error) { return json.Marshal(n.record()) }

func (n Node) record() record {
	r := record{members: n.members(), Facts: n.Facts}
	r.DataPlugins = nil
	if n.Stats != nil {
		r.StartTime, r.UptimeSeconds = n.Stats.StartTime.UTC(), new(int64(n.Uptime/time.Second))
	}
	return r
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
