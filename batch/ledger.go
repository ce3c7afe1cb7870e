package batch

import (
	"errors"
	"fmt"
	"time"
)

// row is all that is kept of a node: about 120 bytes, so that 100,000 nodes are
// cheap. Times are Unix nanoseconds, 0 for none.
type row struct {
	identity, reason, baseline string
	replied, stamp, proved     int64
	delay                      time.Duration
	batch, was                 int32 // was: the batch before a requeue, else 0
	code                       int32
	doubt                      int32 // index + 1 into Plan.Doubts while not proved untouched
	state                      State
	late                       bool
}

// batchRow is all that is kept of a batch.
type batchRow struct {
	Batch
	rows                 []int32
	counts               Counts
	request              string
	sent, replies, ended time.Time
}

// ledger is the account of a run. Only apply and its helpers change it. Not safe
// for concurrent use.
type ledger struct {
	begin          Beginning
	rows           []row
	index          map[string]int32
	batches        []batchRow
	counts         Counts
	stops          []Stop // since the last start or resume
	begun          bool   // the plan is recorded
	started, ended time.Time
	resumes, late  int
	ignored        int // not recorded one by one; restored from the run-end record
	reasons        map[string]string
	undo           []undoEntry // moves since the last commit
}

type undoEntry struct {
	row     int32
	state   State
	replied int64
}

// errDuplicate and errStray: a reply that changes nothing.
var (
	errDuplicate = errors.New("the node has replied already")
	errStray     = errors.New("no request to this node is open")
)

func newLedger(b Beginning) (*ledger, error) {
	if b.Plan == nil {
		return nil, errors.New("no plan")
	}
	total := b.Plan.Nodes()
	l := &ledger{begin: b, rows: make([]row, 0, total), index: make(map[string]int32, total),
		batches: make([]batchRow, 0, len(b.Plan.Batches)), reasons: map[string]string{}}
	for i, bt := range b.Plan.Batches {
		if bt.Number != i+1 || len(bt.Nodes) == 0 {
			return nil, fmt.Errorf("batch %d of %d is numbered %d and holds %d nodes", i+1, len(b.Plan.Batches), bt.Number, len(bt.Nodes))
		}
		br := batchRow{Batch: bt, rows: make([]int32, 0, len(bt.Nodes))}
		for _, name := range bt.Nodes {
			if name == "" {
				return nil, fmt.Errorf("batch %d holds a node without a name", bt.Number)
			}
			if _, twice := l.index[name]; twice {
				return nil, fmt.Errorf("node %q is planned twice", name)
			}
			at := int32(len(l.rows))
			l.index[name] = at
			l.rows = append(l.rows, row{identity: name, batch: int32(bt.Number), state: Planned})
			br.rows = append(br.rows, at)
			br.counts.move(0, Planned)
			l.counts.move(0, Planned)
		}
		l.batches = append(l.batches, br)
	}
	for i, d := range b.Plan.Doubts {
		at, ok := l.index[d.Node]
		if !ok {
			return nil, fmt.Errorf("node %q is to be probed and is not planned", d.Node)
		}
		l.rows[at].doubt = int32(i + 1)
	}
	return l, nil
}

// move is the only place where a state changes.
func (l *ledger) move(at int32, to State) {
	r := &l.rows[at]
	if r.state == to {
		return
	}
	l.undo = append(l.undo, undoEntry{at, r.state, r.replied})
	l.counts.move(r.state, to)
	l.batches[r.batch-1].counts.move(r.state, to)
	r.state = to
}

// commit says that everything so far is durable.
func (l *ledger) commit() { l.undo = l.undo[:0] }

// rollback takes back the moves that could not be recorded, so that the summary
// says what the journal will say. Requeued nodes keep their new batch.
func (l *ledger) rollback() {
	for i := len(l.undo) - 1; i >= 0; i-- {
		u := l.undo[i]
		r := &l.rows[u.row]
		l.counts.move(r.state, u.state)
		l.batches[r.batch-1].counts.move(r.state, u.state)
		r.state, r.replied = u.state, u.replied
	}
	l.commit()
}

// moveAll moves every node in state from to state to, in one batch or (0) all.
func (l *ledger) moveAll(batch int, from, to State) {
	if batch > 0 {
		for _, at := range l.batches[batch-1].rows {
			if l.rows[at].state == from && int(l.rows[at].batch) == batch {
				l.move(at, to)
			}
		}
		return
	}
	if l.counts.Of(from) == 0 {
		return
	}
	for at := range l.rows {
		if l.rows[at].state == from {
			l.move(int32(at), to)
		}
	}
}

// settle is what the end of a process means for the nodes.
func (l *ledger) settle() {
	l.moveAll(0, Sending, Unknown)
	l.moveAll(0, Planned, NotSent)
}

