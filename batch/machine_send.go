package batch

import (
	"fmt"
	"slices"
	"time"
)

// The part of the machine that brings a batch to its sending: the baselines of
// its nodes, which of them are sent to, and the intent.

const (
	// freshFor is how old a baseline may be when its batch is sent, from the
	// moment it was asked; askingTime is added for each node that was asked.
	freshFor   = 3 * time.Second
	askingTime = 500 * time.Microsecond
	// maxTries is how often baselines that are too old are asked again for one
	// batch. A node that falls silent makes the others wait for it.
	maxTries = 3
	// graceTime is how long servers may take to connect again after the
	// connection was lost, and askAgain how often absent ones are asked.
	graceTime = 30 * time.Second
	askAgain  = 2 * time.Second
	// youngMargin is what whole seconds and clocks may add to the age of a
	// process: one that seems to have begun so long before the run is held to
	// have begun after it.
	youngMargin = 2 * time.Second
	// maxReplaced is how often another node takes the place of absent canaries.
	maxReplaced = 3
)

// preparation is what is known of the nodes of the batch to be sent next.
type preparation struct {
	question int       // in flight; 0: none
	names    []string  // the nodes that it asks
	first    int       // the question that the oldest of what was said answers; 0: none
	asked    time.Time // when that was
	said     map[string]Baseline
	tries    int
	again    time.Time // when absent nodes are asked again; zero: there is no need to
}

// nextBatch leads to the next batch, when there is one and it may be sent.
func (m *machine) nextBatch(at time.Time) phase {
	for len(m.queue) > 0 && m.l.batches[m.queue[0]-1].counts.Of(Planned) == 0 {
		m.queue = m.queue[1:] // a request elsewhere did for its nodes, or they moved
	}
	switch {
	case m.halt != haltNone || len(m.queue) == 0:
		return phaseEnding
	case !m.clear():
		return phasePreparing
	case m.l.begin.Pace.ConfirmEach && m.cur.batch != 0 && m.approved != m.queue[0]:
		return phaseConsent
	case !m.cur.wake.IsZero():
		return phasePreparing
	case m.proved:
		return phaseBaseline
	case m.inGrace(at): // there is no way to look whether servers are back
		return phasePreparing
	}
	return phaseSending
}

// clear reports whether nothing holds the run back: a pause, the connection, or
// nodes that still wait for proof.
func (m *machine) clear() bool { return !m.paused && m.link.down.IsZero() && m.open(0) == 0 }

// ask asks nodes of the next batch how they are.
func (m *machine) ask(at time.Time, names []string) {
	m.questions++
	p := &m.prep
	p.question, p.names = m.questions, names
	if p.first == 0 {
		p.first, p.asked = p.question, at
	}
	m.emit(baselineCmd{p.question, names})
}

func (m *machine) baseline(e baselineEvent) {
	if e.Err != nil && m.halt == haltNone {
		m.record(Record{Kind: KindNote, Time: e.At, Reason: fmt.Sprintf("baseline: %v", e.Err)})
	}
	if e.Question == m.missing.question {
		m.foundMissing(e)
		return
	}
	p := &m.prep
	if m.phase != phaseBaseline || e.Question != p.question {
		return
	}
	p.question = 0
	for _, name := range p.names {
		if b, ok := e.Baselines[name]; ok {
			p.said[name] = b
		} else {
			delete(p.said, name) // silent: what it said before is too old
		}
	}
}

// afterBaseline decides on the next batch once its nodes have been asked.
func (m *machine) afterBaseline(at time.Time) phase {
	p := &m.prep
	switch {
	case m.halt != haltNone:
		return phaseEnding
	case p.question != 0:
		return phaseBaseline
	case !m.clear() || p.first <= m.link.questions:
		return phasePreparing // what is known by then is too old
	}
	batch := m.queue[0]
	if absent := m.absent(batch); len(absent) > 0 {
		if m.inGrace(at) {
			if p.again.IsZero() {
				p.again = at.Add(askAgain)
				m.emit(timerCmd{timerAbsent, batch, p.again})
			}
			return phaseBaseline
		}
		if m.dropAbsent(at, absent); p.question != 0 {
			return phaseBaseline
		}
	}
	m.bar(at, batch)
	if m.lookAtTokens(at, batch); p.question != 0 {
		return phaseBaseline
	}
	if m.halt != haltNone {
		return phaseEnding
	}
	if m.l.batches[batch-1].counts.Of(Planned) == 0 {
		m.record(Record{Kind: KindBatchEnd, Time: at, Batch: batch})
		return phasePreparing
	}
	if told := m.told(batch); len(told) > 0 && p.tries < maxTries &&
		Longest(p.asked, at) > freshFor+time.Duration(len(told))*askingTime {
		p.tries, p.first = p.tries+1, 0
		m.ask(at, told)
		return phaseBaseline
	}
	return phaseSending
}

// askAbsent asks the absent nodes of the next batch again.
func (m *machine) askAbsent(at time.Time) {
	if p := &m.prep; m.phase == phaseBaseline && p.question == 0 && !p.again.IsZero() && !at.Before(p.again) {
		p.again = time.Time{}
		m.ask(at, m.absent(m.queue[0]))
	}
}

// absent lists the planned nodes of a batch that are not connected.
func (m *machine) absent(batch int) []string {
	return slices.DeleteFunc(m.l.plannedIn(batch), func(name string) bool { return !m.prep.said[name].Absent })
}

