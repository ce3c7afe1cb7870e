package world

import (
	"fmt"
	"strings"
	"time"

	"fleetctl/batch"
)

// The judge: what must hold in every world. All of it needs the world's lock, except what is said to take it.

// settling is how long after a stop or a pause a batch that was handed over before may still leave.
const settling = 50 * time.Millisecond

// overdue reports whether a stop or a pause of some moment must have had its effect: the engine reads it between two writes
// to its journal, and not while its machine is suspended.
func (t *tape) overdue(since time.Time) bool {
	if since.Before(t.w.woke) {
		since = t.w.woke
	}
	return time.Since(since) > settling+4*t.slow
}

// judgeRecord looks at a record in the moment in which it becomes durable; t.lines holds those before it.
func (w *world) judgeRecord(t *tape, r batch.Record) {
	switch r.Kind {
	case batch.KindResumed:
		t.resumed = true
	case batch.KindBaseline:
		for name := range r.Baselines {
			t.run.based[name], t.said[name] = true, true
		}
	case batch.KindStopped:
		if t.stopped.IsZero() {
			t.stopped = time.Now()
		}
		w.logf("run     %s stops: %s", t.run.id, r.Stop.Reason)
		w.saw("stopped: " + r.Stop.Kind.String() + " " + r.Stop.Rule)
	case batch.KindIntent:
		w.judgeIntent(t, r)
	case batch.KindProofs, batch.KindProbed:
		for _, p := range r.Proofs {
			w.logf("run     %s: %s is %s: %s", t.run.id, p.Node, p.Found, p.Reason)
			w.saw(string(r.Kind) + ": " + p.Found.String())
			if t.run.unasked[p.Node] = p.Found == batch.Unasked; p.Found == batch.Acted {
				t.run.proved[p.Node] = true
				w.judgeProof(t.run, p)
			}
		}
	case batch.KindOutcomes:
		for _, o := range r.Outcomes {
			w.logf("run     %s: reply of %s in batch %d, ok %v", t.run.id, o.Node, o.Batch, o.OK)
		}
	case batch.KindReplies:
		w.logf("run     %s: the replies of batch %d are in", t.run.id, r.Batch)
		w.judgeReplies(t, r.Batch)
	case batch.KindGate:
		w.logf("run     %s: gates %s, decided %v", t.run.id, r.Gate.Verdict, r.Gate.Decided)
		w.saw("gates " + r.Gate.Verdict.String())
	case batch.KindBatchEnd, batch.KindWithdrawn, batch.KindRequeued, batch.KindSlots, batch.KindHours, batch.KindNote:
		w.logf("run     %s: %s of batch %d %v %s", t.run.id, r.Kind, r.Batch, r.Nodes, r.Reason)
		w.saw(string(r.Kind))
	case batch.KindLink:
		w.logf("run     %s: %s", t.run.id, r.Reason)
		if !r.Up {
			t.run.lost = r.Time
		}
	case batch.KindSent:
		w.logf("run     %s: batch %d is sent, uncertain %v", t.run.id, r.Batch, r.Uncertain)
		if r.Uncertain {
			w.saw("lost while sending")
		}
	case batch.KindSkipped:
		w.judgeSkipped(t, r)
	case batch.KindRunEnd:
		w.logf("run     %s ends: %s, %s", t.run.id, r.End.Verdict, statesOf(r.End.States))
		w.saw("verdict: " + r.End.Verdict.String())
	default:
		w.logf("run     %s: %s %s", t.run.id, r.Kind, r.Reason)
	}
}

// judgeIntent: nothing is begun after a stop, while paused, or past a stop rule.
func (w *world) judgeIntent(t *tape, r batch.Record) {
	i := &intent{run: t.run, nodes: map[string]bool{}, at: time.Now()}
	before, err := batch.Follow(all(t.lines))
	if err != nil {
		w.violated("run %s: the records before an intent do not replay: %v", t.run.id, err)
		return
	}
	nodes := r.Nodes
	if nodes == nil {
		for res := range before.Results() {
			if res.Batch == r.Batch {
				nodes = append(nodes, res.Identity)
			}
		}
	}
	for _, name := range nodes {
		i.nodes[name] = true
	}
	i.list = nodes
	i.based, t.said = t.said, map[string]bool{}
	w.intents[r.Request] = i
	w.logf("run     %s: intent of batch %d, %d nodes (%s)", t.run.id, r.Batch, len(nodes), short(r.Request))
	w.saw("intent")
	if !t.stopped.IsZero() {
		w.violated("run %s: batch %d is begun after a stop", t.run.id, r.Batch)
	}
	if p := t.p; p != nil && !p.pausedAt.IsZero() && t.overdue(p.pausedAt) {
		w.violated("run %s: batch %d is begun while paused", t.run.id, r.Batch)
	}
	if !w.within(r.Time) {
		w.violated("run %s: batch %d is begun outside of the hours", t.run.id, r.Batch)
	}
	w.judgeRules(t, before, r.Batch)
	w.judgeOrder(t.run, before, i)
	w.judgeGates(t, before.Plan(), r.Batch, len(nodes))
	first := t.sent == 0
	t.sent = r.Batch
	if before.Plan().Rolls() {
		w.judgeWindow(t.run, before, i, r.Batch, first)
	}
}

