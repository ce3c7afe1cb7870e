package rpcclient

import (
	"cmp"
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
	Forged                       // a notice that a node is absent, which the broker did not send
	kinds
)

var kindNames = [kinds]string{"unset", "malformed", "bad hash", "bad signature", "wrong request", "stranger", "duplicate", "forged absence"}

// String is total.
func (k Kind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return kindNames[k]
}

const (
	// maxNamed bounds the senders that are counted by name: a flood of forgeries must not fill the memory.
	maxNamed = 4000
	// maxName is the longest name that is kept, in bytes; host names end at 253.
	maxName = 255
)

// Strays counts what came in and was not believed, by kind and by the sender that it claimed. A sender's name is only as
// good as the message that carried it.
type Strays struct {
	Count map[Kind]int
	// Others counts the strays whose sender has no count of its own: it claimed no usable name, or there were too many.
	Others int

	senders map[claim]int
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

// SenderCount is how many strays claimed a sender.
type SenderCount struct {
	Node   string
	Strays int
}

// Senders lists the claimed senders, the one with the most strays first.
func (s Strays) Senders() []SenderCount {
	counts := map[string]int{}
	for c, n := range s.senders {
		counts[c.node] += n
	}
	list := make([]SenderCount, 0, len(counts))
	for node, n := range counts {
		list = append(list, SenderCount{node, n})
	}
	slices.SortFunc(list, func(a, b SenderCount) int {
		return cmp.Or(cmp.Compare(b.Strays, a.Strays), cmp.Compare(a.Node, b.Node))
	})
	return list
}

// Add counts a stray of a kind, for the sender that it claims.
func (s *Strays) Add(k Kind, node string) {
	s.count(k)
	s.name(k, node)
}

func (s *Strays) count(k Kind) {
	if s.Count == nil {
		s.Count, s.senders = map[Kind]int{}, map[claim]int{}
	}
	s.Count[k]++
}

// name counts a stray, which was counted by its kind before, for its sender.
func (s *Strays) name(k Kind, node string) {
	c := claim{k, node}
	if _, counted := s.senders[c]; !counted && (len(s.senders) >= maxNamed || len(node) > maxName || choria.CheckIdentity(node) != nil) {
		s.Others++
		return
	}
	s.senders[c]++
}

func (s Strays) clone() Strays {
	return Strays{Count: maps.Clone(s.Count), Others: s.Others, senders: maps.Clone(s.senders)}
}

// strayError marks a message that is not believed with its kind.
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
