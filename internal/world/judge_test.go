package world

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"fleetctl/batch"
)

// The judge: what must hold in every world. All of it needs the world's lock, but for what is said to take it.

// settling is how long after a stop or a pause a batch that was handed over before may still leave.
const settling = 50 * time.Millisecond

// overdue tells whether a stop or a pause of some moment must have had its effect: the engine reads it between two writes
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
			if p.Found == batch.Acted {
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
	case batch.KindBatchEnd, batch.KindWithdrawn, batch.KindRequeued, batch.KindNote:
		w.logf("run     %s: %s of batch %d %v %s", t.run.id, r.Kind, r.Batch, r.Nodes, r.Reason)
		w.saw(string(r.Kind))
	default:
		w.logf("run     %s: %s %s", t.run.id, r.Kind, r.Reason)
	case batch.KindRunEnd:
		w.logf("run     %s ends: %s, %s", t.run.id, r.End.Verdict, statesOf(r.End.States))
		w.saw("verdict: " + r.End.Verdict.String())
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
	w.judgeRules(t, before, r.Batch)
	t.sent = r.Batch
}

// judgeRules counts what this life has found out, and compares it with the rules that it runs under.
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
			w.violated("run %s: batch %d is begun although %s is %d and %d were met in this life", t.run.id, next, c.name, limit, c.count)
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
	w.judgeNothing(t, rules, b, next)
}

// judgeNothing is the default rule: a whole batch came to nothing. Kinds with a rule of their own are left to it.
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
		w.violated("run %s: batch %d is begun although batch %d came to nothing", t.run.id, next, t.sent)
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
		if at, ok := w.arrived[request+" "+r.Identity]; ok && at.Before(over) {
			w.violated("run %s: the reply of %s arrived %v before its timeout, and does not count", t.run.id, r.Identity, over.Sub(at))
		}
	}
}

