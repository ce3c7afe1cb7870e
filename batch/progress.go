package batch

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Progress is the account of a run: where every node is. It is a handle: copies
// share the account, and Runner.Run takes it over. Not safe for concurrent use.
type Progress struct{ l *ledger }

// Begin is the progress of a run that has not begun. Its error says what is
// wrong with a plan that NewPlan did not make.
func Begin(h Header, plan Plan) (Progress, error) {
	l, err := newLedger(Beginning{Header: h, Plan: &plan})
	if err != nil {
		return Progress{}, fmt.Errorf("cannot run this plan: %w", err)
	}
	return Progress{l}, nil
}

// Replay rebuilds the progress of a run whose process has ended from its journal: nodes
// that were sending are unknown, planned ones not-sent. Errors are those of
// lines, ErrNoPlan, or a *RecordError for a line that contradicts the others.
func Replay(lines iter.Seq2[[]byte, error]) (Progress, error) {
	p, err := Follow(lines)
	if err == nil {
		p.l.settle()
		p.l.commit()
	}
	return p, err
}

// Follow is Replay for a run whose process is alive: states stay as recorded.
func Follow(lines iter.Seq2[[]byte, error]) (Progress, error) {
	var f Follower
	for r, err := range Records(lines) {
		if err == nil {
			err = f.take(&r)
		}
		if err != nil {
			return Progress{}, err
		}
	}
	return f.Progress()
}

// Finished reports whether a journal's last line shows that the run ended and
// that a resume would find nothing to do.
func Finished(lastLine []byte) bool {
	var r struct {
		Kind Kind    `json:"k"`
		End  *Ending `json:"end"`
	}
	return json.Unmarshal(lastLine, &r) == nil && r.Kind == KindRunEnd && r.End != nil && r.End.Open == 0
}

// MarkLagging reports that the record may lack requests that were really sent: a retry then sends to no node before it is
// known that nothing reached it.
func (p Progress) MarkLagging() { p.l.begin.Lagging = true }

// Header returns the caller's description of the run.
func (p Progress) Header() Header { return p.l.begin.Header }

// Plan returns the plan as it was made; batches that came later, as all those of
// a pool, are in the Summary.
func (p Progress) Plan() Plan { return *p.l.begin.Plan }

// Rules returns the stop rules of the last start or resume.
func (p Progress) Rules() Rules { return p.l.begin.Rules }

// Pace returns the pace of the last start or resume.
func (p Progress) Pace() Pace { return p.l.begin.Pace }

// Gates returns the gates of the last start or resume.
func (p Progress) Gates() Gates { return p.l.begin.Gates }

// Counts returns how many nodes are in each state.
func (p Progress) Counts() Counts { return p.l.counts.all }

// Final is how many nodes need no more waiting: of a silent one, the reply timeout
// is over.
func (p Progress) Final() int {
	l := p.l
	c := &l.counts
	return len(l.rows) - c.Of(Planned) - c.Of(NotSent) + c.skipped - c.Of(Sending) - c.Of(Unknown) - l.unproved()
}

// Batches returns how many batches there are, requeued ones included.
func (p Progress) Batches() int { return len(p.l.batches) }

// Open is the number of nodes that a resume would work on: those never sent to,
// those unknown that can be probed, and those accepted whose proof was not
// waited for.
func (p Progress) Open() int { return p.l.open() }

