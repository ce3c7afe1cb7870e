package batch

import (
	"fmt"
	"time"
)

// The part of the machine that knows the hours in which batches may begin. What waits for them is as in a pause: replies,
// proof, stop rules and the deadline continue.

// hoursLook is how long the machine waits at most before it looks at the clock again: clocks are set, and machines sleep.
const hoursLook = time.Minute

// hours is the calendar of the run, and what the last look at it showed.
type hours struct {
	calendar
	held  bool // a batch waits for them: this is recorded
	timed bool // a timer is set for the next look
}

// inHours reports whether a batch may begin. It is asked when one would: the first time that it may not, the wait is
// recorded, or the run stops.
func (m *machine) inHours(at time.Time) bool {
	h := &m.hours
	if len(h.calendar) == 0 {
		return true
	}
	if h.open(at) {
		if h.held {
			h.held = false
			m.record(Record{Kind: KindHours, Time: at.Round(0), Reason: "batches may begin again"})
		}
		return true
	}
	next, ok := h.next(at, true)
	if !ok {
		next = at.Round(0).Add(farthest)
	}
	pace := m.l.begin.Pace
	reason := fmt.Sprintf("outside of %s: no batch begins before %s", pace.Within, h.words(next))
	switch {
	case pace.StopOutside:
		m.stop(at, haltSoft, Stop{Kind: StopRule, Rule: RuleHours, Reason: reason})
		return false
	case !h.held:
		h.held = true
		m.closeGates() // what they said is too old by then
		m.record(Record{Kind: KindHours, Time: at.Round(0), Until: next, Reason: reason})
	}
	if !h.timed {
		h.timed = true
		due := at.Add(hoursLook)
		if next.Before(due) {
			due = next
		}
		m.emit(timerCmd{timerHours, 0, due})
	}
	return false
}