// judgeSend: a request leaves only under a durable intent, and not after a stop.
func (w *world) judgeSend(c *conn, req asked, subject string) {
	if !req.acts || c.dead {
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
	if len(n.acts) > 1 {
		var ids []string
		for _, a := range n.acts {
			ids = append(ids, short(a.request))
		}
		if i, first := w.intents[n.acts[len(n.acts)-1].request], w.intents[n.acts[0].request]; first.lost && !i.based[n.name] && !copiesBarSilent {
			w.saw("acted twice on a copy, silent at its baseline")
			return
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
		if n.up && !n.began.After(p.Time) && (n.subscribed || !n.began.After(last)) { // a later process that has not come to the collective may be there
			w.violated("false proof: %s is verified as shut down and runs", node)
		}
		return
	case "reprovision":
		if !n.up || n.nursery {
			return
		}
	}
	for _, s := range n.starts {
		if s.at.After(last) {
			return
		}
	}
	w.violated("false proof: %s is verified, and no process of it began after the sending", node)
}

// acceptedOurs tells whether the node accepted any request of the case.
func (n *node) acceptedOurs() bool {
	for id := range n.accepted {
		if n.w.intents[id] != nil {
			return true
		}
	}
	return false
}

// judgeLife checks a life that has ended: counts, and that journal, summary and verdict agree.
func (w *world) judgeLife(p *process, s batch.Summary, err error) {
	t := p.tape
	from, replayed := batch.Replay(t.all())
	if errors.Is(replayed, batch.ErrNoPlan) {
		w.saw("died before the plan")
		for _, i := range w.intents {
			if t.run.own(i) {
				w.violated("run %s has no plan, and an intent", t.run.id)
			}
		}
		return
	}
	if replayed != nil {
		w.violated("run %s does not replay: %v", t.run.id, replayed)
		return
	}
	w.judgeCounts(t.run.id+" as recorded", from.Summary())
	if p.dead || err != nil {
		if !p.dead && !p.abandoned {
			w.violated("run %s ended with an error: %v", t.run.id, err)
		}
		return
	}
	w.judgeCounts(t.run.id, s)
	kept := from.Summary()
	if s.States != kept.States || s.Verdict != kept.Verdict || s.Stop != kept.Stop || s.Open != kept.Open {
		w.violated("run %s: the summary says %s (%s), the journal %s (%s)", t.run.id, s.Verdict, statesOf(s.States), kept.Verdict, statesOf(kept.States))
	}
	if want := verdictOf(s); s.Verdict != want {
		w.violated("run %s: the verdict is %s, and %s follows from the counts and the stop", t.run.id, s.Verdict, want)
	}
	if len(t.lines) == 0 || !strings.Contains(string(t.lines[len(t.lines)-1]), `"run-end"`) {
		w.violated("run %s ended without saying so in its journal", t.run.id)
	}
}

func (w *world) judgeCounts(what string, s batch.Summary) {
	states := map[batch.State]int{}
	total, batches := 0, 0
	for r := range s.Results() {
		states[r.State]++
		total++
	}
	for _, b := range s.Batches {
		batches += b.States.Total()
	}
	if got := batch.CountsOf(states); got != s.States || total != s.Nodes || batches != total {
		w.violated("run %s: counts do not add up: %s, nodes say %s, batches hold %d of %d", what, statesOf(s.States), statesOf(got), batches, s.Nodes)
	}
}

// verdictOf is the class that counts and stop give (product.md, exit codes; the order is the contract).
func verdictOf(s batch.Summary) batch.Verdict {
	c := s.States
	switch {
	case s.Stop.Kind == batch.StopFault:
		return batch.Fault
	case s.Stop.Kind == batch.StopSignal:
		return batch.Interrupted
	case c.Of(batch.Planned)+c.Of(batch.NotSent) > 0:
		return batch.Stopped
	case c.Of(batch.Sending)+c.Of(batch.Unknown)+c.Of(batch.Accepted) > 0:
		return batch.Uncertain
	case c.Failed() > 0:
		return batch.Failed
	case c.Of(batch.NoReply)+countOf(c, "absent") > 0:
		return batch.Silent
	}
	return batch.Done
}

// judgeStates checks what a run says of nodes in the end.
func (w *world) judgeStates(r *run) {
	p, err := batch.Replay(r.tape.all())
	if err != nil {
		return
	}
	for res := range p.Results() {
		n := w.named[res.Identity]
		w.saw("state: " + res.State.String())
		switch res.State.String() {
		case "verified":
			if !r.proved[n.name] {
				w.violated("run %s: %s is verified and no record says why", r.id, n.name)
			}
		case "refused", "absent", "not-sent", "planned":
			for _, a := range n.acts {
				if i := w.intents[a.request]; r.own(i) && !i.lost {
					w.violated("run %s: %s is %s, and acted on %s", r.id, n.name, res.State, short(a.request))
				}
			}
		}
	}
}

// judgeConverged: in a healed world, after one resume and one retry, every node that answers is settled. runs are the
// case's, the oldest first; those before first were left behind by the operator, and only what they know counts.
func (w *world) judgeConverged(runs []*run, first int, began time.Time) {
	last := map[string]batch.Result{}
	based := map[string]bool{}
	for i, r := range runs {
		p, err := batch.Replay(r.tape.all())
		if errors.Is(err, batch.ErrNoPlan) {
			continue
		}
		if err != nil {
			w.violated("run %s does not replay: %v", r.id, err)
			return
		}
		for res := range p.Results() {
			based[res.Identity] = based[res.Identity] || r.based[res.Identity]
			if i >= first {
				last[res.Identity] = res
			}
		}
		if i >= first && p.Summary().Ended.IsZero() {
			w.violated("run %s has not ended in a healed world", r.id)
		}
	}
	for _, n := range w.nodes {
		res, ok := last[n.name]
		if !ok || !n.settles() {
			continue
		}
		switch res.State {
		case batch.Verified, batch.Refused:
			continue
		case batch.Unknown:
			if n.began.After(began) && (!based[n.name] || res.Sent.IsZero()) {
				continue
			}
		}
		if w.action == "shutdown" && n.began.After(began) {
			continue // whether ours shut it down before it was started again cannot be told
		}
		w.violated("dead end: %s answers and stays %s: %s", n.name, res.State, res.Reason)
	}
}

// settles tells whether a node must be settled once the world has healed: it answers, tells its start time, and its clock
// can be relied on.
func (n *node) settles() bool {
	slow := n.w.action == "reprovision" && n.traits.provisioner > 10*time.Second || n.traits.tokenEnds > 0
	return n.up && n.subscribed && !n.traits.denies && !slow && n.steps == 0 && n.offset.Abs() < 20*time.Second
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
