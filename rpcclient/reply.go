package rpcclient

import (
	"encoding/json"

	"fleetctl/internal/choria"
)

// OK reports whether the node answered with RPC status 0: it did what was asked, or accepted to do it
// (docs/protocol.md, bodies).
func (r Reply) OK() bool { return r.Code == choria.OK }

// Member is one output of a reply: its name, and its value as it came.
type Member = choria.Member

// Outputs are the outputs in Data, sorted by name; false when Data is no object. They share memory with Data.
func (r Reply) Outputs() ([]Member, bool) { return choria.Members(r.Data) }

// Text is the value of an output that is a string, false for another one.
func Text(value json.RawMessage) (string, bool) { return choria.Text(value) }
