package batch

import (
	"fmt"
	"time"
)

// The part of the machine that knows the connection, and the nodes that a
// request did not reach soon after it was back.

// link is the connection.
type link struct {
	down time.Time // since when it is away; zero: it is up
	lost time.Time // when it was lost last
	back time.Time // when it came back last
}

// missing are nodes that the broker did not know when a request was published
// soon after the connection was back. Their servers may be on the way: they are
// asked again, without the action, before they count as absent.
type missing struct {
	nodes    map[int32]struct{}
	question int // in flight; 0: none
	names    []string
	timed    bool // a timer is set for the next question
}

func (m *machine) linked(e linkEvent) {
	k := &m.link
	switch {
	case e.Gone:
		m.stop(e.At, haltHard, Stop{Kind: StopLost, Reason: "the connection was lost and could not be made again" + because(e.Err)})
	case !e.Up && k.down.IsZero():
		k.down, k.lost = e.At, e.At
		m.record(Record{Kind: KindLink, Time: e.Time, Reason: "the connection was lost" + because(e.Err)})
	case e.Up && !k.down.IsZero():
		away := Longest(k.down, e.At)
		k.down, k.back = time.Time{}, e.At
		m.record(Record{Kind: KindLink, Time: e.Time, Up: true, Away: away,
			Reason: fmt.Sprintf("the connection is back after %v", away.Round(100*time.Millisecond))})
		if m.halt == haltNone {
			m.emit(timerCmd{timerGrace, 0, e.At.Add(graceTime)})
		}
	}
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// lostSince reports whether the connection was away at a time or later.
func (m *machine) lostSince(at time.Time) bool {
	return !m.link.down.IsZero() || !m.link.lost.IsZero() && (!m.link.lost.Before(at) || m.link.back.After(at))
}

// inGrace reports whether an absent node may still be on its way back: the
// connection is away, or was until a moment ago.
func (m *machine) inGrace(at time.Time) bool {
	return !m.link.down.IsZero() || !m.link.back.IsZero() && Shortest(m.link.back, at) < graceTime
}

// miss notes a node that the request did not reach. It reports false when the
// node counts as absent at once.
func (m *machine) miss(now time.Time, at int32) bool {
	if m.halt != haltNone || !m.proved || !m.inGrace(now) {
		return false
	}
	m.missing.nodes[at] = struct{}{}
	m.rearm(now)
	return true
}

func (m *machine) rearm(at time.Time) {
	if k := &m.missing; !k.timed && k.question == 0 && len(k.nodes) > 0 {
		k.timed = true
		m.emit(timerCmd{timerMissing, 0, at.Add(askAgain)})
	}
}

func (m *machine) askMissing(at time.Time) {
	k := &m.missing
	k.timed = false
	switch {
	case len(k.nodes) == 0 || m.halt != haltNone:
	case !m.link.down.IsZero():
		m.rearm(at)
	default:
		m.questions++
		k.question, k.names = m.questions, nil
		for i := range m.l.rows { // in the order of the plan
			if _, ok := k.nodes[int32(i)]; ok {
				k.names = append(k.names, m.l.rows[i].identity)
			}
		}
		m.emit(baselineCmd{k.question, k.names})
	}
}

// foundMissing plans anew the nodes that are connected again. The others count
// as absent when servers have had their time.
func (m *machine) foundMissing(e baselineEvent) {
	k := &m.missing
	k.question = 0
	if m.halt != haltNone {
		return
	}
	var again []string
	over := !m.inGrace(e.At)
	for _, name := range k.names {
		at := m.l.index[name]
		if _, ok := k.nodes[at]; !ok {
			continue // a reply came meanwhile
		}
		b, said := e.Baselines[name]
		switch {
		case said && !b.Absent, !said && e.Err == nil: // a silent node has a subscription: it is connected
			again = append(again, name)
			delete(k.nodes, at)
		case over:
			delete(k.nodes, at)
			m.judge(e.At, int(m.l.rows[at].batch))
		}
	}
	if len(again) > 0 && m.halt == haltNone {
		m.queueAgain(e.At, again, "connected again after the connection was lost")
	}
	m.rearm(e.At)
}

// queueAgain makes a batch of nodes that nothing reached, to be sent next.
func (m *machine) queueAgain(at time.Time, names []string, reason string) {
	number := len(m.l.batches) + 1
	m.record(Record{Kind: KindRequeued, Time: at, Batch: number, Nodes: names, Reason: reason})
	m.queue = append([]int{number}, m.queue...)
}

func (m *machine) controlled(e controlEvent) {
	if e.Pause == m.paused || m.halt != haltNone {
		return
	}
	m.paused = e.Pause
	kind := KindContinued
	if e.Pause {
		kind = KindPaused
	}
	m.record(Record{Kind: kind, Time: e.Time, By: e.By})
}
