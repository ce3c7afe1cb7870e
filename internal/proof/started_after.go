package proof

import (
	"time"

	"fleetctl/batch"
)

const (
	ageMargin = 2 * time.Second        // a start time and two moments, each up to a second off
	stepSize  = 500 * time.Millisecond // two looks that differ by more show a clock that was set
)

// cut returns how much a timestamp may be behind the node's clock because it is truncated: 1 s for whole seconds
// (protocol v1), else 0.
func cut(stamp time.Time) time.Duration {
	if stamp.Nanosecond() == 0 {
		return time.Second
	}
	return 0
}

// look is one answer of a node.
type look struct {
	start    int64     // when its process started, by the node's clock; unix seconds, truncated
	clock    time.Time // the node's when it answered; zero when the reply has none
	asked    time.Time // ours, before the poll left
	received time.Time // ours
}

// past is what is known about a node from before it acts. The node's times are unix nanoseconds unless noted; 0
// means not known.
type past struct {
	sent  time.Time // when the request left at the earliest, our clock
	left  time.Time // and at the latest
	base  int64     // the start time that it reported just before the request, unix seconds
	lo    int64     // lo, hi: lower and upper bound of the node's clock when
	hi    int64     // the request left, from the baseline
	stamp int64     // the node's clock when it replied to the request

	offset span // how far its clock was ahead of ours then
}

func pastOf(t batch.Target) past {
	p := past{sent: t.Sent, left: t.LeftBy()}
	if !t.Stamp.IsZero() {
		p.stamp = t.Stamp.UnixNano()
		if !t.Replied.IsZero() && !t.Sent.IsZero() {
			p.offset = look{clock: t.Stamp, asked: t.Sent, received: t.Replied}.offset()
		}
	}
	b, ok := parseBaseline(t.Baseline)
	if !ok {
		return p
	}
	p.base = b.start
	if b.asked.IsZero() || t.Sent.IsZero() {
		return p
	}
	p.offset = look{clock: b.clock, asked: b.asked, received: b.asked.Add(b.took)}.offset()
	// It answered between asked and asked+took, and the request left between sent and left. For the upper bound of its
	// clock at the sending, the longest time is added; for the lower bound, the shortest.
	p.lo = b.clock.Add(max(0, batch.Shortest(b.asked.Add(b.took), t.Sent))).UnixNano()
	p.hi = b.clock.Add(cut(b.clock) + max(0, batch.Longest(b.asked, p.left))).UnixNano()
	return p
}

// span is a lower and an upper bound of a duration.
type span struct {
	lo, hi time.Duration
	known  bool
}

func (w span) meets(o span, slack time.Duration) bool {
	return w.lo <= o.hi+slack && o.lo <= w.hi+slack
}

// offset is how far the node's clock was ahead of ours when it answered.
func (l look) offset() span {
	return span{lo: l.clock.Sub(l.received), hi: l.clock.Add(cut(l.clock)).Sub(l.asked), known: true}
}

// order is when a process began, compared with the request.
type order uint8

const (
	unclear order = iota
	same          // it is the process of the baseline
	before        // it began before the request was sent, or replied to it
	after         // it began after the request was sent
)

// byStamp compares with the reply to the request. The process that replied had started by then. A restart acts two
// seconds later at the earliest, so that a process of the same second is not the result; a shutdown may act at once.
func (v *Verifier) byStamp(p past, start int64) order {
	began := start * int64(time.Second)
	margin := int64(0)
	if v.o.Action == Shutdown {
		margin = int64(time.Second)
	}
	switch {
	case p.stamp == 0:
		return unclear
	case began > p.stamp:
		return after
	case began+margin <= p.stamp:
		return before
	}
	return unclear
}

// byClock compares with the node's clock at the sending, as the baseline gives it.
func (p past) byClock(start int64) order {
	began := start * int64(time.Second)
	switch {
	case p.lo == 0:
		return unclear
	case began >= p.hi:
		return after
	case began+int64(time.Second) <= p.lo:
		return before
	}
	return unclear
}

// byAge compares how old the process is with how long ago the request was sent. It needs no earlier time of the node,
// and trusts that its clock was not set since the process began.
func (v *Verifier) byAge(p past, l look) order {
	if p.sent.IsZero() || l.clock.IsZero() || l.asked.IsZero() {
		return unclear
	}
	age := l.clock.Sub(time.Unix(l.start, 0))
	longest := batch.Longest(p.sent, l.received)
	switch {
	case age < -time.Second: // it began in its own future
		return unclear
	case age < v.o.Elapsed(p.left, l.asked)-ageMargin:
		return after
	case age > longest+clockMargin+longest/1000: // clocks drift, less than that
		return before
	}
	return unclear
}

// began compares the start of a process with the request. If two measures contradict each other, the result is
// unclear. steady means that an earlier look at the same process showed the same clock; only then does the age
// alone prove a later start (see track).
func (v *Verifier) began(p past, l look, steady bool) order {
	if p.base > 0 && l.start == p.base {
		return same
	}
	stamp, clock, age := v.byStamp(p, l.start), p.byClock(l.start), v.byAge(p, l)
	if stamp == after && age == before { // the clock was set forward since: an age is less reliable
		age = unclear
	}
	late := stamp == after || clock == after || age == after
	early := stamp == before || clock == before || age == before
	switch {
	case p.base > 0 && l.start < p.base: // another process, whose clock was set back
		return unclear
	case early && late:
		return unclear
	case early:
		return before
	case stamp == after:
		// A clock that was set back before the reply makes an earlier process look like a later one.
		if p.lo != 0 && l.start*int64(time.Second) < p.lo+int64(time.Second) {
			return unclear
		}
		return after
	case p.stamp == 0 && (clock == after || age == after && steady):
		return after
	}
	return unclear
}

// track follows a node's clock from look to look.
type track struct {
	start int64
	first span // how far its clock was ahead of ours at the first look
	looks int8 // at the process that began at start, two at most
	set   bool // its clock was set between two looks
}

// add takes a look, and reports whether it is steady: the second at this process, by a clock that was not set.
func (t *track) add(l look) bool {
	if l.start != t.start {
		t.start, t.looks = l.start, 0
	}
	t.looks = min(t.looks+1, 2)
	if l.clock.IsZero() || l.asked.IsZero() {
		return false
	}
	if !t.first.known {
		t.first = l.offset()
	}
	t.set = t.set || !t.first.meets(l.offset(), stepSize)
	return t.looks == 2 && !t.set
}

// behind returns the least amount by which the node's clock is behind ours; 0 if not known.
func (l look) behind() time.Duration {
	if l.clock.IsZero() {
		return 0
	}
	return max(0, l.asked.Sub(l.clock.Add(cut(l.clock))))
}
