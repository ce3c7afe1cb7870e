package inventory

import (
	"encoding/json"
	"time"
)

// Record is one node in documents about many: reports, JSON lines and snapshots.
type Record struct {
	Identity       string            `json:"identity"`
	Version        string            `json:"version"`
	Upgradable     bool              `json:"upgradable"`
	MainCollective string            `json:"main_collective"`
	Collectives    []string          `json:"collectives"`
	Agents         []string          `json:"agents"`
	AgentVersions  map[string]string `json:"agent_versions,omitempty"`
	Classes        []string          `json:"classes"`
	Machines       []Machine         `json:"machines"`
	StartTime      time.Time         `json:"start_time,omitzero"`
	UptimeSeconds  *int64            `json:"uptime_seconds,omitempty"`
	TokenExpires   time.Time         `json:"token_expires,omitzero"`
	// Facts is the JSON object of the node's facts; nil where they are left out.
	Facts json.RawMessage `json:"facts,omitempty"`
}

// RecordOf is the record of a node that told what it is.
func RecordOf(a Answer) Record {
	n := a.Node
	r := Record{
		Identity: n.Identity, Version: n.Version, Upgradable: n.Upgradable, MainCollective: n.MainCollective,
		Collectives: notNil(n.Collectives), Agents: notNil(n.Agents), AgentVersions: a.AgentVersions,
		Classes: notNil(n.Classes), Machines: notNil(n.Machines), Facts: n.Facts, TokenExpires: n.TokenExpires,
	}
	if n.Stats != nil {
		r.StartTime = n.Stats.StartTime.UTC()
		r.UptimeSeconds = new(int64(a.Uptime / time.Second))
	}
	return r
}
