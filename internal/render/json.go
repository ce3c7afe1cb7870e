package render

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/plain"
	"fleetctl/rpcclient"
)

// document indentation of `choria req --json`.
const documentIndent = "   "

type jsonReply struct {
	Sender     string          `json:"sender"`
	Action     string          `json:"action"`
	StatusCode int             `json:"statuscode"`
	StatusMsg  string          `json:"statusmsg"`
	Data       json.RawMessage `json:"data"`
	Time       time.Time       `json:"time_utc"`
}

// lineReply is the same reply in the order of JSON lines.
type lineReply struct {
	Action     string          `json:"action"`
	StatusCode int             `json:"statuscode"`
	StatusMsg  string          `json:"statusmsg"`
	Data       json.RawMessage `json:"data"`
	Sender     string          `json:"sender"`
	Time       time.Time       `json:"time_utc"`
}

// replyDocument is a reply as `choria req --json` writes it.
func replyDocument(r *rpcclient.Reply) jsonReply {
	return jsonReply{Sender: r.Node, Action: r.Action, StatusCode: int(r.Code), StatusMsg: r.Message,
		Data: validJSON(r.Data), Time: r.Time.UTC()}
}

type jsonStats struct {
	RequestID           string        `json:"requestid"`
	NoResponses         []string      `json:"no_responses"`
	UnexpectedResponses []string      `json:"unexpected_responses"`
	Discovered          int           `json:"discovered"`
	Failed              int           `json:"failed"`
	OK                  int           `json:"ok"`
	Responses           int           `json:"responses"`
	PublishTime         time.Duration `json:"publish_time"`
	RequestTime         time.Duration `json:"request_time"`
	DiscoverTime        time.Duration `json:"discover_time"`
	Start               time.Time     `json:"start_time_utc"`
}

// MarshalJSON writes the statistics as `choria req` does: times are nanoseconds, lists are never null.
func (s Stats) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonStats{RequestID: s.RequestID, NoResponses: notNil(s.NoResponses),
		UnexpectedResponses: notNil(s.UnexpectedResponses), Discovered: s.Discovered, Failed: s.Failed, OK: s.OK,
		Responses: s.Responses, PublishTime: s.PublishTime, RequestTime: s.RequestTime, DiscoverTime: s.DiscoverTime,
		Start: s.Start.UTC()})
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// validJSON is data, null for none, and a JSON string of anything that is not JSON: one odd reply must not lose the
// others.
func validJSON(data json.RawMessage) json.RawMessage {
	if len(bytes.TrimSpace(data)) == 0 {
		return json.RawMessage("null")
	}
	if json.Valid(data) {
		return data
	}
	quoted, _ := json.Marshal(string(data)) // a string always marshals
	return quoted
}

func summaries(data json.RawMessage) json.RawMessage {
	if len(data) == 0 {
		return json.RawMessage("{}")
	}
	return data
}

// JSON writes the document of `choria req --json`: the same keys in the same order, then schema_version and, when there
// is one, the run. Replies are written one after another: a large fleet costs no second copy.
func JSON(w io.Writer, r Result) error {
	buf := bufio.NewWriter(w)
	d := document{w: buf}
	d.print("{\n")
	d.member("agent", r.Agent)
	d.member("action", r.Action)
	d.print(documentIndent + `"replies": [`)
	for i, reply := range r.Replies {
		if i > 0 {
			d.print(",")
		}
		d.print("\n" + documentIndent + documentIndent)
		d.value(replyDocument(reply), documentIndent+documentIndent)
	}
	if len(r.Replies) > 0 {
		d.print("\n" + documentIndent)
	}
	d.print("],\n")
	d.member("request_stats", r.Stats)
	d.member("summaries", summaries(r.Summaries))
	d.print(documentIndent + `"schema_version": `)
	d.value(SchemaVersion, documentIndent)
	if r.Run != nil {
		d.print(",\n" + documentIndent + `"run": `)
		d.value(r.Run, documentIndent)
	}
	d.print("\n}\n")
	if d.err != nil {
		return d.err
	}
	return buf.Flush()
}

// document writes until the first error.
type document struct {
	w   *bufio.Writer
	err error
}

func (d *document) print(s string) {
	if d.err == nil {
		_, d.err = d.w.WriteString(s)
	}
}

func (d *document) member(name string, v any) {
	d.print(documentIndent + `"` + name + `": `)
	d.value(v, documentIndent)
	d.print(",\n")
}

func (d *document) value(v any, prefix string) {
	if d.err != nil {
		return
	}
	text, err := json.MarshalIndent(v, prefix, documentIndent)
	if err != nil {
		d.err = fmt.Errorf("render %T as JSON: %w", v, err)
		return
	}
	d.print(string(plain.JSON(text)))
}

