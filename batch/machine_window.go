package batch

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// The part of the machine that knows the window: which nodes start when, and what
// their states mean for their slots.

const (
	// gatherTime is how long freed slots are gathered at most, and gatherShare the
	// share of the window that is enough, so that one signature serves several nodes.
	gatherTime  = 250 * time.Millisecond
	gatherShare = 20
	// silentShare is the share of the window that silent nodes have to hold before the
	// operator hears of it.
	silentShare = 4
)

// openWindow counts what earlier processes left in flight: nodes that wait for proof,
// are silent, or are going to be probed.
func (m *machine) openWindow(at time.Time, elapsed func(since, now time.Time) time.Duration) {
	w, hold := m.win, m.l.begin.Pace.SilentHold
	for i := range m.l.rows {
		row, r := int32(i), &m.l.rows[i]
		switch {
		case r.batch == 0 && m.l.sendable(row):
			w.add(row)
		case r.state == Accepted && m.proved:
			w.keep(row, slot{})
		case !m.l.reached(row):
		case r.state == NoReply:
			m.keepFor(at, row, slot{since: at, length: hold - elapsed(m.l.batches[r.batch-1].replies, at), silent: true})
		case r.state == Unknown, r.state == Planned: // when its request left is not known for certain
			m.keepFor(at, row, slot{since: at, length: hold, silent: true})
		}
	}
}

// keepFor gives a node a slot for a time.
func (m *machine) keepFor(at time.Time, row int32, s slot) {
	w := m.win
	if s.length -= max(0, Shortest(s.since, at)); s.length <= 0 {
		w.free(row)
		return
	}
	s.since = at
	w.keep(row, s)
	if over := at.Add(s.length); w.timed.IsZero() || over.Before(w.timed) {
		w.timed = over
		m.emit(timerCmd{timerSlot, 0, over})
	}
}

// freeSlots ends the slots whose time is over.
func (m *machine) freeSlots(at time.Time) {
	w := m.win
	if w == nil || w.timed.IsZero() || at.Before(w.timed) {
		return
	}
	w.timed = time.Time{}
	for _, row := range slices.Sorted(maps.Keys(w.slots)) {
		if s := w.slots[row]; s.length > 0 {
			m.keepFor(at, row, s)
		}
	}
}

// followSlots lets the slots follow what changed.
func (m *machine) followSlots(at time.Time) {
	if m.win == nil {
		return
	}
	for _, row := range m.l.touched {
		m.followSlot(at, row)
	}
	m.l.touched = m.l.touched[:0]
}

// followSlot is what the state of a node means for its slot.
func (m *machine) followSlot(at time.Time, row int32) {
	w, r := m.win, &m.l.rows[row]
	s, had := w.slots[row]
	if r.state == Planned {
		switch {
		case w.place[row] == placeChosen, m.l.reached(row): // the latter is being probed
		case r.batch == 0 && m.l.sendable(row):
			if w.free(row); w.place[row] == placeNone {
				w.add(row)
			}
		default:
			w.remove(row)
			w.free(row)
		}
		return
	}
	w.remove(row)
	w.unchoose(row)
	switch {
	case r.state == Sending, r.state == Accepted && m.proved && !r.waived:
		w.keep(row, slot{})
	case r.state == NoReply && had && !s.silent:
		since := at
		if f := m.flight(int(r.batch)); f != nil {
			since = f.sent
		}
		m.keepFor(at, row, slot{since: since, length: m.l.begin.Pace.SilentHold, silent: true})
	case r.state == NoReply, r.state == Unknown && m.l.reached(row): // for the rest of its time
	case had && r.state.Succeeded(m.proved):
		if s.length == 0 || s.silent { // else it rests already
			m.keepFor(at, row, slot{since: at, length: m.l.begin.Pace.Sleep})
		}
	default:
		w.free(row)
	}
}

// size is how many nodes may be in flight now. Canaries, and nodes that were sent to
// in an earlier run of the chain, are no steps of a ramp.
func (m *machine) size() int {
	return Progress{m.l}.Window()
}

// rampProofs is how many proofs of nodes of the pool count for the steps of a ramp.
func (l *ledger) rampProofs() int {
	proved := func(c *nodeCounts) int {
		n := c.Of(Verified)
		if !l.begin.Proved {
			n += c.Of(Accepted)
		}
		return n
	}
	n := proved(&l.counts) - proved(&l.pool)
	for _, b := range l.canaries {
		n -= proved(&l.batches[b-1].counts)
	}
	return n
}