// Remaining is what a resume would send to: the nodes never sent to, in their
// batches. Its notes name the nodes that the resume looks at first. Its sizes are
// numbers, because shares are of the whole plan; a ramp begins where the run was.
func (p Progress) Remaining() Plan {
	l := p.l
	rest := Plan{Policy: l.begin.Plan.Policy}
	rest.Policy.Sizes = l.sizesLeft()
	note := func(n int, what string) {
		if n > 0 {
			rest.Notes = append(rest.Notes, fmt.Sprintf("first, without sending anything: %d %s", n, what))
		}
	}
	note(l.unproved(), "accepted, to be verified")
	note(l.counts.Of(Sending)+l.probeable(), "unknown, to be probed; a node that is proved untouched is sent to as well")
	unsent := func(r *row) bool { return r.state == Planned || r.state == NotSent && !r.skipped }
	for i := range l.batches {
		b := &l.batches[i]
		left := b.Batch
		left.Nodes = nil
		for _, at := range b.rows {
			if unsent(&l.rows[at]) {
				left.Nodes = append(left.Nodes, l.rows[at].identity)
			}
		}
		if len(left.Nodes) > 0 && (b.Canary || !rest.Policy.Rolling) {
			rest.Batches = append(rest.Batches, left)
		}
	}
	if rest.Policy.Rolling {
		rest.Version = planVersion
		for i := range l.rows {
			if r := &l.rows[i]; unsent(r) && !l.isCanary(int32(i)) {
				rest.Pool = append(rest.Pool, r.identity)
			}
		}
	} else if len(rest.Policy.MaxPer) > 0 {
		rest.CapRounds = len(rest.Batches) // each batch keeps the caps
	}
	if all := l.begin.Plan.Facts; len(all) > 0 {
		rest.Facts = make(map[string][]string, len(all))
		for _, name := range rest.Names() {
			for fact, value := range l.facts(l.index[name]) {
				rest.Facts[fact] = append(rest.Facts[fact], value)
			}
		}
	}
	return rest
}

// sizesLeft are the sizes of the plan as numbers of nodes; those of a window from its step on.
func (l *ledger) sizesLeft() Sizes {
	policy, set, first := l.begin.Plan.Policy, len(l.rows), 0
	if policy.Rolling {
		first = policy.rampStep(set, l.rampProofs())
	}
	var left Sizes
	for i := first; i < len(policy.Sizes); i++ {
		left = append(left, Number(policy.Sizes.At(i, set)))
	}
	return left
}

// Results yields the nodes in the order of the plan.
func (p Progress) Results() iter.Seq[Result] {
	return func(yield func(Result) bool) {
		for at := range p.l.rows {
			if !yield(p.l.result(int32(at))) {
				return
			}
		}
	}
}

// State is a node's state; unset for a node that is not planned.
func (p Progress) State(node string) State {
	at, ok := p.l.index[node]
	if !ok {
		return 0
	}
	return p.l.rows[at].state
}

// Result is what is known of a node; zero for one that is not planned.
func (p Progress) Result(node string) Result {
	at, ok := p.l.index[node]
	if !ok {
		return Result{}
	}
	return p.l.result(at)
}

// Reached returns the request that may have acted on a node, of this run or of an earlier one of its chain. It reports false
// when there is none: nothing was sent, it reached nothing, it was refused, or it is proved that it never acted.
func (p Progress) Reached(node string) (Target, bool) {
	at, ok := p.l.index[node]
	if !ok || !p.l.reached(at) {
		return Target{}, false
	}
	return p.l.target(at), true
}

// InBatch yields the nodes that are in a batch now, with their states; batches count from 1.
func (p Progress) InBatch(number int) iter.Seq2[string, State] {
	return func(yield func(string, State) bool) {
		for _, at := range p.l.batches[number-1].rows {
			if r := &p.l.rows[at]; !yield(r.identity, r.state) {
				return
			}
		}
	}
}

// Held returns until when no batch begins, because of Pace.Within; zero when nothing is held back.
func (p Progress) Held() time.Time {
	if !p.l.ended.IsZero() {
		return time.Time{}
	}
	return p.l.held
}

// Summary is the result of the run, so far.
func (p Progress) Summary() Summary {
	l := p.l
	s := Summary{Run: l.begin.Header.Run, Parent: l.begin.Header.Parent, Nodes: len(l.rows), States: l.counts.all,
		Stop: l.stop(), Verdict: l.verdict(), Reason: l.reason(), Started: l.started, Ended: l.ended, Resumes: l.resumes,
		Late: l.late, Ignored: l.ignored, Open: l.open(), Unproved: l.unproved(), Paused: p.Paused(), Held: p.Held(), Gates: l.gates, Rolling: l.begin.Plan.Policy.Rolling, progress: p,
		Batches: make([]BatchResult, len(l.batches))}
	for i := range l.batches {
		s.Batches[i] = p.Batch(i + 1)
	}
	return s
}

// Batch is the result of one batch, so far; batches count from 1.
func (p Progress) Batch(number int) BatchResult {
	b := &p.l.batches[number-1]
	return BatchResult{Batch: b.Number, Nodes: b.counts.all.Total(), Canary: b.Canary, Reason: b.Batch.Reason,
		Request: b.request, States: b.counts.all, Sent: b.sent, Replies: b.replies, Ended: b.ended}
}

