package proof

import (
	"time"

	"fleetctl/batch"
)

// event looks at the start of a node: it may be a proof, or a reason to look at once. One that is not later than what
// is known of the node's past is stale. Repeated ones do no harm.
func (l *loop) event(e startup) {
	w, ok := l.nodes[e.node]
	if !ok {
		if e.provisioning && l.v.o.Action != Expression && len(l.early) < maxEarly {
			l.early[e.node] = e
		}
		return
	}
	// A start from before the request had left for certain may be the work of others, unless the node had replied by then.
	early := e.arrived.Before(w.sent) || w.stamp == 0 && e.arrived.Before(w.left)
	if early || l.v.byStamp(w.past, e.at) == before || w.byClock(e.at) == before || w.base > 0 && e.at <= w.base {
		return
	}
	if e.provisioning && l.v.o.Action != Update { // an updated node stays in provisioning mode
		known := w.entered > 0
		w.entered = e.at
		switch {
		case l.v.o.Action == Reprovision && l.v.o.Expr == nil:
			w.sees = unseen
			l.end(w, batch.Acted)
		case l.v.o.Action == Restart && !w.replied && !known: // reported even when the node was reported before
			w.reported = true
			l.yieldProof(batch.Proof{Node: w.node, Found: batch.Unproved, Time: time.Now(), Reason: l.v.unproved(w, l.stopEvents == nil)})
		}
		return
	}
	look := max(e.arrived.Sub(l.base), 0)
	if w.asked != never {
		look = max(look, w.asked+firstPause)
	}
	if look = coarse(look); look < w.next {
		w.next, w.pause = look, firstPause
		l.fix(w)
	}
}
