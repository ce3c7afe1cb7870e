package batch

import (
	"fmt"
	"time"
)

// CanaryOff as Policy.Canary turns the default canary off.
const CanaryOff = -1

// defaultCanaryAbove is the number of nodes above which an action that takes a
// token begins with a canary of 1.
const defaultCanaryAbove = 10

// Policy reports how nodes become batches. The zero value is one batch of
// everything. It goes into the journal as JSON.
type Policy struct {
	// Rolling makes Sizes a window: so many nodes are in flight, and the next one
	// starts when one is proved. A list is a ramp: a step of n nodes ends after n
	// proofs in it. SpreadBy and MaxPer then hold at any moment.
	Rolling    bool     `json:"rolling,omitempty"`
	Sizes      Sizes    `json:"sizes,omitempty"`
	Canary     int      `json:"canary,omitempty"`      // nodes in a first small batch; 0 the default, CanaryOff none
	TakesToken bool     `json:"takes_token,omitempty"` // a wrong token must not reach every node: enables the default canary
	SpreadBy   string   `json:"spread_by,omitempty"`   // a fact: every batch takes a like share of each of its values
	MaxPer     []MaxPer `json:"max_per,omitempty"`     // caps within each batch, or of the window
	LastIf     string   `json:"last_if,omitempty"`     // the caller's expression by which Node.Last was decided
}

// MaxPer caps how many nodes with one value of a fact are in a batch, or in
// flight.
type MaxPer struct {
	Fact string `json:"fact"`
	N    int    `json:"n"`
}

// Facts lists the facts the policy needs to know of every node.
func (p Policy) Facts() []string {
	var facts []string
	if p.SpreadBy != "" {
		facts = append(facts, p.SpreadBy)
	}
	for _, m := range p.MaxPer {
		if m.Fact != p.SpreadBy {
			facts = append(facts, m.Fact)
		}
	}
	return facts
}

// Validate refuses sizes and caps without a meaning.
func (p Policy) Validate() error {
	for _, a := range p.Sizes {
		if a.IsZero() {
			return fmt.Errorf("cannot plan: a batch size is empty")
		}
		if err := a.Validate(); err != nil {
			return fmt.Errorf("cannot plan: batch size: %w", err)
		}
	}
	if p.Rolling && len(p.Sizes) == 0 {
		return fmt.Errorf("cannot plan: a rolling window without a size")
	}
	if p.Canary < CanaryOff {
		return fmt.Errorf("cannot plan: canary of %d nodes", p.Canary)
	}
	seen := map[string]bool{}
	for _, m := range p.MaxPer {
		switch {
		case m.Fact == "":
			return fmt.Errorf("cannot plan: a cap per fact value without a fact")
		case m.N < 1:
			return fmt.Errorf("cannot plan: a cap of %d per value of %s", m.N, m.Fact)
		case seen[m.Fact]:
			return fmt.Errorf("cannot plan: two caps per value of %s", m.Fact)
		}
		seen[m.Fact] = true
	}
	return nil
}

// Rules define when a run stops. Reaching a number stops. The zero value never
// stops. Failed means refused or unverified; nodes without a reply, and absent
// ones, are counted apart. Shares are of the plan, or of the batch. Comparable.
type Rules struct {
	MaxFailed       Amount `json:"max_failed,omitzero"`
	MaxNoReply      Amount `json:"max_no_reply,omitzero"`
	MaxFailedBatch  Amount `json:"max_failed_batch,omitzero"`
	MaxNoReplyBatch Amount `json:"max_no_reply_batch,omitzero"`
	MaxAbsent       Amount `json:"max_absent,omitzero"`
	FailFast        bool   `json:"fail_fast,omitempty"` // MaxFailed of 1
	// StopWhenNothing stops when no node of a batch succeeded (proved, or
	// accepted if nothing is proved). The batch must have two or more nodes, be
	// a canary, or consist of refusals only. In a window the rule applies to as
	// many consecutive nodes as the window has slots, at least two, in sending
	// order without the absent ones; nodes that were not sent to are not in it. The rule is skipped if every node without
	// success is of a kind that has its own rule above. Callers set it for
	// actions that change something.
	StopWhenNothing bool `json:"stop_when_nothing,omitempty"`
	// TokenMargin stops before a batch with a node whose token ends sooner than
	// this after now. A silent node whose token is not known is not sent to. 0:
	// tokens do not matter.
	TokenMargin time.Duration `json:"token_margin,omitempty"`
	// NotSince leaves out nodes whose process is younger than this when their batch is sent; they are not-sent, and count for
	// no rule and no verdict. It needs a Verifier that reports ages. 0: ages do not matter.
	NotSince time.Duration `json:"not_since,omitempty"`
}

