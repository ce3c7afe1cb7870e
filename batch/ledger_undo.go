package batch

// The part of the ledger that can take back what is not durable yet.

// undoEntry is what a node was before a change that is not durable yet.
type undoEntry struct {
	replied   int64 // of the attempt
	row, last int32
	attempt   int32 // index + 1; 0: no attempt was changed
	state     State
	reach     reach
	fresh     bool
	waived    bool
	skipped   bool
}

// touch remembers a node, and one of its attempts (index + 1, or 0), as they are.
func (l *ledger) touch(at, i int32) {
	r := &l.rows[at]
	u := undoEntry{row: at, last: r.last, attempt: i, state: r.state, fresh: r.fresh, waived: r.waived, skipped: r.skipped}
	if i > 0 {
		u.replied, u.reach = l.attempts[i-1].replied, l.attempts[i-1].reach
	}
	l.undo = append(l.undo, u)
	if l.touched != nil {
		l.touched = append(l.touched, at)
	}
}

// commit reports that everything so far is durable.
func (l *ledger) commit() { l.undo = l.undo[:0] }

// rollback takes back the changes that could not be recorded, so that the summary
// has the state that the journal has. Requeued nodes keep their new batch.
func (l *ledger) rollback() {
	for i := len(l.undo) - 1; i >= 0; i-- {
		u := l.undo[i]
		r := &l.rows[u.row]
		l.recount(u.row, func() { r.state, r.fresh, r.waived, r.skipped = u.state, u.fresh, u.waived, u.skipped })
		r.last = u.last
		if u.attempt > 0 {
			l.attempts[u.attempt-1].replied, l.attempts[u.attempt-1].reach = u.replied, u.reach
		}
	}
	l.commit()
}

// intern keeps one copy of each reason: thousands of nodes have the same reason.
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
