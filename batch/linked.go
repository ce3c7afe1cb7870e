package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ReadHeader reads the header of a run from its first record. It does not decode the plan, which may be large.
func ReadHeader(line []byte) (Header, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	for _, key := range []string{"plan", "header"} { // each in the object that the one before it names
		if err := skipTo(dec, key); err != nil {
			return Header{}, fmt.Errorf("decode the header of a run: %w", err)
		}
	}
	var h Header
	if err := dec.Decode(&h); err != nil {
		return Header{}, fmt.Errorf("decode the header of a run: %w", err)
	}
	return h, nil
}

// skipTo reads an object up to the value of a key.
func skipTo(dec *json.Decoder, key string) error {
	if open, err := dec.Token(); err != nil {
		return err
	} else if open != json.Delim('{') {
		return errors.New("it is not an object")
	}
	for dec.More() {
		found, err := dec.Token()
		if err != nil || found == key {
			return err
		}
		var skipped json.RawMessage
		if err := dec.Decode(&skipped); err != nil {
			return err
		}
	}
	return fmt.Errorf("it has no %q", key)
}

// MayReach reports whether a request of this run reached a node, or may have: requests that left nowhere or reached nothing
// do not count, nor do those of earlier runs of the chain. With live, which means that a process executes the run now, a node
// that the run may still send to counts, too.
func (p Progress) MayReach(node string, live bool) bool {
	at, ok := p.l.index[node]
	if !ok {
		return false
	}
	if live && p.l.mayBeSent(at) {
		return true
	}
	for i := p.l.rows[at].last; i > 0; i = p.l.attempts[i-1].prev {
		if a := &p.l.attempts[i-1]; a.send >= 0 && (a.reach.mayAct() || a.reach == fateRefused) {
			return true
		}
	}
	return false
}

// mayBeSent reports whether the node has no final state: a process that executes the run may send to it.
func (l *ledger) mayBeSent(at int32) bool {
	switch l.rows[at].state {
	case Planned, NotSent, Sending, Unknown:
		return true
	}
	return false
}

// Knows reports whether the plan of this run, a retry of another one, considers all that the other run sent to a node: what
// was sent there later, by a resume of the other run, is not known here. With live, which means that a process executes the
// other run now, it knows nothing of a node that the other run may still send to.
func (p Progress) Knows(other Progress, node string, live bool) bool {
	theirs, ok := other.l.index[node]
	if !ok {
		return true
	}
	if live && other.l.mayBeSent(theirs) {
		return false
	}
	i := other.l.ruling(theirs)
	if i == 0 || other.l.attempts[i-1].send < 0 || !other.l.attempts[i-1].reach.mayAct() {
		return true // it sent nothing that can act; what came before is in its own plan
	}
	ours, ok := p.l.index[node]
	if !ok {
		return false
	}
	if p.l.rows[ours].barred {
		return true // it is never sent to
	}
	sent := other.l.sends[other.l.attempts[i-1].send].at
	for k := p.l.rows[ours].last; k > 0; k = p.l.attempts[k-1].prev {
		if a := &p.l.attempts[k-1]; a.send < 0 && unixNano(p.l.begin.Plan.Doubts[-a.send-1].Sent) == sent {
			return true
		}
	}
	return false
}
