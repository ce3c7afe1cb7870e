package inventory

import (
	"encoding/json"
	"time"
)

// SchemaVersion is the version of the documents of this package; they only ever grow.
const SchemaVersion = 1

// Node is one node, as it described itself.
type Node struct {
	Identity string
	// Version is the server's, such as 0.29.4.
	Version string
	// Upgradable says that the server may upgrade itself during provisioning (docs/protocol.md, upgradable).
	Upgradable     bool
	MainCollective string
	Collectives    []string
	Agents         []string
	Classes        []string
	DataPlugins    []string
	Machines       []Machine
	// Facts is the JSON object of the node's facts.
	Facts json.RawMessage
	// Stats is nil when the node told what it is and not how it fares.
	Stats *Stats
	// TokenExpires is when the server's token ends, as its reply showed it (protocol v2); zero where it showed none.
	TokenExpires time.Time
}

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
// the node did not tell.
func (n Node) MarshalJSON() ([]byte, error) {
	facts := n.Facts
	if len(facts) == 0 {
		facts = json.RawMessage("{}")
	}
	return json.Marshal(struct {
		SchemaVersion  int             `json:"schema_version"`
		Identity       string          `json:"identity"`
		Version        string          `json:"version"`
		Upgradable     bool            `json:"upgradable"`
		MainCollective string          `json:"main_collective"`
		Collectives    []string        `json:"collectives"`
		Agents         []string        `json:"agents"`
		Classes        []string        `json:"classes"`
		DataPlugins    []string        `json:"data_plugins"`
		Machines       []Machine       `json:"machines"`
		Facts          json.RawMessage `json:"facts"`
		Stats          *Stats          `json:"stats"`
		TokenExpires   time.Time       `json:"token_expires,omitzero"`
	}{SchemaVersion, n.Identity, n.Version, n.Upgradable, n.MainCollective, notNil(n.Collectives), notNil(n.Agents),
		notNil(n.Classes), notNil(n.DataPlugins), notNil(n.Machines), facts, n.Stats, n.TokenExpires.UTC()})
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
