package proof

import (
	"context"
	"iter"
	"time"

	"fleetctl/batch"
	"fleetctl/rpcclient"
)

// Probing asks when the request can do nothing more, and again after a pause, since an answer may be lost.
const (
	probeTries = 3
	probePause = 2 * time.Second
)

// suspect is a node that is probed.
type suspect struct {
	batch.Target
	past  past
	track track
	tries int       // looks that it did not answer, on a connection that stood
	first time.Time // when its first answer came in
	next  time.Time // not asked before
	seen  bool      // it answered in this round
	note  string    // what is known of it so far
}

// probe is one Probe. Its state belongs to the consumer's goroutine.
type probe struct {
	v     *Verifier
	left  map[string]*suspect
	yield func(batch.Proof) bool
	ended bool // the consumer has left
}

// Probe implements batch.Prober: it waits until the request can no longer act (its time to live, the longest delay, a
// margin for the clocks), then asks. A node is untouched when two looks in a row show the process of the baseline, or
// one that began before the request was sent; a process that began after it counts as the act, and is never a
// reason to send again. An expression does not show which nodes are untouched. A node that is absent is asked again, as
// a silent one is. Nodes that are left when ctx ends get no proof.
func (v *Verifier) Probe(ctx context.Context, targets []batch.Target) iter.Seq[batch.Proof] {
	return func(yield func(batch.Proof) bool) {
		p := &probe{v: v, left: make(map[string]*suspect, len(targets)), yield: yield}
		begin := time.Now()
		var wait time.Duration
		for _, t := range targets {
			p.left[t.Node] = &suspect{Target: t, past: pastOf(t), note: "does not answer"}
			wait = max(wait, v.harmful(t, begin))
		}
		for wait > 0 && ctx.Err() == nil { // again, as the wall clock may have been set back meanwhile
			pause(ctx, wait)
			wait = 0
			for _, s := range p.left {
				wait = max(wait, v.harmful(s.Target, begin))
			}
		}
		p.run(ctx)
	}
}

// harmful is how long the request may still act at a node, by the shorter reading of the time since it was sent.
func (v *Verifier) harmful(t batch.Target, begin time.Time) time.Duration {
	whole := v.o.TTL + max(v.o.LongestDelay, min(t.Delay, MaxDelay)) + clockMargin
	if t.Sent.IsZero() { // not known; it cannot be later than now
		return whole - batch.Shortest(begin, time.Now())
	}
	return whole - v.o.Elapsed(t.LeftBy(), time.Now())
}

// run asks in rounds. Looks on a connection that is away, or was just lost, do not count; they end with the time for
// proof anyway.
func (p *probe) run(ctx context.Context) {
	over := time.Now().Add(p.v.o.Timeout + p.v.o.LongestDelay + clockMargin)
	for len(p.left) > 0 && ctx.Err() == nil && !p.ended {
		var ask []string
		now, next := time.Now(), time.Time{}
		for node, s := range p.left {
			if s.seen = false; s.next.After(now) {
				if next.IsZero() || s.next.Before(next) {
					next = s.next
				}
				continue
			}
			ask = append(ask, node)
		}
		if len(ask) == 0 {
			pause(ctx, next.Sub(now))
			continue
		}
		err := p.round(ctx, ask)
		if ctx.Err() != nil || p.ended {
			return
		}
		p.unanswered(ask, err != nil || p.v.linkSettles() > 0, time.Now().After(over))
	}
}

// round asks nodes once.
func (p *probe) round(ctx context.Context, nodes []string) error {
	return p.v.survey(ctx, nodes, func(r rpcclient.Reply, asked time.Time) bool {
		s := p.left[r.Node]
		switch {
		case s == nil:
		case r.Absent:
			s.note = "is not connected"
		default:
			s.seen = true
			p.answer(s, r, asked)
		}
		return !p.ended
	})
}