// Validate refuses amounts without a meaning.
func (r Rules) Validate() error {
	for _, a := range []struct {
		name  string
		value Amount
	}{
		{RuleMaxFailed, r.MaxFailed}, {RuleMaxNoReply, r.MaxNoReply},
		{RuleMaxFailedBatch, r.MaxFailedBatch}, {RuleMaxNoReplyBatch, r.MaxNoReplyBatch},
		{RuleMaxAbsent, r.MaxAbsent},
	} {
		if err := a.value.Validate(); err != nil {
			return fmt.Errorf("stop rule %s: %w", a.name, err)
		}
	}
	if r.NotSince < 0 {
		return fmt.Errorf("cannot leave out nodes that started within %v", r.NotSince)
	}
	return nil
}

// Pace defines how fast a run goes. Comparable; in JSON durations are nanoseconds.
type Pace struct {
	Sleep        time.Duration `json:"sleep"`              // between one batch's replies and the next batch; 0 none
	ReplyTimeout time.Duration `json:"reply_timeout"`      // from the moment a batch was sent; must be positive
	Deadline     time.Duration `json:"deadline,omitempty"` // of the whole run (or resume), from its start; 0 none
	ConfirmEach  bool          `json:"confirm_each,omitempty"`

	// Within are the hours in which batches may begin; a batch that has begun ends whenever it ends. Outside of them the
	// run waits, or (StopOutside) ends as by a stop rule.
	Within      Hours `json:"within,omitempty"`
	StopOutside bool  `json:"stop_outside,omitempty"`

	// SilentHold is how long a node that does not reply keeps its slot of a
	// window, from the moment it was sent to: until it can no longer act, and has
	// had its time to come back.
	SilentHold time.Duration `json:"silent_hold,omitempty"`

	// Watch hands nodes to the Verifier as soon as they were sent to, for actions that reply late or not at all: proof
	// ends the wait for a reply.
	Watch bool `json:"watch,omitempty"`

	// Only for estimates; the Verifier holds its own limits.
	LongestDelay  time.Duration `json:"longest_delay,omitempty"`  // between a reply and the act
	Settle        time.Duration `json:"settle,omitempty"`         // how long a proof must last
	VerifyTimeout time.Duration `json:"verify_timeout,omitempty"` // 0: nothing is verified
}

// inBatches refuses options that work batch by batch: a window has no batches.
func (r Rules) inBatches(p Pace) error {
	switch {
	case !r.MaxFailedBatch.IsZero():
		return fmt.Errorf("cannot roll with stop rule %s: it is about one batch", RuleMaxFailedBatch)
	case !r.MaxNoReplyBatch.IsZero():
		return fmt.Errorf("cannot roll with stop rule %s: it is about one batch", RuleMaxNoReplyBatch)
	case p.ConfirmEach:
		return fmt.Errorf("cannot confirm each batch of a rolling window: there are none")
	}
	return nil
}

// Validate refuses negative times and a missing reply timeout.
func (p Pace) Validate() error {
	for _, d := range []time.Duration{p.Sleep, p.Deadline, p.LongestDelay, p.Settle, p.VerifyTimeout, p.SilentHold} {
		if d < 0 {
			return fmt.Errorf("cannot pace a run by %v: below zero", d)
		}
	}
	if p.ReplyTimeout <= 0 {
		return fmt.Errorf("cannot wait %v for replies", p.ReplyTimeout)
	}
	return p.Within.Validate()
}
