package choria

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// StatusCode is an agent's result of an action (docs/protocol.md, RPC
// bodies). Unknown codes are kept as they are.
type StatusCode int

// The status codes of agents.
const (
	OK            StatusCode = iota // the action succeeded
	Aborted                         // refused, denied or failed
	UnknownAction                   // the agent has no such action
	MissingData                     // an input is missing
	InvalidData                     // an input is not acceptable
	UnknownError                    // anything else
)

// Absent is the code of a reply that no server sent: the node is not connected, and the request reached nothing.
// No server can send it: DecodeRPCReply refuses negative codes.
const Absent StatusCode = -1

// String returns the label that operators know for a status; OK has none, "".
func (c StatusCode) String() string {
	switch c {
	case OK:
		return ""
	case Aborted:
		return "Request Aborted"
	case UnknownAction:
		return "Unknown Action"
	case MissingData:
		return "Missing Request Data"
	case InvalidData:
		return "Invalid Request Data"
	case Absent:
		return "Not Connected"
	default:
		return "Unknown Request Status"
	}
}

// RPCRequest is the body of a request to an RPC agent.
type RPCRequest struct {
	Agent  string          `json:"agent"`
	Action string          `json:"action"`
	Data   json.RawMessage `json:"data"` // inputs, an object
}

// RPCReply is the body of a reply of an RPC agent.
type RPCReply struct {
	Action     string          `json:"action"`
	StatusCode StatusCode      `json:"statuscode"`
	StatusMsg  string          `json:"statusmsg"`
	Data       json.RawMessage `json:"data"` // outputs; mostly an object, but agents also send the string "{}"
}

var noData = json.RawMessage("{}")

// EncodeRPCRequest returns the body as JSON, data in compact form. No data is
// an empty object.
func EncodeRPCRequest(r RPCRequest) ([]byte, error) {
	switch {
	case r.Agent == "":
		return nil, fmt.Errorf("RPC request: agent: is empty")
	case r.Action == "":
		return nil, fmt.Errorf("RPC request: action: is empty")
	case !encodable(r.Agent, r.Action):
		return nil, fmt.Errorf("RPC request: not UTF-8")
	}
	if len(r.Data) == 0 {
		r.Data = noData
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("RPC request: data: is not JSON")
	}
	return data, nil
}

// DecodeRPCRequest reads a body as compiled agents do: agent and action may be
// empty, data may be any JSON, and is {} when it is missing or null.
func DecodeRPCRequest(body []byte) (RPCRequest, error) {
	fields := [...]field{{key: "agent"}, {key: "action"}, {key: "data"}}
	r := reader{layer: "RPC request"}
	r.scan(body, fields[:])
	req := RPCRequest{Agent: r.text(&fields[0]), Action: r.text(&fields[1]), Data: r.any(&fields[2])}
	if req.Data == nil {
		req.Data = bytes.Clone(noData)
	}
	if r.err != nil {
		return RPCRequest{}, r.err
	}
	return req, nil
}

// EncodeRPCReply returns the body as JSON, data in compact form. No data is an
// empty object.
func EncodeRPCReply(r RPCReply) ([]byte, error) {
	if !encodable(r.Action, r.StatusMsg) {
		return nil, fmt.Errorf("RPC reply: not UTF-8")
	}
	if len(r.Data) == 0 {
		r.Data = noData
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("RPC reply: data: is not JSON")
	}
	return data, nil
}

// DecodeRPCReply reads a body. A status code must be there and not be negative,
// for a damaged reply must not read as success, nor as a node that is absent;
// what else is missing is empty, and data that is missing or null is nil. A long
// status message is cut to maxStatus, with a mark.
// With an Opener the body is overwritten.
func DecodeRPCReply(body []byte, o ...*Opener) (RPCReply, error) {
	return openers(o).reader().rpcReply(body)
}

func (r *reader) rpcReply(body []byte) (RPCReply, error) {
	fields := [...]field{{key: "action"}, {key: "statuscode"}, {key: "statusmsg"}, {key: "data"}}
	r.layer = "RPC reply"
	r.scan(body, fields[:])
	r.must(&fields[1])
	reply := RPCReply{
		Action: r.name(&fields[0]), StatusCode: StatusCode(r.integer(&fields[1])),
		StatusMsg: r.copy(cut(r.value(&fields[2]))), Data: r.any(&fields[3]),
	}
	if r.err == nil && reply.StatusCode < 0 {
		r.fail(&fields[1], "is negative")
	}
	if r.err != nil {
		return RPCReply{}, r.err
	}
	return reply, nil
}

// any returns a value as it stands in the document. Absent and null are nil.
func (r *reader) any(f *field) json.RawMessage {
	switch {
	case r.err != nil || f.kind == absent || f.kind == null:
		return nil
	case f.kind == text:
		// raw has lost its quotes; they stand on either side of it
		return json.RawMessage(`"` + string(f.raw) + `"`)
	}
	return json.RawMessage(f.raw)
}

// DiscoveryPing is the payload of a discovery request. It is the base64 of
// "ping", because those four letters are base64 themselves and servers would
// undo them (docs/protocol.md, payload encoding).
func DiscoveryPing() []byte { return []byte("cGluZw==") }

// IsDiscoveryPing reports whether a body (see Request.Body) makes the discovery
// agent answer: any that contains "ping" does.
func IsDiscoveryPing(body []byte) bool { return bytes.Contains(body, []byte("ping")) }

// DiscoveryPong is the payload of a discovery reply.
func DiscoveryPong() []byte { return []byte("pong") }

// Integer returns a whole number of a reply's data, found by its key; false where there is none.
func Integer(data []byte, key string) (int64, bool) {
	fields := [...]field{{key: key}}
	r := reader{layer: "RPC reply"}
	r.scan(data, fields[:])
	n := r.integer(&fields[0])
	return n, r.err == nil && fields[0].kind == number
}
