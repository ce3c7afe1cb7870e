package batch

import (
	"slices"
	"time"
)

// The part of the machine that orders the batches which wait to be sent.

// planAnew plans nodes that nothing reached: in a window they are back in the pool, else they become a batch again, as
// canaries do in any case. Such batches were due before the others, unless their nodes go last.
func (m *machine) planAnew(at time.Time, names []string, reason string) {
	var pool, front, tail []string
	for _, name := range names {
		switch row := m.l.index[name]; {
		case m.win != nil && !m.l.isCanary(row):
			pool = append(pool, name)
		case m.tail[row]:
			tail = append(tail, name)
		default:
			front = append(front, name)
		}
	}
	for group := range slices.Chunk(pool, groupSize) {
		m.record(Record{Kind: KindRequeued, Time: at, Nodes: group, Reason: reason})
	}
	for _, nodes := range [][]string{front, tail} {
		if len(nodes) > 0 {
			m.record(Record{Kind: KindRequeued, Time: at, Batch: len(m.l.batches) + 1, Nodes: nodes, Reason: reason})
			m.enqueue(len(m.l.batches))
		}
	}
}

// enqueue puts a batch that was planned anew into the queue. While the run recovers, queuePlanned lists it.
func (m *machine) enqueue(number int) {
	switch {
	case m.phase == phaseRecovering:
	case m.goesLast(number):
		m.queue = append(m.queue, number)
	default:
		m.queue = append([]int{number}, m.queue...)
	}
}

// goesLast reports whether nodes of a batch go last.
func (m *machine) goesLast(number int) bool {
	return slices.ContainsFunc(m.l.batches[number-1].rows, func(at int32) bool { return m.tail[at] })
}

// queuePlanned lists the batches to be sent: requeued ones first, they were due before the others; those whose nodes go
// last at the end.
func (m *machine) queuePlanned() {
	planned := len(m.l.begin.Plan.Batches)
	var last []int
	for _, extra := range []bool{true, false} {
		for i := range m.l.batches {
			b := &m.l.batches[i]
			switch {
			case (b.Number > planned) != extra, b.counts.Of(Planned) == 0:
			case m.goesLast(b.Number):
				last = append(last, b.Number)
			default:
				m.queue = append(m.queue, b.Number)
			}
		}
	}
	m.queue = append(m.queue, last...)
}
