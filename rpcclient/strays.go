package rpcclient

import (
	"errors"
	"maps"
	"slices"

	"fleetctl/internal/choria"
)

// Kind is why a message was rejected.
type Kind uint8

// The kinds of strays. The zero value is unset.
const (
	Malformed    Kind = iota + 1 // a layer that does not decode
	BadHash                      // the hash is not that of the reply
	BadSignature                 // unsigned, wrongly signed, or signed by another server than it claims
	WrongRequest                 // answers a request that this session did not send
	Stranger                     // a node that was not asked
	Duplicate                    // a node that had answered already
	Forged                       // a notice that a node is absent, which the broker did not send
	kinds
)

var kindNames = [kinds]string{"unset", "malformed", "bad hash", "bad signature", "wrong request", "stranger", "duplicate", "forged absence"}

// String returns the name; it works for every value.
func (k Kind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return kindNames[k]
}

const (
	// maxNamed bounds the senders that are kept by name: a flood of forgeries must not fill the memory.
	maxNamed = 4000
	// maxName is the longest name that is kept, in bytes; host names end at 253.
	maxName = 255
)

// Strays counts the messages that came in and were rejected, by kind, and keeps the senders that they claimed. A claimed
// name is only as trustworthy as the message that carried it.
type Strays struct {
	Count map[Kind]int

	senders map[claim]bool
}

// claim is a kind of stray and the sender that it claims.
type claim struct {
	kind Kind
	node string
}

// Total is the number of strays of every kind.
func (s Strays) Total() int {
	n := 0
	for _, c := range s.Count {
		n += c
	}
	return n
}

// Names lists the distinct senders of one kind, sorted; at most some thousand are kept.
func (s Strays) Names(k Kind) []string {
	var names []string
	for c := range s.senders {
		if c.kind == k {
			names = append(names, c.node)
		}
	}
	slices.Sort(names)
	return names
}

// Add counts a stray of a kind, and keeps the sender that it claims.
func (s *Strays) Add(k Kind, node string) {
	s.count(k)
	s.name(k, node)
}

func (s *Strays) count(k Kind) {
	if s.Count == nil {
		s.Count, s.senders = map[Kind]int{}, map[claim]bool{}
	}
	s.Count[k]++
}

// name keeps the sender of a stray that count has counted. Beyond maxNamed senders, and without a usable name, it keeps none.
func (s *Strays) name(k Kind, node string) {
	if len(s.senders) < maxNamed && len(node) <= maxName && choria.CheckIdentity(node) == nil {
		s.senders[claim{k, node}] = true
	}
}

func (s Strays) clone() Strays {
	return Strays{Count: maps.Clone(s.Count), senders: maps.Clone(s.senders)}
}

// strayError marks a rejected message with its kind.
type strayError Kind

func (e strayError) Error() string { return Kind(e).String() }

func kindOf(err error) Kind {
	if kind, ok := errors.AsType[strayError](err); ok {
		return Kind(kind)
	}
	if errors.Is(err, choria.ErrHash) {
		return BadHash
	}
	return Malformed
}
