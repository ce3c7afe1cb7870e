package batch

import (
	"iter"
	"math"
	"slices"
	"time"
)

// Estimate is how long a plan takes.
type Estimate struct {
	Typical time.Duration `json:"typical"` // when nodes behave
	Longest time.Duration `json:"longest"` // when every batch, or slot, meets every time limit
}

// Estimates are how long the nodes of a plan take in each mode.
type Estimates struct {
	Barrier Estimate `json:"barrier"` // in batches
	Rolling Estimate `json:"rolling"` // in a window of as many nodes; zero for one batch of everything
}

// typicalReply is what a healthy fleet needs to answer a batch, and typicalReturn what a node needs to be proved when it has
// acted. typicalWatch is what a node needs to act, where proof is looked for meanwhile, and lastWatch how long it is looked
// for at most after a reply.
const (
	typicalReply  = time.Second
	typicalReturn = time.Second
	typicalWatch  = 30 * time.Second
	lastWatch     = time.Minute
)

// replies is how long a batch waits for its replies when the nodes behave.
func (p Pace) replies() time.Duration {
	if p.VerifyTimeout > 0 && p.Watch { // proof comes first
		return min(typicalWatch, p.ReplyTimeout)
	}
	return min(typicalReply, p.ReplyTimeout)
}

// typical is how long a batch of so many nodes takes when they behave: until its replies and its proof are in. Delays are
// spread evenly up to the longest one, so the last of n nodes acts after n/(n+1) of it on average.
func (p Pace) typical(nodes int) time.Duration {
	switch {
	case p.VerifyTimeout > 0 && p.Watch:
		return p.replies() + p.Settle
	case p.VerifyTimeout > 0:
		return p.replies() + time.Duration(float64(p.LongestDelay)*float64(nodes)/float64(nodes+1)) + typicalReturn + p.Settle
	}
	return p.replies()
}

// Cycle is how long a batch of so many nodes typically takes until the next one begins.
func (p Pace) Cycle(nodes int) time.Duration { return max(p.typical(nodes), p.replies()+p.Sleep) }

// Slot is how long a slot of a window is typically kept for one node.
func (p Pace) Slot() time.Duration { return p.typical(1) + p.Sleep }

// Longest is how long a batch takes that meets every time limit, from its sending on.
func (p Pace) Longest() time.Duration {
	switch {
	case p.VerifyTimeout > 0 && p.Watch:
		return p.ReplyTimeout + max(p.Settle+min(p.VerifyTimeout, lastWatch), p.look())
	case p.VerifyTimeout > 0:
		return p.ReplyTimeout + max(p.LongestDelay+p.Settle+p.VerifyTimeout, p.look())
	}
	return p.ReplyTimeout
}

// look is how long the look at silent nodes takes at most, after the reply timeout.
func (p Pace) look() time.Duration { return lookTime + max(0, p.LongestDelay-p.ReplyTimeout) }

// Estimate reports how long the plan takes at a pace, in its own mode. The time of
// people who confirm is not in it, nor is a deadline.
func (p Plan) Estimate(pace Pace) Estimate {
	if p.Policy.Rolling {
		return p.Estimates(pace).Rolling
	}
	return p.Estimates(pace).Barrier
}

// Estimates reports how long the plan takes at a pace, in each mode.
func (p Plan) Estimates(pace Pace) Estimates {
	var e Estimates
	if p.Nodes() == 0 {
		return e
	}
	e.Barrier = barriers(p.sizes(), pace)
	if len(p.Policy.Sizes) > 0 {
		e.Rolling = p.rolling(pace)
	}
	return e
}

// barriers: each batch of these sizes needs its replies, then the longer of the sleep and the proof; no sleep follows the
// last.
func barriers(sizes []int, pace Pace) Estimate {
	var e Estimate
	for i, n := range sizes {
		typical, longest := pace.typical(n), pace.Longest()
		if i < len(sizes)-1 {
			typical, longest = pace.Cycle(n), max(longest, pace.ReplyTimeout+pace.Sleep)
		}
		e.Typical, e.Longest = e.Typical+typical, e.Longest+longest
	}
	e.Typical = e.Typical.Round(time.Millisecond)
	return e
}

// sizes are those of the batches that there are, or would be without a window.
func (p Plan) sizes() []int {
	var sizes []int
	for _, b := range p.Batches {
		sizes = append(sizes, len(b.Nodes))
	}
	set := p.Nodes()
	for i, left := 0, len(p.Pool); left > 0; i++ {
		n := min(left, p.Policy.Sizes.At(i, set))
		sizes, left = append(sizes, n), left-n
	}
	if n := p.rounds(); p.Policy.Rolling && len(sizes) < n { // the caps make more and smaller ones of them
		return slices.Repeat([]int{max(1, set/n)}, n)
	}
	return sizes
}

