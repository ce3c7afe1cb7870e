package batch

import "time"

// The part of the runner that keeps records. A record is queued, then durable, then shown. What must not come before it is
// durable flushes first: sending, and asking the operator.

const (
	// maxGroup is how many events are handled, and how many replies and proofs wait, before their records are kept.
	maxGroup = 512
	// groupTime is how long replies and proofs wait for others to be kept with them: each group is one wait for the disk.
	// Nothing else waits for them, because every other record is kept at once, and they with it. A kill loses what waits,
	// and a resume looks at those nodes: a reply was neither shown nor acted upon before it was durable.
	groupTime = 200 * time.Millisecond
)

// keep queues a record. Records of replies and of proofs grow to a group.
func (x *execution) keep(r Record) {
	if len(x.pending) == 0 {
		x.keepBy = time.Now().Add(groupTime)
	}
	x.waiting += len(r.Outcomes) + len(r.Proofs)
	switch r.Kind {
	case KindOutcomes, KindProofs, KindProbed:
	default:
		x.urgent = true
	}
	if n := len(x.pending); n > 0 {
		last := &x.pending[n-1]
		if (r.Kind == KindProofs || r.Kind == KindProbed) && last.Kind == r.Kind && len(last.Proofs) < groupSize {
			last.Proofs = append(last.Proofs, r.Proofs...)
			return
		}
	}
	x.pending = append(x.pending, r)
}

// roomSize is for how many replies memory is taken at once: their groups lie in it one behind the other.
const roomSize = 256

// keepOutcome is keep for the record of a reply.
func (x *execution) keepOutcome(o *Outcome) {
	fresh := len(x.room) == cap(x.room)
	if fresh {
		x.room = make([]Outcome, 0, min(roomSize, len(x.m.l.rows)))
	}
	x.room = append(x.room, *o)
	end := len(x.room)
	if n := len(x.pending); n > 0 && !fresh && x.pending[n-1].Kind == KindOutcomes {
		last := &x.pending[n-1]
		last.Outcomes = x.room[end-1-len(last.Outcomes) : end : end]
		x.waiting++
		return
	}
	x.keep(Record{Kind: KindOutcomes, Time: o.Time, Outcomes: x.room[end-1 : end : end]})
}

// settle makes the queued records durable, unless they may wait for more of their kind. When it returns false the run is
// over.
func (x *execution) settle() bool {
	if x.Journal != nil && !x.urgent && x.waiting < maxGroup && time.Now().Before(x.keepBy) {
		return x.failed == nil
	}
	return x.flush()
}

// flush makes the queued records durable, then shows them. When it returns
// false the run is over.
func (x *execution) flush() bool {
	if x.failed != nil {
		return false
	}
	if len(x.pending) == 0 {
		return true
	}
	if x.Journal != nil {
		if err := x.write(); err != nil {
			x.failed = err
			x.pending = nil
			x.do(x.m.fail(journalEvent{time.Now(), err}))
			x.ended = true
			return false
		}
	}
	x.m.l.commit()
	if x.Observer != nil {
		for _, r := range x.pending {
			x.Observer.Observe(r)
		}
	}
	clear(x.pending)
	x.pending, x.waiting, x.urgent = x.pending[:0], 0, false
	return true
}

func (x *execution) write() error {
	lines := make([][]byte, len(x.pending))
	for i, r := range x.pending {
		line, err := encodeRecord(r)
		if err != nil {
			return err
		}
		lines[i] = line
	}
	return x.Journal.Append(lines...)
}
