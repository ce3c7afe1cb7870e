package batch

import (
	"errors"
	"fmt"
	"time"
)

// row is what is kept of a node besides its attempts. A node and its attempt take
// about 150 bytes, so that 100,000 nodes are cheap. Times are Unix nanoseconds, 0
// for none.
type row struct {
	identity, reason string
	proved           int64
	batch            int32 // 0: it is in the pool
	last             int32 // its latest attempt, index + 1; 0: none
	state            State
	late             bool
	fresh            bool // it came to its state since the last start or resume
	barred           bool // its process began after the run did: never sent to
	waived           bool // accepted, and could not be asked: not waited for until a resume
	skipped          bool // not-sent on purpose, also after a resume
}

// batchRow is all that is kept of a batch.
type batchRow struct {
	Batch
	rows                 []int32 // the nodes that are in it now
	counts               nodeCounts
	request              string
	sent, replies, ended time.Time
}

// nodeCounts count nodes by state, of a batch or of the run.
type nodeCounts struct {
	all    Counts
	fresh  Counts // those that came to their state since the last start or resume
	waived int    // accepted nodes that are not waited for
	// skipped are not-sent on purpose; freshSkipped are those since the last start or resume.
	skipped, freshSkipped int
}

func (c *nodeCounts) count(r *row, n int) {
	c.all.n[r.state] += n
	if r.fresh {
		c.fresh.n[r.state] += n
	}
	if r.waived {
		c.waived += n
	}
	if r.skipped {
		if c.skipped += n; r.fresh {
			c.freshSkipped += n
		}
	}
}

// Of returns how many nodes are in state s.
func (c *nodeCounts) Of(s State) int { return c.all.Of(s) }

// ledger is the account of a run. Only apply and its helpers change it. Not safe
// for concurrent use.
type ledger struct {
	begin          Beginning
	rows           []row
	attempts       []attempt
	sends          []sending
	baselines      map[int32]string // asked, and not sent to yet
	index          map[string]int32
	batches        []batchRow
	pool           nodeCounts // nodes without a batch, of a plan with a pool
	canaries       []int      // the batches of canaries
	counts         nodeCounts
	stops          []Stop // since the last start or resume
	begun          bool   // the plan is recorded
	pauses         pauseSet
	held           time.Time    // until then no batch begins; zero: nothing is held back
	asking         bool         // the gates are being asked
	doubted        bool         // some of sends are uncertain
	gates          []GateResult // of all lives
	adopted        []AdoptedBy
	started, ended time.Time
	resumes, late  int
	replaced       int   // absent canaries that another node took the place of
	lost           int64 // when the connection was lost last, in any life; 0: never
	leftOut        int   // nodes that are not-sent for a reason of their own, since the last start or resume
	ignored        int   // not recorded one by one; restored from the run-end record
	reasons        map[string]string
	undo           []undoEntry // changes since the last commit
	// touched, when not nil, collects the nodes whose state changed.
	touched []int32
}

func newLedger(b Beginning) (*ledger, error) {
	if b.Plan == nil {
		return nil, errors.New("no plan")
	}
	if b.Plan.Version > planVersion {
		return nil, newer("plan", b.Plan.Version, planVersion)
	}
	total := b.Plan.Nodes()
	for _, out := range b.Plan.LeftOut {
		total += len(out.Nodes)
	}
	l := &ledger{begin: b, rows: make([]row, 0, total), attempts: make([]attempt, 0, total), index: make(map[string]int32, total), baselines: map[int32]string{},
		batches: make([]batchRow, 0, len(b.Plan.Batches)), reasons: map[string]string{}}
	if (len(b.Plan.Pool) > 0 || len(b.Plan.Facts) > 0) && !b.Plan.Policy.Rolling {
		return nil, errors.New("a pool of nodes, and no window")
	}
	for i, bt := range b.Plan.Batches {
		if bt.Number != i+1 || len(bt.Nodes) == 0 {
			return nil, fmt.Errorf("batch %d of %d is numbered %d and holds %d nodes", i+1, len(b.Plan.Batches), bt.Number, len(bt.Nodes))
		}
		br := batchRow{Batch: bt, rows: make([]int32, 0, len(bt.Nodes))}
		l.batches = append(l.batches, br)
		for _, name := range bt.Nodes {
			if err := l.plan(name, bt.Number); err != nil {
				return nil, err
			}
		}
		if bt.Canary {
			l.canaries = append(l.canaries, bt.Number)
		}
	}
	for _, name := range b.Plan.Pool {
		if err := l.plan(name, 0); err != nil {
			return nil, err
		}
	}
	for _, out := range b.Plan.LeftOut {
		if err := l.leaveOut(out); err != nil {
			return nil, err
		}
	}
	for fact, values := range b.Plan.Facts {
		if len(values) != total {
			return nil, fmt.Errorf("%d values of fact %q for %d nodes", len(values), fact, total)
		}
	}
	if !b.Plan.Knows(b.Plan.Policy.Facts()) && b.Plan.Policy.Rolling {
		return nil, errors.New("a window with caps, and nodes without facts")
	}
	for i, d := range b.Plan.Doubts {
		at, ok := l.index[d.Node]
		if !ok {
			return nil, fmt.Errorf("node %q is to be probed and is not planned", d.Node)
		}
		l.doubt(at, i, d)
	}
	l.commit()
	return l, nil
}

