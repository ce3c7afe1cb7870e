package batch

import (
	"context"
	"slices"
	"time"
)

// Admitter lets the nodes of a batch be sent to when what operators share allows it: a lock that is held, room in a budget.
// It is asked after the baselines and before the intent.
type Admitter interface {
	// Admit returns nil when the nodes may be sent to. It blocks until then, or until ctx ends, and calls waiting with what
	// it waits for, a few words, when that takes long; the run shows as waiting meanwhile, and replies and proof continue. An
	// error stops the run, with its text as the reason; nothing of the batch is sent then. Nodes that were admitted before
	// may be among them. In a window it is called for several batches at once.
	Admit(ctx context.Context, nodes []string, waiting func(what string)) error
	// Dismiss takes back the admission of nodes that are not sent to for now. It must not block.
	Dismiss(nodes []string)
}

// ruleShared is the rule of a stop that an Admitter's error is.
const ruleShared = "shared"

// admitting is what the machine knows of its Admitter.
type admitting struct {
	on      bool
	asked   int    // how many questions there were
	waiting string // what the run is recorded as paused for
	holder  int    // the question that waits for it
}

// admitted reports whether all nodes of a flight may be sent to, and asks for it where that is not known.
func (m *machine) admitted(f *flight) bool {
	if !m.admits.on {
		return true
	}
	names, p := m.aboard(f), &f.prep
	if !slices.ContainsFunc(names, func(name string) bool { return !p.admitted[name] }) {
		return true
	}
	m.admits.asked++
	p.admission = m.admits.asked
	m.emit(admitCmd{p.admission, names})
	return false
}

// dismiss takes back what was admitted for a flight that is dropped.
func (m *machine) dismiss(at time.Time, f *flight) {
	p := &f.prep
	if p.admission == 0 && len(p.admitted) == 0 {
		return
	}
	m.admitDecided(at, p.admission)
	m.emit(dismissCmd{p.admission, m.aboard(f)})
	p.admission, p.admitted = 0, nil
}

// admission takes what the Admitter says.
func (m *machine) admission(e admitEvent) {
	i := slices.IndexFunc(m.flights, func(f *flight) bool { return f.prep.admission == e.Question })
	if e.Question == 0 || i < 0 {
		return
	}
	f := m.flights[i]
	switch {
	case e.Waiting != "":
		m.admitWaits(e)
		return
	case m.halt != haltNone:
	case e.Err != nil:
		m.stop(e.At, haltSoft, Stop{Kind: StopRule, Rule: ruleShared, Batch: f.batch, Reason: e.Err.Error()})
	default:
		m.admitDecided(e.At, e.Question)
		f.prep.tries = 0 // the baselines may have become old meanwhile
	}
	f.prep.admission, f.prep.admitted = 0, map[string]bool{}
	for _, name := range e.Nodes {
		f.prep.admitted[name] = true
	}
}

// admitWaits records that the run pauses for what operators share.
func (m *machine) admitWaits(e admitEvent) {
	if a := &m.admits; !m.paused && m.halt == haltNone && a.waiting == "" {
		a.waiting, a.holder = e.Waiting, e.Question
		m.record(Record{Kind: KindPaused, Time: e.At.Round(0), By: e.Waiting, From: ByShared})
	}
}

// admitDecided records that the run continues, when it paused for this question.
func (m *machine) admitDecided(at time.Time, question int) {
	a := &m.admits
	if a.waiting == "" || a.holder != question {
		return
	}
	if m.halt == haltNone {
		m.record(Record{Kind: KindContinued, Time: at.Round(0), By: a.waiting, From: ByShared})
	}
	a.waiting = ""
}

// sendAgain plans a batch anew that was not sent because of a reason that passes. It reports false where some of it may
// have left.
func (m *machine) sendAgain(at time.Time, f *flight, not *NotSentError) bool {
	if !not.Again || not.Uncertain || not.Nodes != nil || m.halt != haltNone {
		return false
	}
	m.leave(f)
	m.wake = at.Add(askAgain)
	m.emit(timerCmd{timerSleep, f.batch, m.wake})
	m.queue = append([]int{f.batch}, m.queue...)
	return true
}