// judgeRules counts what this process has found out, and compares it with the rules that it runs under.
func (w *world) judgeRules(t *tape, p batch.Progress, next int) {
	rules := p.Rules()
	failed, silent, absent, total := 0, 0, 0, 0
	for r := range p.Results() {
		total++
		was := t.base[r.Identity]
		if isFailed(r.State) && !isFailed(was) {
			failed++
		}
		if r.State == batch.NoReply && was != batch.NoReply {
			silent++
		}
		if r.State.String() == "absent" && was != r.State {
			absent++
		}
	}
	maxFailed := rules.MaxFailed
	if rules.FailFast {
		maxFailed = batch.Number(1)
	}
	for _, c := range []struct {
		name  string
		limit batch.Amount
		count int
	}{{"max-failed", maxFailed, failed}, {"max-no-reply", rules.MaxNoReply, silent}, {"max-absent", absentRule(rules), absent}} {
		limit := c.limit.Count
		if c.limit.Millionths > 0 {
			limit = c.limit.Of(total)
		}
		if limit > 0 && c.count >= limit {
			w.violated("run %s: batch %d is begun although %s is %d and %d were met in this process", t.run.id, next, c.name, limit, c.count)
		}
	}
	if t.sent == 0 {
		return
	}
	b := p.Batch(t.sent)
	c := b.States
	if limit := rules.MaxFailedBatch; !limit.IsZero() && limit.Millionths == 0 && c.Failed() >= limit.Count {
		w.violated("run %s: batch %d is begun although %d nodes of batch %d failed", t.run.id, next, c.Failed(), t.sent)
	}
	if limit := rules.MaxNoReplyBatch; !limit.IsZero() && limit.Millionths == 0 && c.Of(batch.NoReply) >= limit.Count {
		w.violated("run %s: batch %d is begun although %d nodes of batch %d are silent", t.run.id, next, c.Of(batch.NoReply), t.sent)
	}
	if p.Plan().Rolls() && !b.Canary {
		w.judgeRow(t, p, next)
		return
	}
	w.judgeNothing(t, rules, b, next)
}

// judgeNothing is the default rule: no node of a batch succeeded. Kinds with a rule of their own are left to it.
func (w *world) judgeNothing(t *tape, rules batch.Rules, b batch.BatchResult, next int) {
	c := b.States
	failed, silent, absent := c.Failed(), c.Of(batch.NoReply), countOf(c, "absent")
	ownFailed := rules.FailFast || !rules.MaxFailed.IsZero() || !rules.MaxFailedBatch.IsZero()
	ownSilent := !rules.MaxNoReply.IsZero() || !rules.MaxNoReplyBatch.IsZero()
	if b.Canary && absent > 0 {
		return // other nodes take the place of absent canaries
	}
	if !rules.StopWhenNothing || b.Nodes == 0 || failed+silent+absent < b.Nodes {
		return
	}
	if (failed == 0 || ownFailed) && (silent == 0 || ownSilent) && (absent == 0 || !absentRule(rules).IsZero()) {
		return
	}
	if c.Of(batch.Refused) == b.Nodes || b.Nodes >= 2 || b.Canary {
		w.violated("run %s: batch %d is begun although no node of batch %d succeeded", t.run.id, next, t.sent)
	}
}

// judgeReplies: silence is the word for nodes whose reply did not arrive within the reply timeout, and for no others.
func (w *world) judgeReplies(t *tape, number int) {
	p, err := batch.Follow(all(t.lines))
	if err != nil {
		return // the intents say so
	}
	request := p.Batch(number).Request
	var last time.Time
	for _, s := range w.sends {
		if s.request == request && !s.failed {
			last = s.at
		}
	}
	if last.IsZero() {
		return
	}
	over := last.Add(p.Pace().ReplyTimeout)
	for r := range p.Results() {
		if r.Batch != number || r.State != batch.Sending {
			continue
		}
		if time.Now().Before(over) {
			w.violated("run %s: %s is given up %v before its reply timeout", t.run.id, r.Identity, time.Until(over))
		}
		malformed := w.named[r.Identity].traits.announces != "" // with a delay that no action can have
		if at, ok := w.arrived[request+" "+r.Identity]; ok && at.Before(over) && !malformed {
			w.violated("run %s: the reply of %s arrived %v before its timeout, and does not count", t.run.id, r.Identity, over.Sub(at))
		}
	}
}