// plan adds a node to a batch, or (0) to the pool.
func (l *ledger) plan(name string, batch int) error {
	if name == "" {
		return fmt.Errorf("batch %d holds a node without a name", batch)
	}
	if _, twice := l.index[name]; twice {
		return fmt.Errorf("node %q is planned twice", name)
	}
	at := int32(len(l.rows))
	l.index[name] = at
	l.rows = append(l.rows, row{identity: name, batch: int32(batch), state: Planned})
	if batch > 0 {
		l.batches[batch-1].rows = append(l.batches[batch-1].rows, at)
	}
	l.countsOf(int32(batch)).count(&l.rows[at], 1)
	l.counts.count(&l.rows[at], 1)
	return nil
}

// countsOf returns the counts of a batch, or (0) of the pool.
func (l *ledger) countsOf(batch int32) *nodeCounts {
	if batch == 0 {
		return &l.pool
	}
	return &l.batches[batch-1].counts
}

// move is the only place where a state changes.
func (l *ledger) move(at int32, to State) {
	r := &l.rows[at]
	if r.state == to {
		return
	}
	l.touch(at, 0)
	l.recount(at, func() { r.state, r.fresh, r.waived = to, true, false })
}

// recount does a change of a node that the counts depend on.
func (l *ledger) recount(at int32, change func()) {
	r := &l.rows[at]
	l.counts.count(r, -1)
	l.countsOf(r.batch).count(r, -1)
	change()
	l.counts.count(r, 1)
	l.countsOf(r.batch).count(r, 1)
}

// moveAll moves every node in state from to state to, in one batch or (0) all.
func (l *ledger) moveAll(batch int, from, to State) {
	if batch > 0 {
		for _, at := range l.batches[batch-1].rows {
			if l.rows[at].state == from {
				l.move(at, to)
			}
		}
		return
	}
	if l.counts.Of(from) == 0 {
		return
	}
	for at := range l.rows {
		if r := &l.rows[at]; r.state == from && !r.skipped {
			l.move(int32(at), to)
		}
	}
}

