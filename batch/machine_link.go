package batch

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// The part of the machine that knows the connection, and the nodes that a
// request did not reach soon after it was back.

// link is the connection.
type link struct {
	down time.Time // since when it is away; zero: it is up
	back time.Time // when it came back last
	// questions were asked before it was lost last: their answers are too old.
	questions int
}

// missing are nodes that the broker did not know when a request was published
// soon after the connection was back. Their servers may be on the way: they are
// asked again, without the action, before they count as absent.
type missing struct {
	nodes    map[int32]bool // true: connected again, and planned anew when all is known
	question int            // in flight; 0: none
	names    []string
	timed    bool // a timer is set for the next question
}

// waiting lists the missing nodes that are connected again, or those that are
// not, in the order of the plan.
func (m *machine) waiting(back bool) []string {
	var names []string
	for _, at := range slices.Sorted(maps.Keys(m.missing.nodes)) {
		if m.missing.nodes[at] == back {
			names = append(names, m.l.rows[at].identity)
		}
	}
	return names
}

func (m *machine) linked(e linkEvent) {
	k := &m.link
	switch {
	case e.Gone:
		m.stop(e.At, haltHard, Stop{Kind: StopLost, Reason: "the connection was lost and could not be made again" + because(e.Err)})
	case !e.Up && k.down.IsZero():
		k.down, k.questions = e.At, m.questions
		m.closeGates()
		m.record(Record{Kind: KindLink, Time: e.Time, Reason: LinkLost(e.Err)})
	case e.Up && !k.down.IsZero():
		away := Longest(k.down, e.At)
		k.down, k.back = time.Time{}, e.At
		m.record(Record{Kind: KindLink, Time: e.Time, Up: true, Away: away, Reason: LinkBack(away)})
		if m.halt == haltNone {
			m.emit(timerCmd{timerGrace, 0, e.At.Add(graceTime)})
			m.askUnasked()
		}
	}
}

// askUnasked has accepted nodes looked at that could not be asked for proof while the connection was lost. The run does not
// wait for them, but for room in a budget that they take it may.
func (m *machine) askUnasked() {
	if !m.proved || m.noVerifier || m.l.counts.waived == 0 {
		return
	}
	var targets []Target
	for i := range m.l.rows {
		if r := &m.l.rows[i]; r.state == Accepted && r.waived {
			targets = append(targets, m.l.target(int32(i)))
		}
	}
	m.emit(verifyCmd{targets})
}

// LinkLost is the report of a lost connection; err may be nil.
func LinkLost(err error) string { return "the connection was lost" + because(err) }

// LinkBack is the report of a connection that is back.
func LinkBack(away time.Duration) string {
	return fmt.Sprintf("the connection is back after %v", away.Round(100*time.Millisecond))
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// inGrace reports whether an absent node may still be on its way back: the
// connection is lost, or was until a moment ago.
func (m *machine) inGrace(at time.Time) bool {
	return !m.link.down.IsZero() || !m.link.back.IsZero() && Shortest(m.link.back, at) < graceTime
}

// miss notes a node that the request did not reach. It reports false when the
// node counts as absent at once.
func (m *machine) miss(now time.Time, at int32) bool {
	if m.halt != haltNone || !m.proved || !m.inGrace(now) {
		return false
	}
	m.missing.nodes[at] = false
	m.askLater(now)
	return true
}

func (m *machine) askLater(at time.Time) {
	if k := &m.missing; !k.timed && k.question == 0 {
		k.timed = true
		m.emit(timerCmd{timerMissing, 0, at.Add(askAgain)})
	}
}

func (m *machine) askMissing(at time.Time) {
	k := &m.missing
	k.timed = false
	switch k.names = m.waiting(false); {
	case len(k.names) == 0:
		m.queueMissing(at)
	case !m.link.down.IsZero():
		m.askLater(at)
	default:
		m.questions++
		k.question = m.questions
		m.emit(baselineCmd{k.question, k.names})
	}
}

// foundMissing sorts the nodes that were asked: connected again, or absent when
// servers have had their time.
func (m *machine) foundMissing(e baselineEvent) {
	k := &m.missing
	k.question = 0
	over := !m.inGrace(e.At)
	for _, name := range k.names {
		at := m.l.index[name]
		if _, ok := k.nodes[at]; !ok {
			continue // a reply came meanwhile, or the run was stopped
		}
		b, said := e.Baselines[name]
		switch {
		case said && !b.Absent, !said && e.Err == nil: // a silent node has a subscription: it is connected
			k.nodes[at] = true
		case over:
			delete(k.nodes, at)
			m.judge(e.At, int(m.l.rows[at].batch), at)
		}
	}
	if len(m.waiting(false)) > 0 {
		m.askLater(e.At)
		return
	}
	m.queueMissing(e.At)
}

// queueMissing plans anew the nodes that are connected again: the first request
// never reached them.
func (m *machine) queueMissing(at time.Time) {
	back := m.waiting(true)
	clear(m.missing.nodes)
	m.planAnew(at, back, "connected again after the connection was lost")
}

// missingIn reports whether nodes of a batch may still turn out to be connected.
func (m *machine) missingIn(batch int) bool {
	for at := range m.missing.nodes {
		if int(m.l.rows[at].batch) == batch {
			return true
		}
	}
	return false
}

func (m *machine) controlled(e controlEvent) {
	pause := e.Pause
	if e.Toggle {
		pause = !m.paused
	}
	if pause == m.paused || m.halt != haltNone {
		return
	}
	m.paused = pause
	if pause {
		m.closeGates()
		m.gates.waiting = false // its pause is the operator's now
		m.admits.waiting = ""   // and this one
	}
	kind := KindContinued
	if pause {
		kind = KindPaused
	}
	m.record(Record{Kind: kind, Time: e.Time, By: e.By, From: ByOperator})
}