// canariesSettled reports whether no canary is left to be sent to, proved or probed.
func (m *machine) canariesSettled() bool {
	for _, b := range m.l.canaries {
		for _, row := range m.l.batches[b-1].rows {
			switch r := &m.l.rows[row]; {
			case r.state == Planned, r.state == Accepted && m.proved && !r.waived, m.probing && m.l.doubtful(row):
				return false
			}
		}
	}
	return true
}

// startNodes begins a batch of nodes of the pool, when there are slots for enough
// of them, or for some of them long enough.
func (m *machine) startNodes(at time.Time) bool {
	w := m.win
	due := !w.gather.IsZero() && !at.Before(w.gather)
	if w.left == 0 || !w.fresh && !due || m.inDoubt() {
		return false
	}
	if slices.ContainsFunc(m.flights, m.alone) {
		return false
	}
	if m.gateDue(); !m.passGates() {
		return false
	}
	size := m.size()
	enough := min((size+gatherShare-1)/gatherShare, w.left)
	rows := w.pick(size - len(w.slots))
	switch {
	case len(rows) >= enough, len(rows) > 0 && due:
		w.gather = time.Time{}
		m.begin(at, &flight{rows: rows})
		return true
	case len(rows) == 0:
		w.gather = time.Time{}
		m.tellSilent(at, size)
	case w.gather.IsZero():
		w.gather = at.Add(gatherTime)
		m.emit(timerCmd{timerGather, 0, w.gather})
	}
	w.putBack(rows)
	w.fresh = false
	return false
}

// tellSilent reports once that silent nodes hold the window up.
func (m *machine) tellSilent(at time.Time, size int) {
	w := m.win
	if w.told || w.silent == 0 || w.silent < len(w.slots) && w.silent*silentShare < size {
		return
	}
	w.told = true
	slots := "1 slot waits"
	if w.silent > 1 {
		slots = fmt.Sprintf("%d slots wait", w.silent)
	}
	m.record(Record{Kind: KindSlots, Time: at.Round(0), Reason: fmt.Sprintf("%s for silent nodes: each is kept until %v after the sending",
		slots, m.l.begin.Pace.SilentHold)})
}

// judgeSilent judges the silent nodes of a batch whose replies are in; those that the
// Verifier has not looked at yet are judged again when it has.
func (m *machine) judgeSilent(at time.Time, batch int) {
	for _, row := range m.l.batches[batch-1].rows {
		if m.l.rows[row].state == NoReply {
			m.judge(at, batch, row)
		}
	}
	if m.l.begin.Rules.StopWhenNothing && m.halt == haltNone && len(m.toLookAt(batch)) > 0 {
		m.lookOnce(at, batch)
	}
}

// inDoubt reports whether a row of nodes still waits for the look at its silent ones.
func (m *machine) inDoubt() bool {
	w := m.win
	if w.inDoubt {
		t, silent := m.inARow(w.doubtful)
		w.inDoubt = silent > 0 && t.Nodes > 0
	}
	return w.inDoubt
}

// inARow counts the nodes around one that were sent to before and after it and
// had no success, as this one; absent ones, and those of earlier processes, are passed
// over. It is empty when there are fewer than the rule asks for. silent is how many
// of them the Verifier has not looked at.
func (m *machine) inARow(row int32) (t Tally, silent int) {
	need := max(2, m.size())
	t.InARow = true
	middle := m.l.rows[row].last - 1
	if middle < 0 || m.addToRow(&t, &silent, middle) != counted {
		return Tally{}, 0
	}
	for _, step := range []int32{-1, 1} {
		for i, n := middle+step, 1; n < need && i >= 0 && int(i) < len(m.l.attempts); i += step {
			verdict := m.addToRow(&t, &silent, i)
			if verdict == ends {
				break
			}
			if verdict == counted {
				n++
			}
		}
	}
	if t.Nodes < need {
		return Tally{}, 0
	}
	return t, silent
}

// What an attempt means for a row of nodes without a success.
type inRow uint8

const (
	passed  inRow = iota // it decides nothing
	counted              // it had no success
	ends                 // it is proved, or still open
)

func (m *machine) addToRow(t *Tally, silent *int, i int32) inRow {
	a := &m.l.attempts[i]
	r := &m.l.rows[a.row]
	switch {
	case a.send < 0, r.last != i+1, a.reach == fateWithdrawn, m.l.isCanary(a.row):
		return passed
	case r.state == Sending, r.state == Accepted, r.state == Verified && r.fresh:
		return ends
	case !r.fresh:
		return passed
	case r.state == Refused:
		t.Refused++
	case r.state == Unverified:
		t.Unverified++
	case r.state == NoReply:
		t.NoReply++
		if _, unseen := m.unseen[a.row]; unseen {
			*silent++
		}
	default:
		return passed
	}
	t.Nodes++
	return counted
}
