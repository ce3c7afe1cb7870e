package proof

import (
	"time"

	"fleetctl/batch"
)

// The meaning of no answer.

// noSign reports whether the first look after the time to act shows no sign of the act of a silent target.
func (l *loop) noSign(w *watched) bool {
	if w.replied || w.reported || w.decisive == never || l.nodes[w.node] != w {
		return false
	}
	sign := w.since != never && l.v.o.Action != Shutdown || w.sees == uncertain && w.track.looks < 2 ||
		l.v.o.Action == Shutdown && l.mayBeDown(w) || l.away(w)
	closed := w.heard >= w.decisive || w.goneLast >= w.decisive || l.now() >= w.decisive+l.answerTime()
	return !sign && closed && !l.cutOff(w)
}

// away reports whether a node that answered just before its request has left the broker since, and may be about to start again.
func (l *loop) away(w *watched) bool {
	return l.v.o.Action == Restart && w.base > 0 && w.gone != never && l.now() < w.due+returnTime
}

// reportSilent reports a silent target without a sign of the act as unproved, once: the run need not wait for it. The
// target is still watched.
func (l *loop) reportSilent(w *watched) {
	if !l.noSign(w) {
		return
	}
	w.reported = true
	l.yieldProof(batch.Proof{Node: w.node, Found: batch.Unproved, Time: time.Now(), Reason: l.v.unproved(w, l.stopEvents == nil)})
}

// failed is the finding of a node without a proof: it did not answer, or it could not be asked.
func (l *loop) failed(w *watched) batch.Finding {
	if w.unsent || w.silent() && l.cutOff(w) {
		return batch.Unasked
	}
	return batch.Unproved
}

// cutOff reports whether the connection was down during the last look at a node: the question may not have been sent, and
// servers that were to answer may not have been back.
func (l *loop) cutOff(w *watched) bool {
	at, down := l.v.o.Client.Reconnected()
	return w.asked == never || down || !at.IsZero() && at.Sub(l.base)+linkSettle > w.asked && w.silent()
}