// IndentedJSON writes any value as upstream's smaller documents are written: two spaces, one final newline.
func IndentedJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", indentStep)
	if err != nil {
		return fmt.Errorf("render %T as JSON: %w", v, err)
	}
	_, err = w.Write(append(plain.JSON(text), '\n'))
	return err
}

// Lines writes JSON lines: one object a line, the key k says its kind (docs/protocol.md, JSON lines). Each line is one
// write.
type Lines struct{ w io.Writer }

// NewLines returns a writer of JSON lines on w, which it does not own.
func NewLines(w io.Writer) Lines { return Lines{w: w} }

// line holds upstream's keys, then ours; empty ones are left out.
type line struct {
	Kind             string          `json:"k"`
	ProtocolReply    json.RawMessage `json:"pr,omitempty"`
	RPCReply         *lineReply      `json:"rr,omitempty"`
	Aggregates       json.RawMessage `json:"agg,omitempty"`
	Stats            *Stats          `json:"stat,omitempty"`
	Discovered       int             `json:"count,omitempty"`
	DiscoverySeconds float64         `json:"dt,omitempty"`
	DiscoveryMethod  string          `json:"dm,omitempty"`
	Error            string          `json:"err,omitempty"`
	Run              any             `json:"run,omitempty"`
	Batch            any             `json:"batch,omitempty"`
	Gate             any             `json:"gate,omitempty"`
	Node             any             `json:"node,omitempty"`
	Proof            *Proof          `json:"proof,omitempty"`
	Plan             any             `json:"plan,omitempty"`
	Group            any             `json:"group,omitempty"`
	Fleet            any             `json:"fleet,omitempty"`
}

func (l Lines) write(v line) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("render a %s line: %w", v.Kind, err)
	}
	_, err = l.w.Write(append(plain.JSON(text), '\n'))
	return err
}

// Discovery reports that discovery begins.
func (l Lines) Discovery(method string) error {
	return l.write(line{Kind: "discovery", DiscoveryMethod: method})
}

// Discovered reports how many nodes are targets, after limits, and how long it took to find them.
func (l Lines) Discovered(count int, took time.Duration, method string) error {
	return l.write(line{Kind: "discovery", Discovered: count, DiscoverySeconds: took.Seconds(), DiscoveryMethod: method})
}

// Result writes one reply, with the protocol's own document when the reply has it.
func (l Lines) Result(r *rpcclient.Reply) error {
	v := line{Kind: "result", RPCReply: &lineReply{Action: r.Action, StatusCode: int(r.Code), StatusMsg: r.Message,
		Data: validJSON(r.Data), Sender: r.Node, Time: r.Time.UTC()}}
	if len(r.Protocol) > 0 {
		v.ProtocolReply = validJSON(r.Protocol)
	}
	return l.write(v)
}

// Summaries writes the aggregates; nil is the empty object.
func (l Lines) Summaries(data json.RawMessage) error {
	return l.write(line{Kind: "summaries", Aggregates: summaries(data)})
}

// Stats writes the statistics of the request.
func (l Lines) Stats(s Stats) error { return l.write(line{Kind: "stats", Stats: &s}) }

// Error writes an error as a line. The exit code is the caller's.
func (l Lines) Error(err error) error { return l.write(line{Kind: "error", Error: err.Error()}) }

// Run writes the account of a run, as the key run.
func (l Lines) Run(v any) error { return l.write(line{Kind: "run", Run: v}) }

// Batch writes the result of one batch, as the key batch.
func (l Lines) Batch(v any) error { return l.write(line{Kind: "batch", Batch: v}) }

// Gate writes a round of the gates, as the key gate.
func (l Lines) Gate(v any) error { return l.write(line{Kind: "gate", Gate: v}) }

// Plan writes what a run would do, as the key plan.
func (l Lines) Plan(v any) error { return l.write(line{Kind: "plan", Plan: v}) }

// Node writes the result of one node, as the key node.
func (l Lines) Node(v any) error { return l.write(line{Kind: "node", Node: v}) }

// Proof is what was found out about a node, and the state that the node is in by now.
type Proof struct {
	Identity string        `json:"identity"`
	Found    batch.Finding `json:"found"`
	State    batch.State   `json:"state"`
	Time     time.Time     `json:"time,omitzero"`
	Reason   string        `json:"reason,omitempty"`
}

// Proof writes a proof, as the key proof.
func (l Lines) Proof(p Proof) error { return l.write(line{Kind: "proof", Proof: &p}) }

// Group writes how many nodes share a value, as the key group.
func (l Lines) Group(v any) error { return l.write(line{Kind: "group", Group: v}) }

// fleet writes the counts of a fleet, as the key fleet.
func (l Lines) fleet(v any) error { return l.write(line{Kind: "fleet", Fleet: v}) }
