package proof

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"fleetctl/batch"
	"fleetctl/rpcclient"
)

// Probing asks when the request can do nothing more, and again after a pause, since an answer may be lost.
const (
	probeTries = 3
	probePause = 2 * time.Second
)

// probe is one Probe. Its state belongs to the consumer's goroutine.
type probe struct {
	v     *Verifier
	left  map[string]batch.Target
	note  map[string]string // why a node that answered is still left
	wait  time.Duration     // before the next try
	yield func(batch.Proof) bool
}

// Probe implements batch.Prober: it waits until the request can no longer act (its time to live, the longest delay, a
// margin for the clocks), then asks. A node that is still the process that it was before the request is untouched; a
// later start is the act itself, or another's, and never a reason to send again. An expression says nothing about who
// was untouched. Nobody is told when ctx ends first.
func (v *Verifier) Probe(ctx context.Context, targets []batch.Target) iter.Seq[batch.Proof] {
	return func(yield func(batch.Proof) bool) {
		p := &probe{v: v, left: make(map[string]batch.Target, len(targets)), note: map[string]string{}, yield: yield}
		now := time.Now()
		for _, t := range targets {
			p.left[t.Node] = t
			if t.Sent.IsZero() {
				t.Sent = now // nobody knows; it cannot be later
			}
			p.wait = max(p.wait, t.Sent.Add(v.harmless(t)).Sub(now))
		}
		trouble := "does not answer"
		for range probeTries {
			if len(p.left) == 0 {
				return
			}
			select {
			case <-time.After(p.wait):
			case <-ctx.Done():
				return
			}
			p.wait = probePause
			stopped, err := p.round(ctx)
			if stopped || ctx.Err() != nil {
				return
			}
			trouble = "does not answer"
			if err != nil {
				p.wait, trouble = answerTime, "could not be asked: "+err.Error()
			}
		}
		p.giveUp(trouble)
	}
}

// harmless is how long after its sending a request may still act.
func (v *Verifier) harmless(t batch.Target) time.Duration {
	return v.o.TTL + max(v.o.LongestDelay, t.Delay) + clockMargin
}

// round asks everybody who is left, and takes those who can be judged off the list.
func (p *probe) round(ctx context.Context) (stopped bool, err error) {
	nodes := slices.Sorted(maps.Keys(p.left))
	err = p.v.survey(ctx, nodes, func(r rpcclient.Reply) bool {
		t, ok := p.left[r.Node]
		if !ok {
			return true
		}
		if wait := p.v.early(t, r); wait > 0 {
			p.wait, p.note[r.Node] = max(p.wait, wait), "its clock is behind: the request may still act"
			return true
		}
		proof := p.v.verdict(t, r)
		delete(p.left, r.Node)
		stopped = !p.yield(proof)
		return !stopped
	})
	return stopped, err
}

// early is how long a node's clock has to go until the request cannot act there: a server measures the time to live by
// its own clock. One that is behind by more than that took the request for one from the future, and dropped it.
func (v *Verifier) early(t batch.Target, r rpcclient.Reply) time.Duration {
	behind := r.Received.Sub(r.Time)
	if t.Sent.IsZero() || behind <= clockMargin || behind > v.o.TTL+clockMargin {
		return 0
	}
	return max(0, t.Sent.Add(v.harmless(t)).Sub(r.Time))
}

// verdict judges a node that answered.
func (v *Verifier) verdict(t batch.Target, r rpcclient.Reply) batch.Proof {
	p := batch.Proof{Node: t.Node, Time: time.Now(), Found: batch.Unproved}
	before := pastOf(t)
	sees, start, note := v.judge(before, r)
	if v.o.Action == Expression {
		p.Reason = note
		if sees == later {
			p.Found, p.Reason = batch.Acted, "the expression holds"
		}
		return p
	}
	if start == 0 {
		p.Reason = "does not tell its start time (" + note + ")"
		return p
	}
	switch {
	case before.untouched(start), !before.known() && beganBefore(start, t, r):
		p.Found, p.Reason = batch.Untouched, "still the process that started "+clock(start, start)
	case !before.known():
		p.Reason = "nothing to compare its start time with"
	case sees == sameProcess:
		p.Reason = "its start time has changed, but not as by a restart: see its clock"
	case v.o.Action == Shutdown:
		p.Reason = "answers as a process that is later than the request: shut down, and started by somebody"
	case sees == lacking:
		p.Reason = "started again, but " + note
	default:
		p.Found, p.Reason = batch.Acted, "started "+clock(start, start)+before.was(start)
	}
	return p
}

// untouched tells whether a start time is that of the process from before the request: the one of the baseline, or the
// one that replied. A start time before the baseline is another process, whatever its clock says.
func (p past) untouched(start int64) bool {
	return start == p.base || p.stamp > 0 && start >= p.base && start <= p.stamp
}

// was shows the baseline beside a later start time.
func (p past) was(start int64) string {
	if p.base == 0 {
		return ""
	}
	return ", was " + clock(p.base, start)
}

// beganBefore tells whether a process began before the request left, by the node's own clock: what its reply's time
// and ours differ is taken off, at its lowest, and a margin.
func beganBefore(start int64, t batch.Target, r rpcclient.Reply) bool {
	if t.Sent.IsZero() || r.Time.IsZero() {
		return false
	}
	return time.Unix(start, 0).Before(t.Sent.Add(r.Time.Sub(r.Received) - clockMargin))
}

// giveUp answers for those who could not be judged. That a node is silent proves nothing: it may never have had the
// request.
func (p *probe) giveUp(why string) {
	for node := range p.left {
		reason := why
		if note := p.note[node]; note != "" {
			reason = note
		}
		if !p.yield(batch.Proof{Node: node, Found: batch.Unproved, Time: time.Now(), Reason: reason}) {
			return
		}
	}
}