// told lists the planned nodes of a batch that said how they are.
func (m *machine) told(batch int) []string {
	return slices.DeleteFunc(m.l.plannedIn(batch), func(name string) bool { b, ok := m.prep.said[name]; return !ok || b.Silent })
}

// dropAbsent takes absent nodes off a batch. Other planned nodes take the place
// of absent canaries.
func (m *machine) dropAbsent(at time.Time, absent []string) {
	batch := m.queue[0]
	for group := range slices.Chunk(absent, groupSize) {
		m.record(Record{Kind: KindAbsent, Time: at, Batch: batch, Nodes: group, Reason: "not connected when asked before sending"})
	}
	if m.mayReplace(batch) {
		m.replace(at, batch, absent, "is absent")
	}
	m.judge(at, batch)
}

// replace has other planned nodes take the place of canaries in the batch to be
// sent, and asks them.
func (m *machine) replace(at time.Time, batch int, canaries []string, why string) {
	nodes := m.successors(len(canaries))
	m.record(Record{Kind: KindReplaced, Time: at, Batch: batch, Nodes: nodes, Reason: replacing(canaries, why)})
	m.ask(at, nodes)
}

// replacing says in whose place nodes are sent to; why is said of one of them.
func replacing(canaries []string, why string) string {
	if len(canaries) == 1 {
		return "in place of " + canaries[0] + ", which " + why
	}
	return fmt.Sprintf("in place of %d nodes, each of which %s", len(canaries), why)
}

// mayReplace reports whether there are nodes to take the place of absent canaries.
func (m *machine) mayReplace(batch int) bool {
	return m.halt == haltNone && m.l.batches[batch-1].Canary && m.l.replaced < maxReplaced && len(m.successors(1)) > 0
}

// successors are the next planned nodes behind the canaries, n at most.
func (m *machine) successors(n int) []string {
	var names []string
	for _, batch := range m.queue {
		if m.l.batches[batch-1].Canary {
			continue
		}
		for _, at := range m.l.batches[batch-1].rows {
			if len(names) == n {
				return names
			}
			if m.l.sendable(at) {
				names = append(names, m.l.rows[at].identity)
			}
		}
	}
	return names
}

// missed lists the canaries of a batch that its request did not reach, when other
// nodes may take their place.
func (m *machine) missed(batch int) []string {
	if !m.mayReplace(batch) {
		return nil
	}
	var names []string
	for _, at := range m.l.batches[batch-1].rows {
		if r := &m.l.rows[at]; r.state == Absent && r.fresh && r.last > 0 {
			names = append(names, r.identity)
		}
	}
	return names
}

// replaceMissed makes a new canary batch in place of canaries that the request
// did not reach.
func (m *machine) replaceMissed(at time.Time) {
	missed := m.missed(m.cur.batch)
	if len(missed) == 0 {
		return
	}
	number := len(m.l.batches) + 1
	m.record(Record{Kind: KindReplaced, Time: at, Batch: number, Nodes: m.successors(len(missed)), Reason: replacing(missed, "is absent")})
	m.queue = append([]int{number}, m.queue...)
}

// bar takes nodes off a batch whose process began after the run did: what made
// them start may have been a request of a process that this record does not know
// of. Only a resume has such doubts.
func (m *machine) bar(at time.Time, batch int) {
	if m.l.resumes == 0 {
		return
	}
	age := Longest(m.l.started, at) + youngMargin
	var young, silent []string
	for _, name := range m.l.plannedIn(batch) {
		switch b := m.prep.said[name]; {
		case b.Age > 0 && b.Age < age:
			young = append(young, name)
		case b.Age <= 0 && m.l.begin.Lagging:
			silent = append(silent, name)
		}
	}
	for _, barred := range []struct {
		nodes  []string
		reason string
	}{
		{young, "restarted since the run began"},
		{silent, "the record may lack a request to it, and it does not say how long it has run"},
	} {
		for group := range slices.Chunk(barred.nodes, groupSize) {
			m.record(Record{Kind: KindRestarted, Time: at, Batch: batch, Nodes: group, Reason: barred.reason})
		}
	}
}

// send writes the intent of the first batch in the queue, then has it sent.
func (m *machine) send(at time.Time) {
	batch := m.queue[0]
	m.queue = m.queue[1:]
	names := m.l.plannedIn(batch)
	for group := range slices.Chunk(names, groupSize) {
		said := map[string]string{}
		for _, name := range group {
			if b := m.prep.said[name]; b.Text != "" {
				said[name] = b.Text
			}
		}
		if len(said) > 0 {
			m.record(Record{Kind: KindBaseline, Time: at, Batch: batch, Baselines: said})
		}
	}
	intent := Record{Kind: KindIntent, Time: at, Batch: batch}
	if len(names) < len(m.l.batches[batch-1].rows) {
		intent.Nodes = names
	}
	if m.request != nil {
		intent.Request = m.request(batch)
	}
	m.cur, m.prep = current{batch: batch}, preparation{}
	m.record(intent)
	m.emit(actCmd{batch, names})
}

// plannedIn lists the nodes of a batch that may be sent to. The slice is the
// caller's.
func (l *ledger) plannedIn(batch int) []string {
	b := &l.batches[batch-1]
	names := make([]string, 0, b.counts.Of(Planned))
	for _, at := range b.rows {
		if l.sendable(at) {
			names = append(names, l.rows[at].identity)
		}
	}
	return names
}
