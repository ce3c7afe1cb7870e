package batch

import (
	"fmt"
	"strings"
	"time"
)

// StopKind is what ended a run early. The zero value means that nothing did.
type StopKind uint8

// The kinds of stop.
const (
	StopRule     StopKind = iota + 1 // a stop rule was reached
	StopDeadline                     // the run's deadline passed
	StopSignal                       // interrupted; the first signal
	StopLost                         // the connection was lost for good, or a batch could not be sent
	StopDeclined                     // the answer between batches was no
	StopFault                        // a record could not be kept
	StopGate                         // a gate failed, or was inconclusive for too long
	stopEnd
)

var stopWords = [stopEnd]string{"none", "rule", "deadline", "signal", "lost", "declined", "fault", "gate"}

// String returns the kind's word; it works for every value.
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

// The names of the stop rules, in Stop.Rule.
const (
	RuleMaxFailed       = "max-failed"
	RuleMaxNoReply      = "max-no-reply"
	RuleMaxAbsent       = "max-absent"
	RuleMaxFailedBatch  = "max-failed-batch"
	RuleMaxNoReplyBatch = "max-no-reply-batch"
	RuleWholeBatch      = "whole-batch"
	RuleInARow          = "in-a-row" // of a window: so many nodes, one after another
	RuleTokens          = "expiring-tokens"
	RuleHours           = "within"
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

// Tally holds the counts that stop rules check: of the run, of one batch, or of
// consecutive nodes of a window. After a resume only events since the resume count,
// except for the rule about whole batches: it checks all of a batch.
type Tally struct {
	Nodes      int
	Refused    int
	Unverified int
	Absent     int
	NoReply    int
	Open       int // being sent, or accepted with a proof to wait for
	Batch      int // 0 for the run
	Canary     bool
	InARow     bool   // nodes in the order in which they were sent to, absent ones left out
	Fresh      *Tally // of a batch: what happened since the last start or resume; nil: all of it
}

func (t Tally) failed() int { return t.Refused + t.Unverified }

// fresh returns the counts of the batch since the last start or resume.
func (t Tally) fresh() Tally {
	if t.Fresh == nil {
		return t
	}
	return *t.Fresh
}

// decide judges every stop rule that counts nodes, and returns the first rule
// that the counts meet. (The rules about expiring tokens and about hours are in machine_tokens.go and machine_hours.go.)
// Failures and silence (counted once the reply timeout is over)
// are met for good, so a rule may be met while nodes of the batch are still
// open; the rule about whole batches waits until none is. In a window, batch holds
// the nodes around the one that something is new of, when there are as many in a
// row without a success as the rule asks for. Pure.
func decide(r Rules, run, batch Tally) (Stop, bool) {
	maxFailed := r.MaxFailed
	if r.FailFast {
		maxFailed = Number(1)
	}
	for _, c := range []struct {
		rule  string
		limit Amount
		of    Tally
		count int
		what  string
	}{
		{RuleMaxFailed, maxFailed, run, run.failed(), "failed"},
		{RuleMaxNoReply, r.MaxNoReply, run, run.NoReply, "did not reply"},
		{RuleMaxAbsent, r.MaxAbsent, run, run.Absent, "were absent"},
		{RuleMaxFailedBatch, r.MaxFailedBatch, batch, batch.fresh().failed(), "failed"},
		{RuleMaxNoReplyBatch, r.MaxNoReplyBatch, batch, batch.fresh().NoReply, "did not reply"},
	} {
		limit := c.limit.limit(c.of.Nodes)
		if c.limit.IsZero() || limit == 0 || c.count < limit {
			continue
		}
		where := ""
		if c.of.Batch > 0 {
			where = fmt.Sprintf(" of batch %d", c.of.Batch)
		}
		return Stop{Kind: StopRule, Rule: c.rule, Batch: c.of.Batch, Count: c.count, Limit: limit,
			Reason: fmt.Sprintf("%d of %s%s %s: the limit is %d", c.count, nodeCount(c.of.Nodes), where, c.what, limit)}, true
	}
	if r.StopWhenNothing && withoutSuccess(batch) && !replaced(r, batch) {
		rule := RuleWholeBatch
		if batch.InARow {
			rule = RuleInARow
		}
		return Stop{Kind: StopRule, Rule: rule, Batch: batch.Batch, Count: batch.Nodes, Limit: batch.Nodes,
			Reason: nothingReason(batch)}, true
	}
	return Stop{}, false
}

// withoutSuccess: no node of the batch is proved, and none can be any more.
func withoutSuccess(t Tally) bool {
	if t.Nodes == 0 || t.Open > 0 || t.failed()+t.Absent+t.NoReply < t.Nodes {
		return false
	}
	return t.Refused == t.Nodes || t.Nodes >= 2 || t.Canary
}

// replaced reports whether every node of a batch without a success is of a
// kind that has a rule of its own.
func replaced(r Rules, t Tally) bool {
	failed := r.FailFast || !r.MaxFailed.IsZero() || !r.MaxFailedBatch.IsZero()
	silent := !r.MaxNoReply.IsZero() || !r.MaxNoReplyBatch.IsZero()
	return (failed || t.failed() == 0) && (silent || t.NoReply == 0) && (!r.MaxAbsent.IsZero() || t.Absent == 0)
}

func nothingReason(t Tally) string {
	var what string
	switch t.Nodes {
	case t.Refused:
		what = "every node refused"
	case t.Unverified:
		what = "no node is verified"
	case t.NoReply:
		what = "no node replied"
	case t.Absent:
		what = "no node is connected"
	default:
		var parts []string
		for _, p := range []struct {
			n    int
			word string
		}{{t.Refused, "refused"}, {t.Unverified, "unverified"}, {t.Absent, "absent"}, {t.NoReply, "without a reply"}} {
			if p.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
			}
		}
		what = strings.Join(parts, ", ")
	}
	if t.InARow {
		return fmt.Sprintf("none of %s in a row succeeded: %s", nodeCount(t.Nodes), what)
	}
	name := "batch"
	if t.Canary {
		name = "canary batch"
	}
	return fmt.Sprintf("no node of %s %d succeeded: %s", name, t.Batch, what)
}

// nodeCount is a number of nodes in words.
func nodeCount(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}
