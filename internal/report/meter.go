package report

import (
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/render"
)

// meter follows the records of a run, and makes the view of it from the engine's own counts. It reads the progress only in
// observe: between two records the engine changes it.
type meter struct {
	progress batch.Progress
	view     render.View // what needs no moment
	pace     batch.Pace
	failures failures
	waits    []render.Wait
	rolling  *rolling // nil in batches

	batch int // that was sent last
	eta   eta
}

// newMeter follows a run from where it is.
func newMeter(p batch.Progress, view render.View) *meter {
	m := &meter{progress: p, view: view, pace: p.Pace()}
	if p.Plan().Rolls() {
		m.rolling = &rolling{}
	}
	m.view.Doing = render.Asking
	m.count()
	first := true
	for r := range p.Results() {
		m.failures.note(r)
		if first {
			first, m.view.Domain = false, domain(r.Identity)
		}
		for m.view.Domain != "" && !strings.HasSuffix(r.Identity, m.view.Domain) {
			m.view.Domain = domain(m.view.Domain[1:])
		}
	}
	return m
}

// domain is what follows the first label of a name, with its dot; "" for one label.
func domain(name string) string {
	if at := strings.IndexByte(name, '.'); at > 0 {
		return name[at:]
	}
	return ""
}

// snapshot is the view at a moment.
func (m *meter) snapshot(now time.Time) render.View {
	v := m.view
	v.Now, v.Waits, v.Failures = now, m.waits, m.failures.list()
	if m.rolling != nil {
		v.Window.Silent = m.rolling.holding(now, v.States.Of(batch.NoReply))
	}
	return v
}

// observe takes the next record; the progress includes it.
func (m *meter) observe(r *batch.Record) {
	m.step(r)
	m.count()
	m.fail(r)
	m.estimate(r)
	if m.rolling != nil {
		m.rolling.observe(m, r)
	}
	m.await()
}

// step is what a record means for what the run is doing.
func (m *meter) step(r *batch.Record) {
	v := &m.view
	switch r.Kind {
	case batch.KindPlan, batch.KindResumed:
		v.Proves, m.pace = r.Begin.Proved, r.Begin.Pace
		v.Gate, v.Shared, v.Stopping, v.Lost, v.Paused = "", "", "", time.Time{}, time.Time{}
		if v.Doing = render.Asking; r.Kind == batch.KindResumed || len(m.progress.Plan().Doubts) > 0 {
			v.Doing = render.Recovering
		}
	case batch.KindBaseline, batch.KindAbsent, batch.KindRestarted:
		if m.rolling == nil && r.Batch > 0 {
			v.Doing, m.batch = render.Asking, r.Batch
		}
	case batch.KindIntent:
		v.Doing, m.batch = render.Sending, r.Batch
	case batch.KindSent:
		v.Doing = render.Answering
	case batch.KindReplies:
		v.Doing, v.Wake = render.Proving, r.Time.Add(m.pace.Sleep)
	case batch.KindBatchEnd:
		m.batch = r.Batch
		m.ended(r)
	case batch.KindStopped:
		v.Stopping = r.Stop.Reason
	case batch.KindLink:
		if v.Lost = r.Time; r.Up {
			v.Lost = time.Time{}
		}
	case batch.KindGate:
		if v.Gate = r.Gate.Reason; r.Gate.Decided {
			v.Gate = ""
		}
	case batch.KindPaused:
		switch r.Pauser() {
		case batch.ByGate: // the gate is what is shown
		case batch.ByShared:
			v.Shared = r.By
		default: // what the run waited for is asked for again after it
			v.Paused, v.PausedBy, v.Gate, v.Shared = r.Time, r.By, "", ""
		}
	case batch.KindContinued:
		switch r.Pauser() {
		case batch.ByGate:
		case batch.ByShared:
			v.Shared = ""
		default:
			v.Paused = time.Time{}
		}
	case batch.KindRunEnd:
		v.Doing = render.Ended
	}
}

// ended is the end of a batch.
func (m *meter) ended(r *batch.Record) {
	v := &m.view
	if v.Doing = render.Resting; r.Batch == m.progress.Batches() {
		v.Wake = time.Time{}
		if v.Proves && m.progress.Counts().Of(batch.NoReply) > 0 {
			v.Doing = render.Looking
		}
	}
}

// succeeded is how many nodes did what was asked.
func (m *meter) succeeded() int {
	c := m.progress.Counts()
	if m.view.Proves {
		return c.Of(batch.Verified)
	}
	return c.Of(batch.Verified) + c.Of(batch.Accepted)
}

