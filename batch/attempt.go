package batch

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// attempt is one request to one node: all that is known of a node is its list of
// attempts, those of earlier runs of the chain included. At most one of them may
// have reached the node, whatever happens: that is the promise. Times are Unix
// nanoseconds, 0 for none.
type attempt struct {
	baseline       string
	replied, stamp int64
	delay          time.Duration
	send           int32 // index into ledger.sends; below 0: -(index + 1) into Plan.Doubts
	prev           int32 // the node's attempt before, index + 1; 0: none
	row            int32 // the node
	code           int32
	reach          reach
}

// sending is one intent: what its attempts have in common.
type sending struct {
	batch   int32
	at      int64 // of the intent
	left    int64 // when it was flushed, where that was long after the intent
	request string
	// uncertain: the connection was lost meanwhile, so that it may not have left.
	uncertain bool
}

// reach is whether an attempt reached its node, as far as that is known.
type reach uint8

const (
	fateOpen      reach = iota // it may have reached the node, or still may
	fateWithdrawn              // it never left
	fateDisproved              // it reached nothing, or a probe proved the node untouched
	fateRefused                // the node refused it, and does not act
	fateAccepted               // the node accepted it
)

// mayAct reports whether the node may act, or have acted, on the attempt.
func (f reach) mayAct() bool { return f == fateOpen || f == fateAccepted }

// fateWeights orders attempts by how much they show about their node.
var fateWeights = [...]uint8{fateAccepted: 4, fateOpen: 3, fateRefused: 2, fateDisproved: 1, fateWithdrawn: 0}

// errDuplicate and errStray mark a reply that changes nothing.
var (
	errDuplicate = errors.New("the node has replied already")
	errStray     = errors.New("no request to this node is open")
)

// doubt adds the attempt of an earlier run. One that is known by name alone
// bars the node: there is nothing that a probe could compare.
func (l *ledger) doubt(at int32, number int, d Target) {
	if d.Sent.IsZero() {
		l.rows[at].barred = true
		return
	}
	a := attempt{baseline: d.Baseline, replied: unixNano(d.Replied), stamp: unixNano(d.Stamp), delay: d.Delay, send: int32(-number - 1)}
	if a.replied != 0 {
		a.reach = fateAccepted
	}
	l.add(at, a)
}

// add appends an attempt to a node's list.
func (l *ledger) add(at int32, a attempt) {
	l.touch(at, 0)
	a.prev, a.row = l.rows[at].last, at
	l.attempts = append(l.attempts, a)
	l.rows[at].last = int32(len(l.attempts))
}

// ruling is the attempt that a node is judged by: the one that it accepted, else
// the one that may have reached it, else the latest of those that show most. It
// is an index + 1 into attempts, 0 for a node without any.
func (l *ledger) ruling(at int32) int32 {
	best := l.rows[at].last
	for i := best; i > 0; i = l.attempts[i-1].prev {
		if fateWeights[l.attempts[i-1].reach] > fateWeights[l.attempts[best-1].reach] {
			best = i
		}
	}
	return best
}

// reached reports whether a request of the chain may have reached the node, so
// that it must not get another one.
func (l *ledger) reached(at int32) bool {
	i := l.ruling(at)
	return i > 0 && l.attempts[i-1].reach.mayAct()
}

// perhapsSent reports whether the request that a silent node is judged by may not have left.
func (l *ledger) perhapsSent(at int32) bool {
	i := l.ruling(at)
	if i == 0 {
		return false
	}
	a := &l.attempts[i-1]
	return a.reach == fateOpen && a.send >= 0 && l.sends[a.send].uncertain
}

// settle is what the end of a process means for the nodes.
func (l *ledger) settle() {
	l.moveAll(0, Sending, Unknown)
	l.moveAll(0, Planned, NotSent)
	if !l.doubted {
		return
	}
	for at := range l.rows {
		if l.rows[at].state == NoReply && l.perhapsSent(int32(at)) {
			l.move(int32(at), Unknown)
		}
	}
}

