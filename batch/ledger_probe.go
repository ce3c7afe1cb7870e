package batch

import "fmt"

func (l *ledger) applyProbed(proofs []Proof) error {
	for i := range proofs {
		p := &proofs[i]
		at, ok := l.index[p.Node]
		if !ok {
			return fmt.Errorf("probe of node %q, which is not planned", p.Node)
		}
		r := &l.rows[at]
		if r.state != Unknown && (r.state != Planned || r.doubt == 0) {
			return fmt.Errorf("probe of node %q, which is %s", p.Node, r.state)
		}
		r.reason = l.intern(p.Reason)
		switch p.Found {
		case Acted:
			r.proved = unixNano(p.Time)
			l.move(at, Verified)
		case Unproved:
			l.move(at, Unknown)
		case Untouched:
			r.doubt = 0
		default:
			return fmt.Errorf("probe of node %q found %s", p.Node, p.Found)
		}
	}
	return nil
}

func (l *ledger) applyRequeued(r *Record) error {
	if r.Batch != len(l.batches)+1 || len(r.Nodes) == 0 {
		return fmt.Errorf("requeued batch %d of %d nodes, after batch %d", r.Batch, len(r.Nodes), len(l.batches))
	}
	b := batchRow{Batch: Batch{Number: r.Batch, Nodes: r.Nodes, Reason: r.Reason}}
	canary := true
	l.batches = append(l.batches, b)
	for _, name := range r.Nodes {
		at, ok := l.index[name]
		if !ok || l.rows[at].state != Unknown || l.rows[at].doubt != 0 {
			return fmt.Errorf("requeued node %q is not an unknown one proved untouched", name)
		}
		n := &l.rows[at]
		canary = canary && l.batches[n.batch-1].Canary
		l.move(at, Planned)
		l.batches[n.batch-1].counts.move(Planned, 0)
		n.was, n.batch, n.baseline = n.batch, int32(r.Batch), ""
		l.batches[r.Batch-1].counts.move(0, Planned)
		l.batches[r.Batch-1].rows = append(l.batches[r.Batch-1].rows, at)
	}
	l.batches[r.Batch-1].Canary = canary
	return nil
}