// unanswered counts a look that nodes did not answer, and ends the probe of nodes with too many of them.
func (p *probe) unanswered(asked []string, away, over bool) {
	for _, node := range asked {
		s := p.left[node]
		switch {
		case s == nil, s.seen && !over:
			continue
		case s.seen:
			p.end(s, batch.Unproved, s.note)
			continue
		}
		if s.next = time.Now().Add(probePause); away && !over {
			s.note = p.v.unaskedReason()
			continue
		}
		if s.tries++; s.tries >= probeTries || over {
			// That a node is silent proves nothing: it may never have had the request.
			p.end(s, batch.Unproved, s.note)
		}
	}
}

func (p *probe) end(s *suspect, f batch.Finding, reason string) {
	delete(p.left, s.Node)
	if !p.ended {
		p.ended = !p.yield(batch.Proof{Node: s.Node, Found: f, Time: time.Now(), Reason: reason})
	}
}

// answer judges a node that answered, or plans another look at it.
func (p *probe) answer(s *suspect, r rpcclient.Reply, asked time.Time) {
	v, l := p.v, lookOf(r, asked)
	steady := s.track.add(l)
	sees, note := v.judge(s.past, r, l, steady)
	switch {
	case v.o.Action == Expression && sees == later:
		p.end(s, batch.Acted, "the expression holds")
		return
	case v.o.Action == Expression:
		p.end(s, batch.Unproved, note)
		return
	case sees == unreadable:
		p.end(s, batch.Unproved, "does not report its start time ("+note+")")
		return
	case v.o.Action == Shutdown && (sees == later || sees == lacking):
		p.end(s, batch.Unproved, "answers as a process that began after the request: something started it again after the shutdown")
		return
	case sees == later:
		p.end(s, batch.Acted, s.past.started(l.start))
		return
	case sees == lacking:
		p.end(s, batch.Unproved, "started again, but "+note)
		return
	}
	if first := s.first.IsZero(); first {
		s.first = r.Received
	}
	if next := s.first.Add(v.untilActed(l)); s.track.looks < 2 || r.Received.Before(next) || asked.Before(next) {
		s.next, s.note = latest(next, time.Now().Add(probePause)), "answered once, and not again"
		if sees == uncertain {
			s.note = s.past.unsure(s.track)
		}
		return
	}
	if sees == sameProcess && v.o.Action == Update { // a download has no longest duration
		p.end(s, batch.Unproved, "the process from before the request still runs, but an update may not have ended: see the node's log")
		return
	}
	if sees == sameProcess && v.untouched(s, l, steady) {
		p.end(s, batch.Untouched, "still the process from before the request") // without its start: equal reasons are shown as one
		return
	}
	p.end(s, batch.Unproved, s.past.unsure(s.track))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// untilActed is how long after a node's first answer the next look must be. By then the node has handled what it received
// before the question, and a frozen process that wakes up acts at once. A node whose clock is behind, as after a pause of its
// virtual machine, takes the request for a younger one: it may have accepted it just before it answered.
func (v *Verifier) untilActed(l look) time.Duration {
	if l.behind() > clockMargin {
		return v.o.LongestDelay + clockMargin
	}
	return probePause
}

// untouched reports whether a process that began before the request proves that the request did nothing. That of the
// baseline does. For another process, a clock that was set since could show it falsely: it must show the time that the node's
// clock showed then. Where that is not known, the process must be older than the request by its age, too.
func (v *Verifier) untouched(s *suspect, l look, steady bool) bool {
	p := s.past
	switch {
	case p.base > 0 && l.start == p.base:
		return true
	case !steady:
		return false
	case !p.offset.known:
		return v.older(p, l)
	}
	drift := batch.Longest(p.sent, l.received) / 10_000
	if !p.offset.meets(l.offset(), stepSize+drift) { // a clock that was set back, and then forward, makes a later process look older
		return p.base == 0 && v.older(p, l)
	}
	return p.byClock(l.start) == before || v.byStamp(p, l.start) == before || v.older(p, l)
}

// older reports whether a process is older than the request by the node's clock and by ours. A clock that was set forward after
// the process began shows too high an age; ours does not.
func (v *Verifier) older(p past, l look) bool {
	ours := l
	ours.clock = l.asked
	return v.byAge(p, l) == before && v.byAge(p, ours) == before
}