// rounds is how many batches the caps ask for at least.
func (p Plan) rounds() int {
	return max(p.CapRounds, capRounds(p.Policy.MaxPer, func(fact string) iter.Seq[string] { return slices.Values(p.Facts[fact]) }))
}

// capRounds is the same for nodes with these values of a fact.
func capRounds(caps []MaxPer, values func(fact string) iter.Seq[string]) int {
	return int(math.Ceil(mostRounds(caps, values)))
}

// mostRounds is how many rounds the value of a capped fact asks for that has the most nodes.
func mostRounds(caps []MaxPer, values func(fact string) iter.Seq[string]) float64 {
	most := 0.0
	for _, c := range caps {
		with, n := map[string]int{}, 0
		for v := range values(c.Fact) {
			with[v]++
			n = max(n, with[v])
		}
		most = max(most, float64(n)/float64(c.N))
	}
	return most
}

// rolling: each node has its slot for as long as one node needs. Every step of a ramp takes as long as a batch of its size;
// the caps hold as many rounds up as they ask for: the value with the most nodes decides. The last round ends when its
// slowest node does.
func (p Plan) rolling(pace Pace) Estimate {
	set, left := p.Nodes(), len(p.Pool)
	canary := set > left && len(p.Batches) > 0 && p.Batches[0].Canary
	if !p.Policy.Rolling {
		if left, canary = set, len(p.Batches) > 0 && p.Batches[0].Canary; canary {
			left -= len(p.Batches[0].Nodes)
		}
	}
	at := func(i int) int { return min(left, p.Policy.Sizes.At(i, set)) }
	slot := max(pace.Longest(), pace.SilentHold) + pace.Sleep
	var e Estimate
	steps := len(p.Policy.Sizes) - 1
	for i := range steps {
		if n := at(i); n > 0 {
			left -= n
			e.Typical, e.Longest = e.Typical+pace.typical(n)+pace.Sleep, e.Longest+slot
		}
	}
	if n := at(steps); n > 0 { // the last node of a window starts when most of it has ended
		rounds := max(1, float64(left)/float64(n))
		e.Typical += spread(rounds, n, pace)
		e.Longest += time.Duration(rounds * float64(slot))
	}
	if rounds := p.rounds(); rounds > 0 {
		e.Typical = max(e.Typical, spread(float64(rounds), p.Policy.Sizes.At(steps, set), pace))
		e.Longest = max(e.Longest, time.Duration(rounds)*slot)
	}
	if canary {
		first := barriers([]int{len(p.Batches[0].Nodes)}, pace)
		e.Typical, e.Longest = e.Typical+first.Typical, e.Longest+first.Longest
	}
	return Estimate{e.Typical.Round(time.Second), e.Longest.Round(time.Second)}
}

// spread is how long rounds of a window of so many nodes take, until the last node of them is proved; no rest follows it.
func spread(rounds float64, window int, pace Pace) time.Duration {
	return time.Duration(rounds*float64(pace.Slot())) - pace.Sleep + pace.typical(window) - pace.typical(1)
}

// Window is how many nodes may be in flight now in a rolling run: the step of its ramp.
func (p Progress) Window() int {
	return p.l.begin.Plan.Policy.window(len(p.l.rows), p.l.rampProofs())
}

// Rounds is how many rounds of its window a rolling run has still to begin: in each one, as many nodes start as the window
// and the caps allow. Its cost is one look at every node where there are caps.
func (p Progress) Rounds() float64 {
	l, policy := p.l, p.l.begin.Plan.Policy
	left, rounds := l.counts.Of(Planned), 0.0
	sizes := l.sizesLeft()
	for i := range sizes {
		n := min(left, sizes.At(i, len(l.rows)))
		switch {
		case n == 0:
		case i < len(sizes)-1:
			left, rounds = left-n, rounds+1
		default:
			rounds += float64(left) / float64(sizes.At(i, len(l.rows)))
		}
	}
	return max(rounds, mostRounds(policy.MaxPer, func(fact string) iter.Seq[string] {
		return func(yield func(string) bool) {
			values := l.begin.Plan.Facts[fact]
			for i := range l.rows {
				if l.rows[i].state == Planned && i < len(values) && !yield(values[i]) {
					return
				}
			}
		}
	}))
}
