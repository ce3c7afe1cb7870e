package rpcclient

import (
	"errors"
	"maps"
	"slices"

	"fleetctl/internal/choria"
)

// Kind says what was wrong with a message that was not believed.
type Kind uint8

// The kinds of strays. The zero value is unset.
const (
	Malformed    Kind = iota + 1 // a layer that does not decode
	BadHash                      // the hash is not that of the reply
	BadSignature                 // unsigned, wrongly signed, or signed by another server than it claims
	WrongRequest                 // answers a request that this session did not send
	Stranger                     // a node that was not asked
	Duplicate                    // a node that had answered already
	kinds
)

var kindNames = [kinds]string{"unset", "malformed", "bad hash", "bad signature", "wrong request", "stranger", "duplicate"}

// String is total.
func (k Kind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return kindNames[k]
}

// maxNamed bounds the names kept of one kind: a flood of forgeries must not fill the memory.
const maxNamed = 1000

// Strays counts what came in and was not believed, and names the senders it claimed. A sender's name is only as
// good as the message that carried it.
type Strays struct {
	Count map[Kind]int
	Nodes map[Kind][]string
}

// Total is the number of strays of every kind.
func (s Strays) Total() int {
	n := 0
	for _, c := range s.Count {
		n += c
	}
	return n
}

// Names lists the distinct senders of one kind, sorted; at most a thousand are kept.
func (s Strays) Names(k Kind) []string {
	return slices.Compact(slices.Sorted(slices.Values(s.Nodes[k])))
}

func (s *Strays) add(k Kind, node string) {
	if s.Count == nil {
		s.Count, s.Nodes = map[Kind]int{}, map[Kind][]string{}
	}
	s.Count[k]++
	if node != "" && len(s.Nodes[k]) < maxNamed {
		s.Nodes[k] = append(s.Nodes[k], node)
	}
}

func (s Strays) clone() Strays {
	nodes := make(map[Kind][]string, len(s.Nodes))
	for k, v := range s.Nodes {
		nodes[k] = slices.Clone(v)
	}
	return Strays{Count: maps.Clone(s.Count), Nodes: nodes}
}

// signatureError marks a reply whose signature was missing or wrong.
type signatureError struct{ err error }

func (e *signatureError) Error() string { return e.err.Error() }
func (e *signatureError) Unwrap() error { return e.err }

func kindOf(err error) Kind {
	if _, ok := errors.AsType[*signatureError](err); ok {
		return BadSignature
	}
	if errors.Is(err, choria.ErrHash) {
		return BadHash
	}
	return Malformed
}
