package world

import (
	"errors"
	"strings"
	"time"

	"fleetctl/batch"
)

// The judge at the end of a process, of a run, and of a case.

// acceptedOurs reports whether the node accepted any request of the case.
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
	if want := verdictOf(s, skipped(t.run)); s.Verdict != want {
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
		if total++; r.Batch == 0 {
			batches++ // it is in the pool
		}
	}
	for _, b := range s.Batches {
		batches += b.States.Total()
	}
	if got := batch.CountsOf(states); got != s.States || total != s.Nodes || batches != total {
		w.violated("run %s: counts do not add up: %s, nodes say %s, batches hold %d of %d", what, statesOf(s.States), statesOf(got), batches, s.Nodes)
	}
}

// verdictOf returns the verdict that follows from counts and stop (docs/exit-codes.md). The order of the cases
// matters. Nodes that were left out on purpose do not.
func verdictOf(s batch.Summary, skipped int) batch.Verdict {
	c := s.States
	switch {
	case s.Stop.Kind == batch.StopFault:
		return batch.Fault
	case s.Stop.Kind == batch.StopSignal:
		return batch.Interrupted
	case c.Of(batch.Planned)+c.Of(batch.NotSent) > skipped:
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
	based, lagging := map[string]bool{}, false
	for i, r := range runs {
		lagging = lagging || r.lagging
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
			if n.began.After(began) && (!based[n.name] || res.Sent.IsZero()) || lagging && res.Sent.IsZero() {
				continue
			}
		}
		if w.action == update && (n.runs != updatedTo || n.traits.download > w.patience.verify-5*time.Second) {
			continue // what a node without the version did is never certain: a download has no longest duration
		}
		if w.action == "shutdown" && n.began.After(began) {
			continue // it is unknown whether our request shut it down before it was started again
		}
		w.violated("dead end: %s answers and stays %s: %s", n.name, res.State, res.Reason)
	}
}

// settles reports whether a node must be settled once the world has healed: it answers, tells its start time, and its clock
// can be relied on.
func (n *node) settles() bool {
	slow := n.w.action == "reprovision" && n.traits.provisioner > 10*time.Second || n.traits.tokenEnds > 0
	return n.up && n.subscribed && !n.traits.denies && !slow && n.steps == 0 && n.offset.Abs() < 20*time.Second
}