func (l *ledger) unproved() int {
	if l.begin.Proved {
		return l.counts.Of(Accepted)
	}
	return 0
}

// probeable is how many unknown nodes a resume can find out more about.
func (l *ledger) probeable() int {
	n := l.counts.Of(Unknown)
	if n == 0 {
		return 0
	}
	for at := range l.rows {
		if l.stuck(int32(at)) {
			n--
		}
	}
	return n
}

func (l *ledger) open() int {
	return l.counts.Of(Planned) + l.counts.Of(Sending) + l.counts.Of(NotSent) - l.counts.skipped + l.probeable() + l.unproved()
}

// reason is one line for the operator: why the run has its verdict; "" when the
// counts are enough.
func (l *ledger) reason() string {
	if s := l.stop(); s.Reason != "" {
		return s.Reason
	}
	if n := l.counts.waived; n > 0 {
		return fmt.Sprintf("%s could not be asked for proof: the connection was lost", nodeCount(n))
	}
	return ""
}

// stop is the stop that names the end: a fault, else a signal, else the first.
func (l *ledger) stop() Stop {
	for _, kind := range []StopKind{StopFault, StopSignal} {
		for _, s := range l.stops {
			if s.Kind == kind {
				return s
			}
		}
	}
	if len(l.stops) > 0 {
		return l.stops[0]
	}
	return Stop{}
}

// verdict classes the counts and stops; the order of the cases is the contract.
func (l *ledger) verdict() Verdict {
	switch c := &l.counts.all; {
	case l.stop().Kind == StopFault:
		return Fault
	case l.stop().Kind == StopSignal:
		return Interrupted
	case c.Of(Planned)+c.Of(NotSent) > l.leftOut+l.counts.skipped:
		return Stopped
	case c.Of(Sending)+c.Of(Unknown)+l.unproved() > 0:
		return Uncertain
	case c.Failed() > 0:
		return Failed
	case c.Of(NoReply)+c.Of(Absent)+l.leftOut > 0:
		return Silent
	}
	return Done
}

// Retry plans a new run for the nodes of an earlier one that are in the given
// states. Attempts that may have reached their nodes, of that run or of one
// before it, become Doubts: these nodes are probed first. describe gives the facts that the policy needs; nil
// takes those that the plan has.
func Retry(from Progress, which []State, p Policy, describe func(identity string) Node) (Plan, error) {
	var wanted [stateEnd]bool
	for _, s := range which {
		switch s {
		case NotSent, Planned, Refused, Absent, NoReply, Unverified, Unknown:
			wanted[s] = true
		default:
			return Plan{}, fmt.Errorf("cannot retry nodes that are %s", s)
		}
	}
	l := from.l
	kept := map[string]bool{} // that went last, and still do
	if recorded := l.begin.Plan; p.LastIf == "" || p.LastIf == recorded.Policy.LastIf {
		p.LastIf = recorded.Policy.LastIf
		for _, name := range recorded.Last {
			kept[name] = true
		}
	}
	var nodes []Node
	var doubts []Target
	for at := range l.rows {
		r := &l.rows[at]
		if !wanted[r.state] {
			continue
		}
		n := Node{Identity: r.identity}
		switch {
		case describe == nil:
			n.Facts = l.facts(int32(at))
		default:
			n = describe(r.identity)
			n.Identity = r.identity
		}
		n.Last = n.Last || kept[n.Identity]
		nodes = append(nodes, n)
		switch {
		case l.reached(int32(at)):
			doubts = append(doubts, l.target(int32(at)))
		case r.barred, l.begin.Lagging: // a request that the record lacks may have reached it
			doubts = append(doubts, Target{Node: r.identity})
		}
	}
	if len(nodes) == 0 {
		return Plan{}, ErrNoNodes
	}
	plan, err := NewPlan(nodes, p)
	plan.Doubts = doubts
	return plan, err
}

// facts are the values that the plan has of a node.
func (l *ledger) facts(at int32) map[string]string {
	all := l.begin.Plan.Facts
	if len(all) == 0 {
		return nil
	}
	of := make(map[string]string, len(all))
	for fact, values := range all {
		of[fact] = values[at]
	}
	return of
}

// ErrNoNodes is returned when there is no node to plan for.
var ErrNoNodes = errors.New("cannot plan: no nodes")