// ofBatch is the node's latest attempt with a batch of this run, 0 for none.
func (l *ledger) ofBatch(at int32, batch int) int32 {
	for i := l.rows[at].last; i > 0; i = l.attempts[i-1].prev {
		if a := &l.attempts[i-1]; a.send >= 0 && int(l.sends[a.send].batch) == batch {
			return i
		}
	}
	return 0
}

// seal sets the reach of an attempt.
func (l *ledger) seal(at, i int32, f reach) {
	l.touch(at, i)
	l.attempts[i-1].reach = f
}

// disprove reports that no request of the chain ever reached the node.
func (l *ledger) disprove(at int32) {
	for i := l.rows[at].last; i > 0; i = l.attempts[i-1].prev {
		if l.attempts[i-1].reach.mayAct() {
			l.seal(at, i, fateDisproved)
		}
	}
}

// applyOutcome returns errDuplicate or errStray for a reply that changes nothing.
// A valid reply stands above everything but a proof: it counts when its attempt
// seemed to have reached nothing, and when a later attempt is on its way.
func (l *ledger) applyOutcome(o *Outcome) error {
	at, ok := l.index[o.Node]
	if !ok {
		return errStray
	}
	i := l.ofBatch(at, o.Batch)
	if i == 0 {
		return errStray
	}
	a := &l.attempts[i-1]
	if a.replied != 0 {
		return errDuplicate
	}
	if o.Absent {
		return l.applyAbsence(at, i, o)
	}
	to, f := Refused, fateRefused
	if o.OK {
		to, f = Accepted, fateAccepted
	}
	// A refusal decides nothing while another attempt may make the node act.
	before := l.ruling(at)
	l.seal(at, i, f)
	a.replied, a.stamp, a.delay, a.code = unixNano(o.Time), unixNano(o.Stamp), o.Delay, int32(o.Code)
	r := &l.rows[at]
	if r.state == Verified || !o.OK && before != i && l.attempts[before-1].reach.mayAct() {
		return nil
	}
	if r.state != to && r.state != Sending && (r.state != Absent || !l.batches[o.Batch-1].replies.IsZero()) {
		r.late = true
		l.late++
	}
	l.move(at, to)
	r.reason = l.intern(o.Reason)
	return nil
}

// applyAbsence: the broker knew no subscriber for the node when the attempt was
// published, so that it reached nothing.
func (l *ledger) applyAbsence(at, i int32, o *Outcome) error {
	r := &l.rows[at]
	if l.attempts[i-1].reach != fateOpen || i != l.ruling(at) || r.state != Sending && r.state != NoReply {
		return errStray
	}
	l.seal(at, i, fateDisproved)
	l.move(at, Absent)
	r.reason = l.intern(o.Reason)
	return nil
}

func (l *ledger) applyIntent(r *Record) error {
	if r.Batch > len(l.batches) {
		if err := l.leavePool(r); err != nil {
			return err
		}
	}
	b := &l.batches[r.Batch-1]
	b.sent, b.request, b.replies, b.ended = r.Time, r.Request, time.Time{}, time.Time{}
	l.sends = append(l.sends, sending{batch: int32(r.Batch), at: unixNano(r.Time), request: r.Request})
	rows := b.rows
	if r.Nodes != nil {
		rows = make([]int32, 0, len(r.Nodes))
		for _, name := range r.Nodes {
			at, ok := l.index[name]
			if !ok || int(l.rows[at].batch) != r.Batch {
				return fmt.Errorf("intent for node %q, which is not in batch %d", name, r.Batch)
			}
			rows = append(rows, at)
		}
	}
	l.undo = slices.Grow(l.undo, 2*len(rows))
	for _, at := range rows {
		if !l.sendable(at) {
			return fmt.Errorf("intent for node %q, which is %s and cannot be sent to in batch %d", l.rows[at].identity, l.rows[at].state, r.Batch)
		}
		l.add(at, attempt{baseline: l.baselines[at], send: int32(len(l.sends) - 1)})
		delete(l.baselines, at)
		l.move(at, Sending)
	}
	return nil
}

