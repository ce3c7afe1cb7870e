package proof

import "fleetctl/batch"

// The proof of a shutdown: the node has left the broker, and stays away. A frozen server does not leave: the broker
// keeps its subscription for minutes, so that it is silent, and not absent, while we look.

// absent takes the broker's report that a poll reached no subscriber. It changes no state by itself.
func (l *loop) absent(w *watched, asked moment) {
	if asked < w.heard { // it has answered a later poll
		return
	}
	if w.unsent = false; w.gone == never {
		w.gone = asked
	}
	if w.goneLast = max(w.goneLast, asked); l.v.o.Action == Shutdown {
		l.down(w)
	}
	l.reportSilent(w)
}

// broken ends a row of absences when the poll before this one did not find the node absent.
func (w *watched) broken() {
	if w.gone != never && w.goneLast < w.asked {
		w.gone = never
	}
}

// down answers for a node that was absent at every look for the settle time after its delay, or plans when to look.
func (l *loop) down(w *watched) {
	since := max(w.gone, w.due)
	switch {
	case !l.mayBeDown(w):
	case w.goneLast >= since+l.v.o.Settle:
		l.end(w, batch.Acted)
	default:
		if next := grid(max(w.goneLast+firstPause, since+l.v.o.Settle)); next < w.next {
			w.next = next
			l.fix(w)
		}
	}
}

// mayBeDown reports whether the absence of a node can prove its shutdown: on the connection on which it was known to be
// there, since a frozen server does not come back to a broker that was restarted, or that it no longer shares with us. One
// that did not accept must also have been gone before a frozen one could be.
func (l *loop) mayBeDown(w *watched) bool {
	switch {
	case w.gone == never || w.gone > w.due+l.v.o.Timeout+window: // of the act, also in a resume: a frozen node is absent at last
		return false
	case !w.sent.IsZero() && batch.Longest(w.sent, l.base.Add(w.gone)) > keptFor: // however long proof is looked for
		return false
	case !l.sameLink(w):
		return false
	case w.replied:
		return true
	}
	return w.base > 0 && batch.Longest(w.sent, l.base.Add(w.gone)) <= promptAbsence
}

// sameLink reports whether our connection has stood since the node was last known to be on it, as far as this process and the
// record of earlier ones know.
func (l *loop) sameLink(w *watched) bool {
	at, down := l.v.o.Client.Reconnected()
	return !down && (at.IsZero() || at.Before(w.linked)) && (w.lost.IsZero() || w.lost.Before(w.linked))
}

// overDown reports whether a node that was to shut down is to be asked no more.
func (l *loop) overDown(w *watched, now moment) (bool, batch.Finding) {
	if l.silenceCounts {
		if w.settled(now, l.v.o.Settle, l.answerTime()) {
			return true, batch.Acted
		}
		return now >= w.deadline && (w.quiet == never || w.since > w.deadline || !w.replied), l.failed(w)
	}
	// A proof that has begun in time may settle past it, but not forever on a connection that comes and goes.
	late := now >= w.deadline+2*l.v.o.Settle+linkSettle
	switch {
	case now < w.deadline || l.mayBeDown(w) && !w.unsent && !late:
		return false, 0
	case w.last || w.unsent || late:
		return true, l.failed(w)
	}
	w.last = true
	return false, 0
}

// learn asks once whether the broker reports absent nodes. If it does not, silence is the proof.
func (l *loop) learn() {
	if l.v.o.Action != Shutdown || l.learned {
		return
	}
	reports, err := l.v.o.Client.ReportsAbsence(l.ctx, l.v.o.Collective)
	if err == nil {
		l.learned, l.silenceCounts = true, !reports
	}
}
