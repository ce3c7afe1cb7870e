package batch

import (
	"errors"
	"fmt"
	"slices"
)

// applyProbed: nodes that a request of the chain may have reached were looked at.
func (l *ledger) applyProbed(proofs []Proof) error {
	for i := range proofs {
		p := &proofs[i]
		at, ok := l.index[p.Node]
		if !ok {
			return fmt.Errorf("probe of node %q, which is not planned", p.Node)
		}
		if !l.doubtful(at) {
			return fmt.Errorf("probe of node %q, which is %s", p.Node, l.rows[at].state)
		}
		r := &l.rows[at]
		r.reason = l.intern(p.Reason)
		switch p.Found {
		case Acted:
			r.proved = unixNano(p.Time)
			l.move(at, Verified)
		case Unproved:
			l.move(at, Unknown)
		case Untouched:
			l.disprove(at)
		default:
			return fmt.Errorf("probe of node %q found %s", p.Node, p.Found)
		}
	}
	return nil
}

// doubtful reports whether a node waits for the answer to whether a request of
// the chain reached it.
func (l *ledger) doubtful(at int32) bool {
	r := &l.rows[at]
	return r.state == Unknown || r.state == Planned && (r.barred || l.reached(at))
}

// stuck reports whether nothing more can be found out about an unknown node: no
// request to it is known, or it is barred.
func (l *ledger) stuck(at int32) bool {
	r := &l.rows[at]
	return r.state == Unknown && r.barred && !l.reached(at)
}

// applyRequeued: nodes that nothing reached become a new batch, or (0) go back to
// the pool.
func (l *ledger) applyRequeued(r *Record) error {
	pool := r.Batch == 0 && l.begin.Plan.Policy.Rolling
	if !pool && r.Batch != len(l.batches)+1 || len(r.Nodes) == 0 {
		return fmt.Errorf("requeued batch %d of %d nodes, after batch %d", r.Batch, len(r.Nodes), len(l.batches))
	}
	canary := !pool
	for _, name := range r.Nodes {
		at, ok := l.index[name]
		if !ok || !l.rows[at].requeues() || l.rows[at].barred || l.reached(at) {
			return fmt.Errorf("requeued node %q is not one that nothing reached", name)
		}
		canary = canary && l.isCanary(at)
	}
	if !pool {
		l.addBatch(Batch{Number: r.Batch, Nodes: r.Nodes, Canary: canary, Reason: r.Reason})
	}
	for _, name := range r.Nodes {
		l.move(l.index[name], Planned)
	}
	return l.transfer(r.Nodes, r.Batch)
}

// requeues reports whether a node in this state can be one that nothing reached. A planned one was withdrawn.
func (r *row) requeues() bool { return r.state == Unknown || r.state == Absent || r.state == Planned }

// addBatch adds a batch; its nodes are still where they were.
func (l *ledger) addBatch(b Batch) {
	b.Nodes, b.Reason = nil, l.intern(b.Reason) // its rows are its nodes
	l.batches = append(l.batches, batchRow{Batch: b})
	if b.Canary {
		l.canaries = append(l.canaries, b.Number)
	}
}

// isCanary reports whether a node is in a batch of canaries.
func (l *ledger) isCanary(at int32) bool {
	b := l.rows[at].batch
	return b > 0 && l.batches[b-1].Canary
}

// unsend takes back to the pool the nodes that its batches were not sent to.
func (l *ledger) unsend() error {
	if !l.begin.Plan.Policy.Rolling || l.counts.Of(Planned) == l.pool.Of(Planned) {
		return nil
	}
	var names []string
	for i := range l.rows {
		if r := &l.rows[i]; r.state == Planned && r.batch > 0 && !l.isCanary(int32(i)) {
			names = append(names, r.identity)
		}
	}
	return l.transfer(names, 0)
}

// applyReplaced: planned nodes join a canary batch, or become one, in place of
// nodes that are absent.
func (l *ledger) applyReplaced(r *Record) error {
	if r.Batch < 1 || r.Batch > len(l.batches)+1 || len(r.Nodes) == 0 {
		return fmt.Errorf("%d nodes replace canaries of batch %d, and there are %d batches", len(r.Nodes), r.Batch, len(l.batches))
	}
	for _, name := range r.Nodes {
		if at, ok := l.index[name]; !ok || l.rows[at].state != Planned {
			return fmt.Errorf("node %q cannot replace a canary: it is not planned", name)
		}
	}
	if r.Batch > len(l.batches) {
		l.addBatch(Batch{Number: r.Batch, Nodes: r.Nodes, Canary: true, Reason: r.Reason})
	}
	l.replaced++
	return l.transfer(r.Nodes, r.Batch)
}

// transfer moves nodes to another batch, or (0) to the pool.
func (l *ledger) transfer(names []string, batch int) error {
	left := map[int32]bool{} // the batches that they leave
	if batch > 0 {
		l.batches[batch-1].rows = slices.Grow(l.batches[batch-1].rows, len(names))
	}
	for _, name := range names {
		at := l.index[name]
		r := &l.rows[at]
		if batch == 0 && r.batch == 0 {
			continue // a node of a retry that was never sent to in this run
		}
		if int(r.batch) == batch {
			return fmt.Errorf("node %q is in batch %d already", name, batch)
		}
		l.touch(at, 0)
		l.countsOf(r.batch).count(r, -1)
		if left[r.batch] = true; batch > 0 {
			l.batches[batch-1].rows = append(l.batches[batch-1].rows, at)
		}
		r.batch = int32(batch)
		l.countsOf(r.batch).count(r, 1)
	}
	for from := range left {
		if from > 0 {
			b := &l.batches[from-1]
			b.rows = slices.DeleteFunc(slices.Clone(b.rows), func(at int32) bool { return l.rows[at].batch != from })
		}
	}
	return nil
}

// leaveOut adds nodes that are not sent to on purpose.
func (l *ledger) leaveOut(out LeftOut) error {
	for _, name := range out.Nodes {
		if err := l.plan(name, 0); err != nil {
			return err
		}
		at := int32(len(l.rows) - 1)
		l.recount(at, func() { l.rows[at].state, l.rows[at].fresh, l.rows[at].skipped = NotSent, true, true })
		l.rows[at].reason = l.intern(out.Reason)
	}
	return nil
}

// applySkipped: planned nodes are not sent to after all.
func (l *ledger) applySkipped(r *Record, to State) error {
	for _, name := range r.Nodes {
		at, ok := l.index[name]
		if !ok || int(l.rows[at].batch) != r.Batch || l.rows[at].state != Planned {
			return fmt.Errorf("%s node %q is not planned in batch %d", r.Kind, name, r.Batch)
		}
		l.rows[at].reason = l.intern(r.Reason)
		l.rows[at].barred = l.rows[at].barred || r.Kind == KindRestarted
		delete(l.baselines, at)
		l.move(at, to)
		if r.Kind == KindSkipped {
			l.recount(at, func() { l.rows[at].skipped = true })
		}
	}
	return nil
}

func (l *ledger) applyRunEnd(r *Record) error {
	if r.End == nil {
		return errors.New("a run-end record without its body")
	}
	l.settle()
	l.ended, l.ignored = r.Time, r.End.Ignored
	if l.counts.all != r.End.States {
		return fmt.Errorf("the run ended with other counts than its records give: %v, not %v", r.End.States.n, l.counts.all.n)
	}
	return nil
}
