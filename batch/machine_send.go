package batch

import (
	"fmt"
	"slices"
	"time"
)

// The part of the machine that brings a batch to its sending: when it begins, the
// baselines of its nodes, which of them are sent to, and the intent.

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

// preparation is what is known of the nodes of a batch that is to be sent.
type preparation struct {
	question int       // in flight; 0: none
	names    []string  // the nodes that it asks
	first    int       // the number of the question of the oldest answer; 0: none
	asked    time.Time // when that was
	said     map[string]Baseline
	tries    int
	// admission is the question to the Admitter in flight, 0 for none; admitted are the nodes that it let pass.
	admission int
	admitted  map[string]bool
	again     time.Time // when absent nodes are asked again; zero: there is no need to
}

// refill begins a batch when there is room: a planned one when no other is on its
// way and the sleep after the last is over, nodes of the pool as slots are free.
func (m *machine) refill(at time.Time) bool {
	if m.phase != phaseRunning || m.halt != haltNone || !m.up() {
		return false
	}
	for len(m.queue) > 0 && m.l.batches[m.queue[0]-1].counts.Of(Planned) == 0 {
		m.queue = m.queue[1:] // a request elsewhere did for its nodes, or they moved
	}
	if m.held() {
		m.gates.open = m.gates.open && len(m.queue) == 0 // what passed before is too old for a batch that had to wait
	}
	switch {
	case !m.proved && m.inGrace(at): // there is no way to look whether servers are back
		return false
	case len(m.queue) == 0:
		return m.win != nil && m.wake.IsZero() && m.win.left > 0 && m.inHours(at) && m.startNodes(at)
	case len(m.flights)+len(m.missing.nodes) > 0 || m.open(0) > 0 || !m.inHours(at) || m.held() || !m.passGates():
		return false
	}
	m.gates.open = false // for this batch alone
	m.begin(at, &flight{batch: m.queue[0]})
	return true
}

// held reports whether the next planned batch has to wait for the last one, or for the operator.
func (m *machine) held() bool {
	return len(m.flights)+len(m.missing.nodes) > 0 || m.open(0) > 0 || len(m.queue) > 0 && m.mustAsk() || !m.wake.IsZero()
}

// up reports whether nothing holds the run back: a pause, or the connection.
func (m *machine) up() bool { return !m.paused && m.link.down.IsZero() }

// clear reports whether a planned batch may be sent: no node waits for proof.
func (m *machine) clear() bool { return m.up() && m.open(0) == 0 }

// mayLeave reports whether a batch that was begun may still be sent.
func (m *machine) mayLeave(at time.Time, f *flight) bool {
	switch {
	case !m.hours.open(at), !m.up(), m.proved && f.prep.first <= m.link.questions, !m.proved && m.inGrace(at):
		return false // what is known by then is too old
	case m.gates.on && f.holdups != m.gates.holdups:
		return false // what the gates said, too
	case m.win != nil && !m.alone(f) && m.inDoubt():
		return false
	}
	return !m.alone(f) || m.open(0) == 0
}

// begin puts a batch on its way.
func (m *machine) begin(at time.Time, f *flight) {
	f.stage, f.prep, f.holdups = stageAsking, preparation{said: map[string]Baseline{}}, m.gates.holdups
	m.flights = append(m.flights, f)
	if m.proved {
		m.ask(at, f, m.aboard(f))
	}
}

