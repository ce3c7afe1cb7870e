package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fleetctl/rpcclient"
)

// ErrNoReply reports that a node did not answer in time.
var ErrNoReply = errors.New("no reply")

// ErrAbsent reports that the broker knows no such node: it did not get the request. It is a kind of ErrNoReply, too.
var ErrAbsent error = absentError{}

type absentError struct{}

func (absentError) Error() string        { return "not connected" }
func (absentError) Is(target error) bool { return target == ErrNoReply }

// PayloadError is a reply that is not what its action promises.
type PayloadError struct {
	Node, Action string
	// Field is the key that is missing or odd; empty when the payload is no object at all.
	Field   string
	Problem string
}

func (e *PayloadError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("rpcutil#%s reply of %s: %s", e.Action, e.Node, e.Problem)
	}
	return fmt.Sprintf("rpcutil#%s reply of %s: field %q: %s", e.Action, e.Node, e.Field, e.Problem)
}

// RefusedError is a reply with a status other than OK.
type RefusedError struct {
	Node, Action string
	// Code is the RPC status code, Label its name, Message the node's text.
	Code           int
	Label, Message string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refused rpcutil#%s: %s (code %d, %s)", e.Node, e.Action, e.Message, e.Code, e.Label)
}

// fields reads one payload and keeps the first problem, so that a decoder reads as a list of what it expects.
type fields struct {
	node, action string
	members      []rpcclient.Member
	err          error
}

func readFields(node, action string, data json.RawMessage) *fields {
	f := &fields{node: node, action: action}
	var object bool
	if f.members, object = (rpcclient.Reply{Data: data}).Outputs(); !object {
		f.fail("", "not a JSON object")
	}
	return f
}

// member is the value of a field; nil where it is absent.
func (f *fields) member(field string) json.RawMessage {
	for _, m := range f.members {
		if m.Name == field {
			return m.Value
		}
	}
	return nil
}

func (f *fields) fail(field, problem string) {
	if f.err == nil {
		f.err = &PayloadError{Node: f.node, Action: f.action, Field: field, Problem: problem}
	}
}

// need decodes a field that every server sends; want describes what it must be. Only a list may be null: servers send
// null for an empty one.
func (f *fields) need(field, want string, into any) {
	if f.err == nil && f.member(field) == nil {
		f.fail(field, "missing")
	}
	if f.err == nil && want != textList && string(f.member(field)) == "null" {
		f.fail(field, "is null, want "+want)
	}
	f.read(field, want, into)
}

// read decodes a field that may be absent or null; into then keeps its value.
func (f *fields) read(field, want string, into any) {
	raw := f.member(field)
	if f.err != nil || raw == nil || quick(raw, into) {
		return
	}
	if err := json.Unmarshal(raw, into); err != nil {
		f.fail(field, "is "+kind(raw)+", want "+want)
	}
}

func kind(raw json.RawMessage) string {
	switch raw = bytes.TrimSpace(raw); raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "the number " + string(raw)
}

const (
	aString  = "a string"
	aBoolean = "a boolean"
	textList = "an array of strings"
	integer  = "an integer"
)

// decodeInventory reads rpcutil#inventory.
func decodeInventory(node string, data json.RawMessage) (Node, error) {
	n := Node{Identity: node}
	f := readFields(node, actionInventory, data)
	f.need("version", aString, &n.Version)
	f.need("main_collective", aString, &n.MainCollective)
	f.need("collectives", textList, &n.Collectives)
	f.need("agents", textList, &n.Agents)
	f.need("classes", textList, &n.Classes)
	f.read("data_plugins", textList, &n.DataPlugins)
	f.read("upgradable", aBoolean, &n.Upgradable)
	f.read("machines", "an array of objects with name, state and version", &n.Machines)
	facts := f.member("facts")
	if string(facts) == "null" {
		facts = nil
	}
	if len(facts) > 0 && facts[0] != '{' {
		f.fail("facts", "is "+kind(facts)+", want an object")
	}
	if f.err == nil && n.Version == "" {
		f.fail("version", "is empty")
	}
	if f.err != nil {
		return Node{}, f.err
	}
	n.Facts = facts
	return n, nil
}

// decodeStats reads rpcutil#daemon_stats.
func decodeStats(node string, data json.RawMessage) (Stats, error) {
	var s Stats
	var start int64
	f := readFields(node, actionStats, data)
	f.need("starttime", integer, &start)
	f.need("configfile", aString, &s.ConfigFile)
	f.need("pid", integer, &s.PID)
	f.need("total", integer, &s.Total)
	f.need("passed", integer, &s.Passed)
	f.need("filtered", integer, &s.Filtered)
	f.need("ttlexpired", integer, &s.Expired)
	f.need("replies", integer, &s.Replies)
	f.read("events", integer, &s.Events)
	f.read("validated", integer, &s.Validated)
	f.read("unvalidated", integer, &s.Unvalidated)
	f.read("threads", textList, &s.Threads)
	if f.err == nil && (start < 0 || start > maxUnix) {
		f.fail("starttime", fmt.Sprintf("%d is no time", start))
	}
	if f.err != nil {
		return Stats{}, f.err
	}
	s.StartTime = time.Unix(start, 0)
	return s, nil
}

// maxUnix is the last second that JSON can write as a time: the end of the year 9999.
const maxUnix = 253402300799

// decodeCollectives reads rpcutil#collective_info.
func decodeCollectives(node string, data json.RawMessage) ([]string, error) {
	var list []string
	f := readFields(node, actionCollectives, data)
	f.need("collectives", textList, &list)
	return list, f.err
}

// decodeFact reads rpcutil#get_fact: the value as text. A string is bare, anything else compact JSON, an absent fact
// "nil", as upstream reports it.
func decodeFact(node string, data json.RawMessage) (string, error) {
	f := readFields(node, actionFact, data)
	if f.err != nil {
		return "", f.err
	}
	raw := f.member("value")
	if len(raw) == 0 || string(raw) == "null" {
		return "nil", nil
	}
	if raw[0] == '"' {
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, raw)
	return compact.String(), err
}
