package batch

import "fmt"

// StopKind says what ended a run early. The zero value: nothing did.
type StopKind uint8

// The kinds of stop.
const (
	StopRule     StopKind = iota + 1 // a stop rule was reached
	StopDeadline                     // the run's deadline passed
	StopSignal                       // interrupted; the first signal
	StopLost                         // the connection was lost, or a batch could not be sent
	StopDeclined                     // the answer between batches was no
	StopFault                        // a record could not be kept
	stopEnd
)

var stopWords = [stopEnd]string{"none", "rule", "deadline", "signal", "lost", "declined", "fault"}

// String returns the kind's word; it is total.
func (k StopKind) String() string {
	if k < stopEnd {
		return stopWords[k]
	}
	return fmt.Sprintf("stop(%d)", uint8(k))
}

// MarshalText returns the kind's word.
func (k StopKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a kind's word.
func (k *StopKind) UnmarshalText(text []byte) error {
	for i, w := range stopWords {
		if string(text) == w {
			*k = StopKind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown kind of stop %q", text)
}

// The names of the stop rules, in Stop.Rule.
const (
	RuleMaxFailed       = "max-failed"
	RuleMaxNoReply      = "max-no-reply"
	RuleMaxFailedBatch  = "max-failed-batch"
	RuleMaxNoReplyBatch = "max-no-reply-batch"
	RuleNothing         = "whole-batch"
)

// Stop is why a run ended early. Comparable; the zero value means that nothing
// stopped it.
type Stop struct {
	Kind   StopKind `json:"kind"`
	Rule   string   `json:"rule,omitempty"`  // for StopRule
	Batch  int      `json:"batch,omitempty"` // for rules of a batch
	Count  int      `json:"count,omitempty"` // what was counted
	Limit  int      `json:"limit,omitempty"` // what was reached
	Reason string   `json:"reason"`          // one line for people
}

// Tally is what the stop rules judge: the whole run, or one batch.
type Tally struct {
	Nodes      int
	Refused    int
	Unverified int
	NoReply    int
	Open       int // being sent, or accepted with a proof to wait for
	Batch      int // 0 for the run
	Canary     bool
}

func (t Tally) failed() int { return t.Refused + t.Unverified }

// Decide is the only judge of stop rules: it reports the first rule that the
// counts meet. Failures and silence (counted once the reply timeout is over)
// are met for good, so a rule may be met while nodes of the batch are still
// open; the rule about whole batches waits until none is. Pure.
func Decide(r Rules, run, batch Tally) (Stop, bool) {
	maxFailed := r.MaxFailed
	if r.FailFast {
		maxFailed = Number(1)
	}
	for _, c := range []struct {
		rule   string
		limit  Amount
		tally  Tally
		count  int
		failed string
	}{
		{RuleMaxFailed, maxFailed, run, run.failed(), "failed"},
		{RuleMaxNoReply, r.MaxNoReply, run, run.NoReply, "did not reply"},
		{RuleMaxFailedBatch, r.MaxFailedBatch, batch, batch.failed(), "failed"},
		{RuleMaxNoReplyBatch, r.MaxNoReplyBatch, batch, batch.NoReply, "did not reply"},
	} {
		limit := c.limit.limit(c.tally.Nodes)
		if c.limit.IsZero() || limit == 0 || c.count < limit {
			continue
		}
		where := ""
		if c.tally.Batch > 0 {
			where = fmt.Sprintf(" of batch %d", c.tally.Batch)
		}
		return Stop{Kind: StopRule, Rule: c.rule, Batch: c.tally.Batch, Count: c.count, Limit: limit,
			Reason: fmt.Sprintf("%d of %d nodes%s %s: limit is %d", c.count, c.tally.Nodes, where, c.failed, limit)}, true
	}
	if r.StopWhenNothing && cameToNothing(batch) {
		return Stop{Kind: StopRule, Rule: RuleNothing, Batch: batch.Batch, Count: batch.Nodes, Limit: batch.Nodes,
			Reason: nothingReason(batch)}, true
	}
	return Stop{}, false
}

func cameToNothing(t Tally) bool {
	if t.Nodes == 0 || t.Open > 0 || t.failed()+t.NoReply < t.Nodes {
		return false
	}
	return t.Refused == t.Nodes || t.Nodes >= 2 || t.Canary
}

func nothingReason(t Tally) string {
	what := fmt.Sprintf("%d refused, %d unverified, %d without a reply", t.Refused, t.Unverified, t.NoReply)
	switch t.Nodes {
	case t.Refused:
		what = "every node refused"
	case t.Unverified:
		what = "no node is verified"
	case t.NoReply:
		what = "no node replied"
	}
	name := "batch"
	if t.Canary {
		name = "canary batch"
	}
	return fmt.Sprintf("%s %d came to nothing: %s", name, t.Batch, what)
}