// apply changes the state as a record says. An error means that the record
// contradicts the ones before it; the account is then not to be used.
func (l *ledger) apply(r *Record) error {
	if l.begun == (r.Kind == KindPlan) {
		return fmt.Errorf("a %s record in this place", r.Kind)
	}
	first, last := 1, len(l.batches)
	switch r.Kind {
	case KindBaseline, KindAbsent, KindRestarted, KindLeftOut, KindSkipped:
		if l.begin.Plan.Policy.Rolling {
			first = 0
		}
	case KindIntent:
		if l.begin.Plan.Policy.Rolling {
			last++
		}
	case KindSent, KindWithdrawn, KindReplies, KindBatchEnd:
	case KindGate:
		first = 0
	default:
		last = r.Batch
		first = r.Batch
	}
	if r.Batch < first || r.Batch > last {
		return fmt.Errorf("%s of batch %d, and there are %d", r.Kind, r.Batch, len(l.batches))
	}
	switch r.Kind {
	case KindPlan, KindResumed:
		return l.applyBegin(r)
	case KindAdopted:
		return l.applyAdopted(r)
	case KindProbed:
		return l.applyProbed(r.Proofs)
	case KindRequeued:
		return l.applyRequeued(r)
	case KindBaseline:
		return l.applyBaseline(r)
	case KindIntent:
		return l.applyIntent(r)
	case KindAbsent:
		return l.applySkipped(r, Absent)
	case KindRestarted:
		return l.applySkipped(r, Unknown)
	case KindLeftOut:
		l.leftOut += len(r.Nodes)
		return l.applySkipped(r, NotSent)
	case KindSkipped:
		return l.applySkipped(r, NotSent)
	case KindReplaced:
		return l.applyReplaced(r)
	case KindPaused, KindContinued:
		l.asking = l.asking && r.Pauser() != ByOperator
		l.pauses.apply(r)
	case KindSent:
		l.applySent(r)
	case KindHours:
		l.held = r.Until
	case KindLink:
		if !r.Up {
			l.lost = max(l.lost, unixNano(r.Time))
		}
	case KindSlots, KindNote:
	case KindGate:
		return l.applyGate(r)
	case KindWithdrawn:
		return l.applyWithdrawn(r)
	case KindOutcomes:
		for i := range r.Outcomes {
			if err := l.applyOutcome(&r.Outcomes[i]); err != nil {
				return fmt.Errorf("outcome of node %q in batch %d: %w", r.Outcomes[i].Node, r.Outcomes[i].Batch, err)
			}
		}
	case KindReplies:
		b := &l.batches[r.Batch-1]
		if b.replies = r.Time; !r.Uncertain {
			l.moveAll(r.Batch, Sending, NoReply)
		}
	case KindProofs:
		for i := range r.Proofs {
			if _, err := l.applyProof(&r.Proofs[i]); err != nil {
				return err
			}
		}
	case KindBatchEnd:
		l.batches[r.Batch-1].ended = r.Time
	case KindStopped:
		if r.Stop == nil || r.Stop.Kind == 0 {
			return errors.New("a stop without a reason")
		}
		l.stops = append(l.stops, *r.Stop)
	case KindRunEnd:
		return l.applyRunEnd(r)
	default:
		return fmt.Errorf("unknown kind of record %q", r.Kind)
	}
	return nil
}

func (l *ledger) applyBegin(r *Record) error {
	if r.Begin == nil {
		return fmt.Errorf("a %s record without its body", r.Kind)
	}
	l.begin.Rules, l.begin.Pace, l.begin.Proved = r.Begin.Rules, r.Begin.Pace, r.Begin.Proved
	l.begin.Gates, l.asking = r.Begin.Gates, false
	if r.Kind == KindPlan {
		l.begun, l.started = true, r.Time
		return nil
	}
	l.resumes++
	l.begin.Lagging = l.begin.Lagging || r.Begin.Lagging
	l.stops, l.ended, l.pauses, l.held, l.leftOut = nil, time.Time{}, pauseSet{}, time.Time{}, 0
	l.settle()
	l.moveAll(0, NotSent, Planned)
	clear(l.baselines)
	if err := l.unsend(); err != nil {
		return err
	}
	for at := range l.rows { // a resume counts anew
		if r := &l.rows[at]; r.fresh || r.waived {
			l.recount(int32(at), func() { r.fresh, r.waived = false, false })
		}
	}
	return nil
}

func (l *ledger) applyBaseline(r *Record) error {
	for name, base := range r.Baselines {
		at, ok := l.index[name]
		if !ok || int(l.rows[at].batch) != r.Batch {
			return fmt.Errorf("baseline of node %q, which is not in batch %d", name, r.Batch)
		}
		l.baselines[at] = base
	}
	return nil
}

// applyProof reports whether the finding changed what is known of the node.
func (l *ledger) applyProof(p *Proof) (bool, error) {
	at, ok := l.index[p.Node]
	if !ok {
		return false, fmt.Errorf("proof of node %q, which is not planned", p.Node)
	}
	r := &l.rows[at]
	to := r.state
	switch {
	case p.Found == Acted && (r.state == Sending || r.state == Accepted || r.state == NoReply || r.state == Unverified || r.state == Unknown):
		to = Verified
	case p.Found == Unproved && r.state == Accepted:
		to = Unverified
	case p.Found == Unasked && r.state == Accepted && !r.waived:
		l.touch(at, 0)
		l.recount(at, func() { r.waived = true })
		r.reason = l.intern(p.Reason)
		return true, nil
	case p.Found == Unproved && r.state == NoReply && p.Reason != "" && p.Reason != r.reason: // what was seen of it instead
		r.reason = l.intern(p.Reason)
		return true, nil
	case p.Found != Acted && p.Found != Unproved && p.Found != Unasked:
		return false, fmt.Errorf("proof of node %q found %s", p.Node, p.Found)
	}
	if to == r.state {
		return false, nil
	}
	l.move(at, to)
	r.proved = unixNano(p.Time)
	if p.Reason != "" {
		r.reason = l.intern(p.Reason)
	}
	return true, nil
}