// apply changes the account as a record says. An error means that the record
// contradicts the ones before it; the account is then not to be used.
func (l *ledger) apply(r *Record) error {
	if l.begun == (r.Kind == KindPlan) {
		return fmt.Errorf("a %s record in this place", r.Kind)
	}
	switch r.Kind {
	case KindBaseline, KindIntent, KindSent, KindWithdrawn, KindReplies, KindBatchEnd:
		if r.Batch < 1 || r.Batch > len(l.batches) {
			return fmt.Errorf("%s of batch %d, and there are %d", r.Kind, r.Batch, len(l.batches))
		}
	}
	switch r.Kind {
	case KindPlan, KindResumed:
		return l.applyBegin(r)
	case KindProbed:
		return l.applyProbed(r.Proofs)
	case KindRequeued:
		return l.applyRequeued(r)
	case KindBaseline:
		return l.applyBaseline(r)
	case KindIntent:
		return l.applyIntent(r)
	case KindSent, KindNote:
		return nil
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
	if r.Kind == KindPlan {
		l.begun, l.started = true, r.Time
		return nil
	}
	l.resumes++
	l.stops, l.ended = nil, time.Time{}
	l.settle()
	l.moveAll(0, NotSent, Planned)
	return nil
}

func (l *ledger) applyBaseline(r *Record) error {
	for name, base := range r.Baselines {
		at, ok := l.index[name]
		if !ok || int(l.rows[at].batch) != r.Batch {
			return fmt.Errorf("baseline of node %q, which is not in batch %d", name, r.Batch)
		}
		l.rows[at].baseline = base
	}
	return nil
}

func (l *ledger) applyIntent(r *Record) error {
	b := &l.batches[r.Batch-1]
	b.sent, b.request, b.replies, b.ended = r.Time, r.Request, time.Time{}, time.Time{}
	if r.Nodes == nil {
		if b.counts.Of(Planned) != len(b.rows) {
			return fmt.Errorf("intent of the whole batch %d, of which %d of %d nodes are planned", r.Batch, b.counts.Of(Planned), len(b.rows))
		}
		for _, at := range b.rows {
			if l.rows[at].doubt != 0 {
				return fmt.Errorf("intent for node %q, which is not proved untouched", l.rows[at].identity)
			}
		}
		l.moveAll(r.Batch, Planned, Sending)
		return nil
	}
	for _, name := range r.Nodes {
		at, ok := l.index[name]
		if !ok || int(l.rows[at].batch) != r.Batch || l.rows[at].state != Planned || l.rows[at].doubt != 0 {
			return fmt.Errorf("intent for node %q, which cannot be sent in batch %d", name, r.Batch)
		}
		l.move(at, Sending)
	}
	return nil
}

func (l *ledger) applyWithdrawn(r *Record) error {
	for _, name := range r.Nodes {
		at, ok := l.index[name]
		if !ok || int(l.rows[at].batch) != r.Batch || l.rows[at].state != Sending {
			return fmt.Errorf("withdrawn node %q is not being sent in batch %d", name, r.Batch)
		}
		l.move(at, Planned)
	}
	return nil
}

// applyOutcome returns errDuplicate or errStray for a reply that changes nothing.
func (l *ledger) applyOutcome(o *Outcome) error {
	at, ok := l.index[o.Node]
	if !ok || o.Batch < 1 || o.Batch > len(l.batches) || l.batches[o.Batch-1].sent.IsZero() {
		return errStray
	}
	r := &l.rows[at]
	if r.replied != 0 {
		return errDuplicate
	}
	// A requeued node that replies to its first request did get that one: it
	// must count before the second request leaves. After that, it is too late.
	earlier := int(r.was) == o.Batch && (r.state == Planned || r.state == NotSent || r.state == Unknown)
	if int(r.batch) != o.Batch && !earlier {
		return errStray
	}
	if r.state != Verified { // proof stands above a reply
		to := Refused
		if o.OK {
			to = Accepted
		}
		if r.late = r.state != Sending; r.late {
			l.late++
		}
		l.move(at, to)
	}
	r.replied, r.stamp, r.delay, r.code = unixNano(o.Time), unixNano(o.Stamp), o.Delay, int32(o.Code)
	r.reason = l.intern(o.Reason)
	return nil
}

// applyProof reports whether the finding changed the node's state.
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
	case p.Found != Acted && p.Found != Unproved:
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

func (l *ledger) applyRunEnd(r *Record) error {
	if r.End == nil {
		return errors.New("a run-end record without its body")
	}
	l.settle()
	l.ended, l.ignored = r.Time, r.End.Ignored
	if l.counts != r.End.States {
		return fmt.Errorf("the run ended with other counts than its records give: %v, not %v", r.End.States.n, l.counts.n)
	}
	return nil
}

// intern keeps one copy of each reason: thousands of nodes say the same.
func (l *ledger) intern(s string) string {
	if s == "" {
		return ""
	}
	if kept, ok := l.reasons[s]; ok {
		return kept
	}
	if len(l.reasons) < 1000 {
		l.reasons[s] = s
	}
	return s
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
