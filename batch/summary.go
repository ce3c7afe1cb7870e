package batch

import (
	"fmt"
	"iter"
	"time"
)

// Verdict is the class of a run's end. The exit codes belong to the caller.
type Verdict uint8

// The verdicts, the strongest first: when several hold, the first counts.
const (
	Fault       Verdict = iota + 1 // the machine failed: a record could not be kept
	Interrupted                    // ended by a signal
	Stopped                        // a stop left nodes unsent
	Uncertain                      // some nodes' outcome is unknown, or they could not be asked for proof
	Failed                         // some nodes refused or are unverified
	Silent                         // some nodes were absent, did not reply or were left out, none refused
	Done                           // the action succeeded on every node
	verdictEnd
)

var verdictWords = [verdictEnd]string{"unset", "fault", "interrupted", "stopped", "uncertain", "failed", "silent", "done"}

// String returns the verdict's word; it works for every value.
func (v Verdict) String() string {
	if v < verdictEnd {
		return verdictWords[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// MarshalText returns the verdict's word; "unset" for a run that has none yet.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a verdict's word.
func (v *Verdict) UnmarshalText(text []byte) error {
	for i, w := range verdictWords {
		if string(text) == w {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("unknown verdict %q", text)
}

// Summary is the result of a run.
type Summary struct {
	Run      string        `json:"run,omitempty"`
	Parent   string        `json:"parent,omitempty"` // the run that this one retries
	Nodes    int           `json:"nodes"`
	States   Counts        `json:"states"`
	Batches  []BatchResult `json:"batches"`
	Stop     Stop          `json:"stop,omitzero"` // what ended the run early; zero: nothing did
	Verdict  Verdict       `json:"verdict"`
	Reason   string        `json:"reason,omitempty"` // one line for the operator; "" when the counts are enough
	Started  time.Time     `json:"started,omitzero"`
	Ended    time.Time     `json:"ended,omitzero"` // zero: still running, or died
	Resumes  int           `json:"resumes,omitempty"`
	Late     int           `json:"late,omitempty"`     // replies that came after the reply timeout and counted
	Ignored  int           `json:"ignored,omitempty"`  // duplicate and stray replies
	Open     int           `json:"open,omitempty"`     // nodes that a resume would work on
	Unproved int           `json:"unproved,omitempty"` // accepted, but not checked for proof
	Paused   bool          `json:"paused,omitempty"`   // nothing new is sent until an operator continues it
	Held     time.Time     `json:"held,omitzero"`      // no batch begins before: Pace.Within; zero: nothing is held back
	Gates    []GateResult  `json:"gates,omitempty"`    // what the gates came to, in order

	Rolling bool `json:"rolling,omitempty"` // nodes started one by one; batches are what was sent at once

	progress Progress
}

// Results yields the nodes in the order of the plan.
func (s Summary) Results() iter.Seq[Result] { return s.progress.Results() }

// BatchResult is the result of one batch.
type BatchResult struct {
	Batch   int       `json:"batch"`
	Nodes   int       `json:"nodes"`
	Canary  bool      `json:"canary,omitempty"`
	Reason  string    `json:"reason"`
	Request string    `json:"request,omitempty"` // what the Requester called it
	States  Counts    `json:"states"`
	Sent    time.Time `json:"sent,omitzero"`    // when the intent was recorded
	Replies time.Time `json:"replies,omitzero"` // when the replies were in
	Ended   time.Time `json:"ended,omitzero"`   // when the verification had ended too
}

// Result is what is known of one node.
type Result struct {
	Identity string        `json:"identity"`
	Batch    int           `json:"batch"`
	State    State         `json:"state"`
	Code     int           `json:"code,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	Baseline string        `json:"baseline,omitempty"`
	Sent     time.Time     `json:"sent,omitzero"` // when the intent of its own request was recorded; zero: nothing was sent to it in this run
	Replied  time.Time     `json:"replied,omitzero"`
	Proved   time.Time     `json:"proved,omitzero"` // when the proof, or its time limit, came
	Delay    time.Duration `json:"delay,omitempty"` // announced by the node
	Late     bool          `json:"late,omitempty"`  // the reply came after the reply timeout
}
