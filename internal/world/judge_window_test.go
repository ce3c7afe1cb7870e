package world

import (
	"slices"
	"time"

	"fleetctl/batch"
)

// The judge of windows: never more nodes in flight than the window has slots, and never more of one value than --max-per,
// by what the nodes really do.

// intend notes an intent that is not judged.
func (w *world) intend(r *run, rec batch.Record) {
	if rec.Kind == batch.KindIntent {
		w.intents[rec.Request] = &intent{run: r, at: time.Now()}
	}
}

// flies reports whether a node is in flight for a run: it accepted a request of the run, or of one that this retries, and is
// neither back as a new process nor (shutdown) gone, within the time in which the run has to wait for it.
func (w *world) flies(n *node, r *run, planned bool) bool {
	if w.action == "shutdown" && w.mute503 && r.proved[n.name] {
		return false // where the broker reports no absence, silence proves a node that accepted
	}
	for _, p := range n.pledges {
		i := w.intents[p.request]
		if i == nil || i.lost || i.run != r && !(planned && r.descends(i.run)) {
			continue
		}
		over := p.at.Add(p.delay + w.patience.verify)
		if sent := w.sentAt(p.request, n.name).Add(w.patience.silent); sent.Before(over) {
			over = sent
		}
		if w.action == update { // proof is looked for from the sending on
			over = w.sentAt(p.request, n.name).Add(w.patience.verify)
		}
		same := !n.began.After(p.at) // the process that accepted, or none since
		if same && (n.up || w.action != "shutdown") && time.Now().Before(over) {
			return true
		}
	}
	return false
}

// descends reports whether a run retries another, or a retry of it.
func (r *run) descends(from *run) bool {
	for r = r.parent; r != nil; r = r.parent {
		if r == from {
			return true
		}
	}
	return false
}

// sentAt is when a request was published to a node.
func (w *world) sentAt(request, name string) time.Time {
	for _, s := range slices.Backward(w.sends) {
		if s.request == request && s.node == name && !s.failed {
			return s.at
		}
	}
	return time.Time{}
}

// judgeWindow: the nodes of an intent have room beside those in flight. first: it is the first of this process.
func (w *world) judgeWindow(r *run, p batch.Progress, next *intent, number int, first bool) {
	canary := number <= p.Batches() && p.Batch(number).Canary
	if !canary {
		for _, name := range next.list {
			r.order = slices.DeleteFunc(r.order, func(o string) bool { return o == name })
		}
		r.order = append(r.order, next.list...)
	}
	beside, size := w.inFlight(r, p, next.nodes), windowOf(p)
	if beside > len(next.nodes) {
		w.saw("window: sent beside others")
	}
	if beside == size {
		w.saw("window: full")
	}
	if open := p.Counts().Of(batch.Accepted) + p.Counts().Of(batch.Unknown); r.tape.resumed && open > 0 && first {
		w.saw("window: resumed beside open nodes")
	}
	if canary {
		return
	}
	if beside > size {
		w.violated("run %s: batch %d makes %d nodes in flight, and the window has %d slots", r.id, number, beside, size)
	}
	w.judgeCaps(r, p, next.nodes)
}

// judgeAccepted looks at the window in the moment in which a node accepts.
func (w *world) judgeAccepted(request string) {
	i := w.intents[request]
	if i == nil || i.lost || w.unjudged {
		return
	}
	if w.common != nil {
		w.common.judge("a node accepts")
		return
	}
	r := i.run
	if w.current != nil {
		r = w.current.tape.run
	}
	if i.run != r && !r.descends(i.run) {
		return
	}
	p, err := batch.Follow(r.tape.all())
	if err != nil || !p.Plan().Rolls() {
		return
	}
	if n, size := w.inFlight(r, p, nil), windowOf(p); n > size {
		w.violated("run %s: %d nodes are in flight, and the window has %d slots", r.id, n, size)
	}
	w.judgeCaps(r, p, nil)
}

// inFlight counts nodes in flight, with those that are about to be sent to.
func (w *world) inFlight(r *run, p batch.Progress, next map[string]bool) int {
	count := 0
	for _, name := range p.Plan().Names() {
		if next[name] || w.flies(w.named[name], r, true) {
			count++
		}
	}
	return count
}

// judgeCaps: no value of a capped fact has more nodes in flight than it may have.
func (w *world) judgeCaps(r *run, p batch.Progress, next map[string]bool) {
	for _, c := range p.Plan().Policy.MaxPer {
		use := map[string]int{}
		for _, name := range p.Plan().Names() {
			if !next[name] && !w.flies(w.named[name], r, true) {
				continue
			}
			if use[w.rack[name]]++; use[w.rack[name]] > c.N {
				w.violated("run %s: more than %d nodes of rack %s are in flight", r.id, c.N, w.rack[name])
			}
			if use[w.rack[name]] == c.N {
				w.saw("window: a value is full")
			}
		}
	}
}

// windowOf is how many nodes a run may have in flight by now: a step of its ramp ends after as many proofs as it has nodes.
func windowOf(p batch.Progress) int {
	proofs := 0
	for r := range p.Results() {
		if r.State == batch.Verified && r.Batch > 0 && !p.Batch(r.Batch).Canary {
			proofs++
		}
	}
	sizes := p.Plan().Policy.Sizes
	for i, a := range sizes {
		n := a.Of(p.Plan().Nodes())
		if i == len(sizes)-1 || proofs < n {
			return n
		}
		proofs -= n
	}
	return 0
}

// judgeRow is the default rule of a window: as many nodes in a row as it has slots had no success.
func (w *world) judgeRow(t *tape, p batch.Progress, next int) {
	rules := p.Rules()
	if !rules.StopWhenNothing {
		return
	}
	ownFailed := rules.FailFast || !rules.MaxFailed.IsZero()
	ownSilent := !rules.MaxNoReply.IsZero()
	states := map[string]batch.State{}
	for r := range p.Results() {
		states[r.Identity] = r.State
	}
	need, row, own := max(2, windowOf(p)), 0, true
	for _, name := range t.run.order {
		switch s := states[name]; {
		case s == batch.Sending, s == batch.Accepted, s == batch.Verified && t.base[name] != s:
			row, own = 0, true
		case s == t.base[name]:
		case isFailed(s):
			row++
			own = own && ownFailed
		case s == batch.NoReply:
			row++
			own = own && ownSilent
		}
		if row >= need && !own {
			w.violated("run %s: batch %d is begun although %d nodes in a row had no success", t.run.id, next, row)
			return
		}
	}
}
