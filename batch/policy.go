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