// judgeSend: a request leaves only under a durable intent, and not after a stop.
func (w *world) judgeSend(c *conn, req asked, subject string) {
	if !req.acts || c.dead || w.unjudged {
		return
	}
	name := strings.TrimPrefix(subject, collective+".node.")
	if i := w.intents[req.id]; i == nil || !i.nodes[name] {
		w.violated("%s is sent %s without an intent on record (%s)", name, req.action, short(req.id))
	}
	if t := c.tape; t != nil && !t.stopped.IsZero() && t.overdue(t.stopped) {
		w.violated("%s is sent %s %v after the stop", name, req.action, time.Since(t.stopped))
	}
}

// forget marks the intents that a run's record has no more, after it was replaced by a copy.
func (w *world) forget(r *run) {
	kept := map[string]bool{}
	for rec, err := range batch.Records(r.tape.all()) {
		if err == nil && rec.Kind == batch.KindIntent {
			kept[rec.Request] = true
		}
	}
	for id, i := range w.intents {
		i.lost = i.lost || r.own(i) && !kept[id]
	}
}

// judgeAct: no node carries out two requests of a chain.
func (w *world) judgeAct(n *node) {
	if w.common != nil {
		w.common.acted(n)
		return
	}
	if len(n.acts) > 1 {
		var ids []string
		for _, a := range n.acts {
			ids = append(ids, short(a.request))
		}
		w.violated("%s acted %d times on requests of the chain: %s", n.name, len(n.acts), strings.Join(ids, ", "))
	}
}

// lastSend is when a request of a run or of those that it retries was last sent to a node, or was to be sent when the
// process died before it got so far.
func (w *world) lastSend(r *run, node string) (time.Time, bool) {
	chain := map[*run]bool{}
	for ; r != nil; r = r.parent {
		chain[r] = true
	}
	var last time.Time
	for id, i := range w.intents {
		if !chain[i.run] || !i.nodes[node] {
			continue
		}
		at := i.at
		for _, s := range w.sends {
			if s.request == id && s.node == node {
				at = s.at
			}
		}
		if at.After(last) {
			last = at
		}
	}
	return last, !last.IsZero()
}

// judgeProof: what is called proved is true, in the moment of the proof where that matters: its record may come later.
func (w *world) judgeProof(r *run, p batch.Proof) {
	node := p.Node
	n := w.named[node]
	last, sent := w.lastSend(r, node)
	if !sent {
		w.violated("false proof: %s is verified and was never sent to", node)
		return
	}
	switch w.action {
	case "shutdown":
		if w.mute503 && n.acceptedOurs() {
			return // where the broker reports no absence, silence proves a node that accepted
		}
		if w.unseen(r, n) {
			w.saw("a frozen node was severed")
			return
		}
		there := n.subscribed && !n.joined.After(p.Time)
		if n.up && !n.began.After(p.Time) && (there || !n.began.After(last)) { // a later process that has not come to the collective may be there
			w.violated("false proof: %s is verified as shut down and runs", node)
		}
		return
	case "reprovision":
		if !n.up || n.nursery {
			return
		}
	case update:
		w.judgeUpdate(n, last)
		return
	}
	for _, s := range n.starts {
		if s.at.After(last) {
			return
		}
	}
	w.violated("false proof: %s is verified, and no process of it began after the sending", node)
}

// unseen reports the one thing that no process can know: the connection of a frozen node was ended by something else than the
// pings of its broker, and our own stood, or no process of the run was there (docs/runs.md, proof).
func (w *world) unseen(r *run, n *node) bool {
	if n.severed.IsZero() || w.current != nil && !w.current.c.lost.Before(n.severed) {
		return false
	}
	for ; r != nil; r = r.parent {
		if !r.lost.Before(n.severed) {
			return false
		}
	}
	return true
}

func isFailed(s batch.State) bool { return s == batch.Refused || s == batch.Unverified }

func countOf(c batch.Counts, word string) int {
	for _, s := range batch.States() {
		if s.String() == word {
			return c.Of(s)
		}
	}
	return 0
}

func statesOf(c batch.Counts) string {
	var parts []string
	for _, s := range batch.States() {
		if n := c.Of(s); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}