// ask asks nodes of a batch how they are.
func (m *machine) ask(at time.Time, f *flight, names []string) {
	m.questions++
	p := &f.prep
	p.question, p.names = m.questions, names
	if p.first == 0 {
		p.first, p.asked = p.question, at
	}
	if m.win != nil {
		for _, name := range names {
			m.win.choose(m.l.index[name])
		}
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
	for _, f := range m.flights {
		p := &f.prep
		if f.stage != stageAsking || e.Question != p.question || e.Question == 0 {
			continue
		}
		p.question = 0
		for _, name := range p.names {
			if b, ok := e.Baselines[name]; ok {
				p.said[name] = b
			} else {
				delete(p.said, name) // silent: its earlier answer is too old
			}
		}
	}
}

// afterBaseline decides on a batch once its nodes have been asked and no other is
// leaving.
func (m *machine) afterBaseline(at time.Time, f *flight) bool {
	p := &f.prep
	switch {
	case m.halt != haltNone:
		m.drop(at, f)
		return true
	case p.question != 0, p.admission != 0 && m.mayLeave(at, f), p.admission == 0 && m.any(stageLeaving):
		return false
	case !m.mayLeave(at, f):
		m.drop(at, f)
		return true
	case !m.proved:
		if m.admitted(f) {
			m.send(at, f)
		}
		return true
	}
	if absent := m.absent(f); len(absent) > 0 {
		if m.inGrace(at) {
			if p.again.IsZero() {
				p.again = at.Add(askAgain)
				m.emit(timerCmd{timerAbsent, f.batch, p.again})
			}
			return false
		}
		if m.dropAbsent(at, f, absent); p.question != 0 {
			return true
		}
	}
	m.bar(at, f)
	if m.skipYoung(at, f); p.question != 0 {
		return true
	}
	if m.lookAtTokens(at, f); p.question != 0 {
		return true
	}
	switch told := m.told(f); {
	case m.halt != haltNone: // a rule was met by absent nodes
		m.drop(at, f)
	case len(m.aboard(f)) == 0:
		if f.batch > 0 {
			m.record(Record{Kind: KindBatchEnd, Time: at, Batch: f.batch})
		}
		m.drop(at, f)
	case !m.admitted(f):
	case len(told) > 0 && p.tries < maxTries && Longest(p.asked, at) > freshFor+time.Duration(len(told))*askingTime:
		p.tries, p.first = p.tries+1, 0
		m.ask(at, f, told)
	default:
		m.send(at, f)
	}
	return true
}

// askAbsent asks absent nodes again.
func (m *machine) askAbsent(at time.Time) {
	for _, f := range m.flights {
		if p := &f.prep; f.stage == stageAsking && p.question == 0 && !p.again.IsZero() && !at.Before(p.again) {
			p.again = time.Time{}
			m.ask(at, f, m.absent(f))
		}
	}
}

// absent lists the planned nodes of a batch that are not connected.
func (m *machine) absent(f *flight) []string {
	return slices.DeleteFunc(m.aboard(f), func(name string) bool { return !f.prep.said[name].Absent })
}

// told lists the planned nodes of a batch that answered the question for their baseline.
func (m *machine) told(f *flight) []string {
	return slices.DeleteFunc(m.aboard(f), func(name string) bool { b, ok := f.prep.said[name]; return !ok || b.Silent })
}

// dropAbsent takes absent nodes off a batch. Other planned nodes take the place
// of absent canaries.
func (m *machine) dropAbsent(at time.Time, f *flight, absent []string) {
	batch := f.batch
	for group := range slices.Chunk(absent, groupSize) {
		m.record(Record{Kind: KindAbsent, Time: at, Batch: batch, Nodes: group, Reason: "not connected when asked before sending"})
	}
	if m.mayReplace(batch) {
		m.replace(at, f, absent, "is absent")
	}
	m.judge(at, batch, -1)
}

// replace has other planned nodes take the place of canaries in the batch to be
// sent, and asks them.
func (m *machine) replace(at time.Time, f *flight, canaries []string, why string) {
	nodes := m.successors(len(canaries))
	m.record(Record{Kind: KindReplaced, Time: at, Batch: f.batch, Nodes: nodes, Reason: replacing(canaries, why)})
	m.ask(at, f, nodes)
}

// replacing describes which nodes are replaced; why is the reason of one of them.
func replacing(canaries []string, why string) string {
	if len(canaries) == 1 {
		return "in place of " + canaries[0] + ", which " + why
	}
	return fmt.Sprintf("in place of %d nodes, each of which %s", len(canaries), why)
}

// mayReplace reports whether there are nodes to take the place of absent canaries.
func (m *machine) mayReplace(batch int) bool {
	return m.halt == haltNone && batch > 0 && m.l.batches[batch-1].Canary && m.l.replaced < maxReplaced && len(m.successors(1)) > 0
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
	if m.win != nil {
		m.win.fit(n-len(names), func(at int32) { names = append(names, m.l.rows[at].identity) })
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
func (m *machine) replaceMissed(at time.Time, batch int) {
	missed := m.missed(batch)
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
func (m *machine) bar(at time.Time, f *flight) {
	if m.l.resumes == 0 {
		return
	}
	age, certain := m.runAge(at)
	var young, maybe, silent []string
	for _, name := range m.aboard(f) {
		switch b := f.prep.said[name]; {
		case b.Age > 0 && b.Age < certain:
			young = append(young, name)
		case b.Age > 0 && b.Age < age:
			maybe = append(maybe, name)
		case b.Age <= 0 && m.l.begin.Lagging:
			silent = append(silent, name)
		}
	}
	for _, barred := range []struct {
		nodes  []string
		reason string
	}{
		{young, "restarted since the run began"},
		{maybe, "may have restarted since the run began: it started at about the same time"},
		{silent, "the record may lack a request to it, and it does not report how long it has run"},
	} {
		for group := range slices.Chunk(barred.nodes, groupSize) {
			m.record(Record{Kind: KindRestarted, Time: at, Batch: f.batch, Nodes: group, Reason: barred.reason})
		}
	}
}

// send writes the intent of a batch, then has it sent.
func (m *machine) send(at time.Time, f *flight) {
	names := m.aboard(f)
	for group := range slices.Chunk(names, groupSize) {
		said := map[string]string{}
		for _, name := range group {
			if b := f.prep.said[name]; b.Text != "" {
				said[name] = b.Text
			}
		}
		if len(said) > 0 {
			m.record(Record{Kind: KindBaseline, Time: at, Batch: f.batch, Baselines: said})
		}
	}
	intent := Record{Kind: KindIntent, Time: at, Batch: f.batch, Nodes: names}
	switch {
	case f.batch == 0:
		f.batch = len(m.l.batches) + 1
		intent.Batch, intent.Reason = f.batch, fmt.Sprintf("window of %d", m.size())
	case len(names) == len(m.l.batches[f.batch-1].rows):
		intent.Nodes = nil
	}
	if m.alone(f) {
		m.queue = m.queue[1:]
	}
	if m.request != nil {
		intent.Request = m.request(f.batch)
	}
	f.stage, f.prep = stageLeaving, preparation{}
	m.last, m.wake = f.batch, time.Time{}
	m.record(intent)
	m.emit(actCmd{f.batch, names})
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
