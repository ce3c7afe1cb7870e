package world

import (
	"time"

	"fleetctl/batch"
)

// The judge of who is sent to when: nodes that go last, and young ones that are left out.

// grown is how old a process is at least that has answered the question before its batch, whichever try that was.
const grown = 40 * time.Second

// judgeOrder: nodes that go last are begun when no other is left to begin, and of a window none is in flight; a node that
// answered, and is too young, gets nothing.
func (w *world) judgeOrder(r *run, before batch.Progress, i *intent) {
	limit, last := before.Rules().NotSince, false
	for _, name := range i.list {
		n := w.named[name]
		last = last || n.traits.last && before.Plan().Policy.LastIf != ""
		if age := time.Since(n.began); i.based[name] && n.up && n.steps == 0 && age > grown && age < limit-5*time.Second {
			w.violated("run %s: %s is sent to %v after its start, and the limit is %v", r.id, name, age, limit)
		}
	}
	if !last {
		return
	}
	w.saw("last: begun")
	for res := range before.Results() {
		if w.named[res.Identity].traits.last || i.nodes[res.Identity] {
			continue
		}
		flies := res.State == batch.Sending || res.State == batch.Accepted && !r.unasked[res.Identity] // else it has no slot
		if res.State == batch.Planned || flies && before.Plan().Rolls() {
			w.violated("run %s: nodes that go last are begun, and %s is %s", r.id, res.Identity, res.State)
		}
	}
}

// judgeSkipped: only a young node is left out.
func (w *world) judgeSkipped(t *tape, r batch.Record) {
	w.logf("run     %s: left out of batch %d: %v, %s", t.run.id, r.Batch, r.Nodes, r.Reason)
	w.saw("skipped")
	before, err := batch.Follow(all(t.lines))
	if err != nil {
		return // the intents say so
	}
	for _, name := range r.Nodes {
		n := w.named[name]
		if !w.woke.IsZero() && time.Since(w.woke) < 10*time.Second || t.p != nil && !t.p.c.back.IsZero() && time.Since(t.p.c.back) < 45*time.Second {
			continue // it was asked before the machine slept, or while others were waited for to be connected again
		}
		if age, limit := time.Since(n.began), before.Rules().NotSince; n.steps == 0 && age > limit+10*time.Second {
			w.violated("run %s: %s is left out %v after its start, and the limit is %v", t.run.id, name, age, limit)
		}
	}
}

// skipped counts the nodes that a run has left out.
func skipped(r *run) int {
	out := map[string]bool{}
	for rec, err := range batch.Records(r.tape.all()) {
		if err == nil && rec.Kind == batch.KindSkipped {
			for _, name := range rec.Nodes {
				out[name] = true
			}
		}
	}
	return len(out)
}
