package batch

import "time"

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

// typicalReply is what a healthy fleet needs to answer a batch; typicalWatch what it
// needs to act, where proof is looked for meanwhile, and lastWatch how long it is
// looked for at most after a reply.
const (
	typicalReply = time.Second
	typicalWatch = 30 * time.Second
	lastWatch    = time.Minute
)

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
	e.Barrier = barriers(p.batches(), pace)
	if len(p.Policy.Sizes) > 0 {
		e.Rolling = p.rolling(pace)
	}
	return e
}

// barriers: each batch needs its replies, then the longer of the sleep and the
// proof; no sleep follows the last.
func barriers(batches int, pace Pace) Estimate {
	n := time.Duration(batches)
	reply := typicalReply
	var proof, longestProof time.Duration
	switch {
	case pace.VerifyTimeout > 0 && pace.Watch:
		reply, proof, longestProof = typicalWatch, pace.Settle, pace.Settle+min(pace.VerifyTimeout, lastWatch)
	case pace.VerifyTimeout > 0:
		proof = pace.LongestDelay + pace.Settle
		longestProof = proof + pace.VerifyTimeout
	}
	return Estimate{
		Typical: n*min(reply, pace.ReplyTimeout) + (n-1)*max(pace.Sleep, proof) + proof,
		Longest: n*pace.ReplyTimeout + (n-1)*max(pace.Sleep, longestProof) + longestProof,
	}
}

// batches is how many there are, or would be without a window.
func (p Plan) batches() int {
	if !p.Policy.Rolling {
		return len(p.Batches)
	}
	n, set := len(p.Batches), p.Nodes()
	for i, left := 0, len(p.Pool); left > 0; i++ {
		left -= min(left, p.Policy.Sizes.At(i, set))
		n++
	}
	return max(n, p.rounds())
}

// rounds is how many batches the caps ask for at least.
func (p Plan) rounds() int {
	return max(p.CapRounds, capRounds(p.Policy.MaxPer, func(fact string) []string { return p.Facts[fact] }))
}

// capRounds is the same for nodes with these values of a fact.
func capRounds(caps []MaxPer, values func(fact string) []string) int {
	most := 0
	for _, c := range caps {
		with := map[string]int{}
		for _, v := range values(c.Fact) {
			with[v]++
			most = max(most, (with[v]+c.N-1)/c.N)
		}
	}
	return most
}

// rolling: each node has its slot for as long as it needs, on average half of the
// longest delay. Every step of a ramp takes as long as one node; the caps hold as
// many rounds up as they ask for.
func (p Plan) rolling(pace Pace) Estimate {
	set, left := p.Nodes(), len(p.Pool)
	if !p.Policy.Rolling {
		left = set
		if len(p.Batches) > 0 && p.Batches[0].Canary {
			left -= len(p.Batches[0].Nodes)
		}
	}
	sizes, rounds := p.Policy.Sizes, 0.0
	for i := range len(sizes) - 1 {
		if left > 0 {
			left -= min(left, sizes.At(i, set))
			rounds++
		}
	}
	if left > 0 { // the last node of a window starts when most of it has ended
		rounds += max(1, float64(left)/float64(sizes.At(len(sizes)-1, set)))
	}
	rounds = max(rounds, float64(p.rounds()))
	typical, longest := min(typicalReply, pace.ReplyTimeout), pace.ReplyTimeout
	switch {
	case pace.VerifyTimeout > 0 && pace.Watch:
		typical = min(typicalWatch, pace.ReplyTimeout) + pace.Settle
		longest += pace.Settle + min(pace.VerifyTimeout, lastWatch)
	case pace.VerifyTimeout > 0:
		typical += pace.LongestDelay/2 + pace.Settle
		longest += pace.LongestDelay + pace.Settle + pace.VerifyTimeout
	}
	longest = max(longest, pace.SilentHold)
	e := Estimate{
		Typical: time.Duration(rounds * float64(typical+pace.Sleep)).Round(time.Second),
		Longest: time.Duration(rounds * float64(longest+pace.Sleep)).Round(time.Second),
	}
	if p.Nodes() > len(p.Pool) && len(p.Batches) > 0 && p.Batches[0].Canary {
		canary := barriers(1, pace)
		e.Typical, e.Longest = e.Typical+canary.Typical, e.Longest+canary.Longest
	}
	return e
}
