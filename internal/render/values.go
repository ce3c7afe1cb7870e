package render

import (
	"encoding/json"
	"time"

	"fleetctl/batch"
	"fleetctl/rpcclient"
)

// SchemaVersion is the version of our JSON documents; they only ever grow.
const SchemaVersion = 1

// Stats counts a request, as the `request_stats` of `choria req` does (docs/protocol.md, JSON document).
type Stats struct {
	RequestID                              string
	NoResponses, UnexpectedResponses       []string
	Discovered, Failed, OK, Responses      int
	PublishTime, RequestTime, DiscoverTime time.Duration
	Start                                  time.Time
}

// Output is what the agent's document says of one output.
type Output struct {
	// DisplayAs is the label; empty means the output's own name.
	DisplayAs string
	// Defaulted reports that the document has a default: text shows the label even when a reply lacks the value.
	Defaulted bool
}

// Result is a finished request.
type Result struct {
	Agent, Action string
	Replies       []*rpcclient.Reply
	Stats         Stats
	// Summaries is the JSON object of aggregates; nil is the empty object.
	Summaries json.RawMessage
	// Run is the state of the run, marshaled as the last key; nil leaves the key out.
	Run any
}

// Group is a set of nodes that share one cause.
type Group struct {
	Cause string
	Nodes []string
	Good  bool         // no failure
	Like  batch.Result // the first of the nodes of a run
}