// quickSend is how long after its intent a batch has left for certain, unless the
// machine slept or what signs was slow.
const quickSend = 10 * time.Second

// applySent: requests of a batch that was flushed long after its intent left at any
// moment in between. What a node did in between may be our work, or not.
func (l *ledger) applySent(r *Record) {
	for i := len(l.sends) - 1; i >= 0; i-- {
		if s := &l.sends[i]; int(s.batch) == r.Batch {
			s.uncertain = r.Uncertain
			l.doubted = l.doubted || r.Uncertain
			if r.Time.Sub(timeOf(s.at)) > quickSend {
				s.left = unixNano(r.Time)
			}
			return
		}
	}
}

// leavePool: nodes of the pool become a batch, as they are sent to.
func (l *ledger) leavePool(r *Record) error {
	if len(r.Nodes) == 0 {
		return fmt.Errorf("intent of batch %d without nodes", r.Batch)
	}
	for _, name := range r.Nodes {
		if at, ok := l.index[name]; !ok || l.rows[at].batch != 0 {
			return fmt.Errorf("intent for node %q, which is not in the pool", name)
		}
	}
	l.addBatch(Batch{Number: r.Batch, Nodes: r.Nodes, Reason: r.Reason})
	return l.transfer(r.Nodes, r.Batch)
}

// sendable reports whether a node may get a request: it is planned, and no
// request of the chain can have reached it.
func (l *ledger) sendable(at int32) bool {
	r := &l.rows[at]
	return r.state == Planned && !r.barred && !l.reached(at)
}

func (l *ledger) applyWithdrawn(r *Record) error {
	for _, name := range r.Nodes {
		at, ok := l.index[name]
		if !ok || int(l.rows[at].batch) != r.Batch || l.rows[at].state != Sending {
			return fmt.Errorf("withdrawn node %q is not being sent in batch %d", name, r.Batch)
		}
		l.seal(at, l.rows[at].last, fateWithdrawn)
		l.move(at, Planned)
	}
	return nil
}

// target is what a Verifier or Prober needs to know of a node.
func (l *ledger) target(at int32) Target {
	t := Target{Node: l.rows[at].identity}
	i := l.ruling(at)
	if i == 0 {
		return t
	}
	a := &l.attempts[i-1]
	if a.send < 0 {
		t = l.begin.Plan.Doubts[-a.send-1]
		t.Lost = l.lostSince(t.Sent, t.Lost)
		return t
	}
	s := &l.sends[a.send]
	t.Batch, t.Baseline, t.Sent, t.Left = int(s.batch), a.baseline, timeOf(s.at), timeOf(s.left)
	t.Replied, t.Stamp, t.Delay = timeOf(a.replied), timeOf(a.stamp), a.delay
	t.Lost = l.lostSince(t.Sent, time.Time{})
	return t
}

// lostSince is when the connection was lost last, if that was after a node's baseline may have been asked; else what earlier
// runs knew of it.
func (l *ledger) lostSince(sent, earlier time.Time) time.Time {
	if lost := timeOf(l.lost); lost.After(sent.Add(-baselineAge)) {
		return lost
	}
	return earlier
}

// baselineAge is how much older than its request a baseline is at most.
const baselineAge = time.Minute

func (l *ledger) result(at int32) Result {
	r := &l.rows[at]
	res := Result{Identity: r.identity, Batch: int(r.batch), State: r.state, Reason: r.reason, Proved: timeOf(r.proved), Late: r.late}
	i := l.ruling(at)
	if i == 0 || l.attempts[i-1].send < 0 { // nothing was sent to it in this run
		return res
	}
	a := &l.attempts[i-1]
	res.Code, res.Baseline, res.Replied, res.Delay = int(a.code), a.baseline, timeOf(a.replied), a.delay
	if a.reach != fateWithdrawn && r.state != Planned && r.state != NotSent {
		res.Sent = timeOf(l.sends[a.send].at)
	}
	return res
}
