package gate

import (
	"fmt"
	"slices"
	"time"
)

// Verdict is what a look at a gate came to. In JSON it is its word.
type Verdict uint8

// The verdicts.
const (
	Passed       Verdict = iota + 1 // the next batch may go
	Failed                          // a stop rule is met
	Inconclusive                    // nothing is known: the run pauses, and the gate is asked again
	verdictEnd
)

var verdictWords = [verdictEnd]string{"unset", "passed", "failed", "inconclusive"}

// String returns the verdict's word; it is total.
func (v Verdict) String() string {
	if v < verdictEnd {
		return verdictWords[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// MarshalText returns the verdict's word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a verdict's word.
func (v *Verdict) UnmarshalText(text []byte) error {
	i := slices.Index(verdictWords[:], string(text))
	if i < 1 {
		return fmt.Errorf("unknown verdict %q of a gate", text)
	}
	*v = Verdict(i)
	return nil
}

// codes is the table of exit codes with a meaning of their own (docs/gates.md). Others fail; from 128 on the command was
// ended by a signal.
var codes = []struct {
	code    int
	verdict Verdict
	says    string
}{
	{0, Passed, ""},
	{6, Inconclusive, "fleetctl: the outcome of some nodes is unknown"},
	{8, Inconclusive, "fleetctl: no node matched"},
	{9, Inconclusive, "fleetctl: no connection"},
	{75, Inconclusive, "a temporary failure"},
	{124, Inconclusive, "timeout: time is up"},
	{126, Inconclusive, "the command cannot be executed"},
	{127, Inconclusive, "the command was not found"},
}

// firstSignal is the lowest exit code by which a shell says that a signal ended the command.
const firstSignal = 128

// judge gives an exit code its verdict, and what is known of its meaning; "" for a code without one. A negative code is
// that of a shell which a signal ended.
func judge(code int) (v Verdict, says string) {
	for _, c := range codes {
		if c.code == code {
			return c.verdict, c.says
		}
	}
	if code >= firstSignal || code < 0 {
		return Inconclusive, "ended by a signal"
	}
	return Failed, ""
}

// Look is what one look at one gate came to. Its texts are scrubbed, harmless and of one line.
type Look struct {
	Gate    string        `json:"gate"` // the command or the expression
	Verdict Verdict       `json:"verdict"`
	Reason  string        `json:"reason,omitempty"` // for people; a command's last line, where it wrote one
	Value   string        `json:"value,omitempty"`  // the exit code, or the number that the query gave; "" for none
	Took    time.Duration `json:"took"`             // nanoseconds
}

// String is the look as one line for people.
func (l Look) String() string {
	text := fmt.Sprintf("gate %q %s", l.Gate, l.Verdict)
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	return text
}

// Round is one look at every gate, at the same time.
type Round struct {
	Time    time.Time // when the last answer was in
	Looks   []Look    // in the order of the gates
	Verdict Verdict   // a failed gate fails the round; all must pass
	Reason  string    // of the first gate that decided it; "" when all passed
}

// newRound sums the looks up. Without a gate the round passes.
func newRound(at time.Time, looks []Look) Round {
	r := Round{Time: at, Looks: looks, Verdict: Passed}
	for _, worst := range []Verdict{Failed, Inconclusive} {
		for _, l := range looks {
			if l.Verdict == worst {
				r.Verdict, r.Reason = worst, l.String()
				return r
			}
		}
	}
	return r
}
