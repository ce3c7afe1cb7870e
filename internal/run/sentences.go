package run

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/plain"
	"fleetctl/internal/proof"
)

// sentences describe the guards, the stop rules and the proof of this run, one sentence each, for the plan.
func (c checkpoint) sentences(rolling bool) []string {
	out := []string{}
	if c.Settings.Site != "" {
		out = append(out, "site "+c.Settings.Site)
	}
	for _, g := range guards() {
		if g.sentence != nil && g.applies(c) {
			if text := g.sentence(c); text != "" {
				out = append(out, text)
			}
		}
	}
	if text := hoursSentence(c.pace(), time.Now()); text != "" {
		out = append(out, text)
	}
	out = append(out, PaceSentences(c.policy(), c.pace())...)
	return append(out, slices.Concat(RuleSentences(c.rules(), rolling), gatekeeping(c).sentences(), c.proofSentences())...)
}

// PaceSentences describe what holds nodes and batches back besides the sizes, one sentence each.
func PaceSentences(p batch.Policy, pace batch.Pace) []string {
	var out []string
	where, start := "in a batch", "begins no batch"
	if p.Rolling {
		where, start = "in flight", "starts no node"
	}
	for _, most := range p.MaxPer {
		out = append(out, fmt.Sprintf("at most %s with the same %s %s", plain.Count(most.N, "node"), most.Fact, where))
	}
	if p.SpreadBy != "" {
		out = append(out, "spreads over the values of "+p.SpreadBy)
	}
	if pace.Deadline > 0 {
		out = append(out, fmt.Sprintf("%s after %s: --deadline", start, pace.Deadline))
	}
	return out
}

// RuleSentences describe the stop rules, one sentence each.
func RuleSentences(r batch.Rules, rolling bool) []string {
	var out []string
	add := func(ok bool, format string, args ...any) {
		if ok {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(!r.MaxFailed.IsZero(), "stops at %s failed", r.MaxFailed)
	add(r.FailFast, "stops at the first failure")
	add(!r.MaxNoReply.IsZero(), "stops at %s without a reply", r.MaxNoReply)
	add(!r.MaxAbsent.IsZero(), "stops at %s absent", r.MaxAbsent)
	add(!r.MaxFailedBatch.IsZero(), "stops at %s failed in one batch", r.MaxFailedBatch)
	add(!r.MaxNoReplyBatch.IsZero(), "stops at %s without a reply in one batch", r.MaxNoReplyBatch)
	add(r.StopWhenNothing && !rolling, "stops when no node of a batch succeeds")
	add(r.StopWhenNothing && rolling, "stops when a window full of nodes in a row has no success")
	add(r.NotSince > 0, "leaves out nodes that started within %s: --not-since", r.NotSince)
	add(r.TokenMargin > 0, "stops before a batch with a node whose token ends within %s", r.TokenMargin)
	return out
}

func (c checkpoint) proofSentences() []string {
	switch version := demand(c).wanted(); {
	case c.proves() == proof.Update:
		_, _, timeout := demand(c).limits()
		return []string{fmt.Sprintf("proves each node: a later start with version %s, within %s of the sending, with a reply or without", cmp.Or(version, "as --verify-expr has it"), timeout)}
	case version != "":
		return []string{fmt.Sprintf("proves each node: %s, and version %s", c.proves(), version)}
	case c.proves() != 0:
		return []string{fmt.Sprintf("proves each node: %s", c.proves())}
	}
	return nil
}

func (c checkpoint) proposal(plan batch.Plan) Proposal {
	return Proposal{Agent: c.req.Agent, Action: c.req.Action, Plan: plan, Estimate: noter(c).estimate(plan), Modes: noter(c).estimates(plan),
		Guards: c.sentences(plan.Rolls())}
}