// count takes over the counts.
func (m *meter) count() {
	v := &m.view
	v.States, v.Held = m.progress.Counts(), m.progress.Held()
	v.Batch = render.BatchView{Number: m.batch, Of: m.progress.Batches()}
	if m.batch == 0 && m.rolling == nil {
		v.Batch.Number = 1
	}
	if n := v.Batch.Number; n > 0 && n <= v.Batch.Of {
		c := m.progress.Batch(n).States
		v.Batch.Answered = c.Of(batch.Accepted) + c.Of(batch.Verified) + c.Failed()
		v.Batch.Nodes = v.Batch.Answered + c.Of(batch.Planned) + c.Of(batch.Sending) + c.Of(batch.NoReply)
		v.Batch.Proved = c.Of(batch.Verified)
	}
}

// fail takes over what the record means for the nodes that it is about.
func (m *meter) fail(r *batch.Record) {
	if r.Kind == batch.KindReplies {
		for node, state := range m.progress.InBatch(r.Batch) {
			if state == batch.NoReply {
				m.failures.note(m.progress.Result(node))
			}
		}
	}
	if r.Kind == batch.KindRunEnd || r.Kind == batch.KindResumed {
		for n := range m.progress.Results() {
			m.failures.note(n)
		}
		return
	}
	known := len(m.failures.of) > 0
	for i := range r.Outcomes {
		if known || !r.Outcomes[i].OK {
			m.failures.note(m.progress.Result(r.Outcomes[i].Node))
		}
	}
	for i := range r.Proofs {
		if known || r.Proofs[i].Found != batch.Acted {
			m.failures.note(m.progress.Result(r.Proofs[i].Node))
		}
	}
	if r.Kind == batch.KindIntent && !known {
		return
	}
	for _, node := range r.Nodes {
		m.failures.note(m.progress.Result(node))
	}
}

// maxNamed is how many nodes may be waited for while some of them are named: finding these has a price.
const maxNamed = 100

// await finds some nodes that are waited for: those without a reply first.
func (m *meter) await() {
	c := m.view.States
	sending, proving := c.Of(batch.Sending), 0
	if m.view.Proves {
		proving = c.Of(batch.Accepted)
	}
	waiting := sending + proving
	if m.view.Doing == render.Recovering {
		waiting = proving + c.Of(batch.Unknown)
	}
	m.waits, m.view.More = m.still(m.waits), 0
	switch {
	case waiting == 0 || m.view.Doing == render.Ended:
		m.waits = nil
	case m.rolling != nil:
		m.waits = m.rolling.oldest(m, m.waits)
	case waiting > maxNamed || m.view.Doing == render.Recovering || m.batch == 0:
		m.waits = nil
	case len(m.waits) < min(waiting, shownWaits), m.silent() < min(sending, shownWaits):
		m.waits = m.inBatch(m.batch, nil, sending)
	}
	m.view.More = max(0, waiting-len(m.waits))
}

// shownWaits is how many nodes are named at most.
const shownWaits = 3

// silent is how many of the named nodes have not replied: they are named first.
func (m *meter) silent() int {
	n := 0
	for _, w := range m.waits {
		if m.progress.State(w.Node) == batch.Sending {
			n++
		}
	}
	return n
}

// still keeps the nodes that are waited for still, those without a reply first. The slice is a new one: a view has the old one.
func (m *meter) still(list []render.Wait) []render.Wait {
	var kept, proving []render.Wait
	for _, w := range list {
		switch state := m.progress.State(w.Node); {
		case state == batch.Sending:
			kept = append(kept, m.wait(w.Node))
		case state == batch.Accepted && m.view.Proves:
			proving = append(proving, m.wait(w.Node))
		}
	}
	return append(kept, proving...)
}

// inBatch adds nodes of a batch that are waited for; sending is how many of them have not replied.
func (m *meter) inBatch(number int, list []render.Wait, sending int) []render.Wait {
	wanted := []batch.State{batch.Sending, batch.Accepted}
	if sending == 0 {
		wanted = wanted[1:]
	}
	for _, state := range wanted {
		if state == batch.Accepted && !m.view.Proves {
			break
		}
		for node, is := range m.progress.InBatch(number) {
			if len(list) == shownWaits {
				return list
			}
			if is == state && !named(list, node) {
				list = append(list, m.wait(node))
			}
		}
	}
	return list
}

func named(list []render.Wait, node string) bool {
	for _, w := range list {
		if w.Node == node {
			return true
		}
	}
	return false
}

// wait is how long a node is waited for: for its reply, or for its proof.
func (m *meter) wait(node string) render.Wait {
	r := m.progress.Result(node)
	w := render.Wait{Node: node}
	switch p := m.pace; {
	case r.Sent.IsZero():
	case p.Watch:
		w.Until = r.Sent.Add(max(p.ReplyTimeout, p.VerifyTimeout))
	case r.State == batch.Sending:
		w.Until = r.Sent.Add(p.ReplyTimeout)
	case r.State == batch.Accepted && p.VerifyTimeout > 0:
		delay := r.Delay
		if delay == 0 {
			delay = p.LongestDelay
		}
		w.Until = r.Replied.Add(delay + p.VerifyTimeout)
	}
	return w
}
