package batch

import (
	"testing"
	"time"
)

// script is a machine that a test plays the runner of, step by step.
type script struct{ *driver }

func newScript(t *testing.T, from Progress, rules Rules) *script {
	d := &driver{t: t, audit: newAudit(t), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), verify: true, probe: true, rules: rules, pace: calm}
	d.m = newMachine(from.l, true, true, nil)
	return &script{d}
}

// reopen is the run as the next process finds it in the journal.
func (s *script) reopen() Progress {
	p, err := Replay(fromLines(s.audit.lines))
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// A retry leaves a node unknown that the earlier run may have reached, and sends
// to another node of the same batch. A resume of the retry must look at the
// first node with what the earlier run knew, not with its batch's sending.
func TestNodeIsJudgedByItsOwnAttempts(t *testing.T) {
	plan, err := NewPlan(named(2), Policy{})
	if err != nil {
		t.Fatal(err)
	}
	old := time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC)
	plan.Doubts = []Target{
		{Node: "n1", Batch: 4, Baseline: "old", Sent: old},
		{Node: "n2", Batch: 4, Baseline: "old", Sent: old},
	}
	from, err := Begin(Header{Run: "retry"}, plan)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t, from, Rules{})
	s.event("start", nil)
	s.event("probe", []string{"n1", "unproved"})
	s.event("probe", []string{"n2", "untouched"})
	s.event("probe-ended", nil)
	s.event("baseline", []string{"1", "n2=new"})
	again := s.reopen()
	for r := range again.Results() {
		if r.Identity == "n1" && !r.Sent.IsZero() {
			t.Errorf("nothing was sent to n1 in this run, and it was sent to at %v", r.Sent)
		}
	}
	s = newScript(t, again, Rules{})
	for _, c := range s.m.start(s.now, Rules{}, calm) {
		probe, ok := c.(probeCmd)
		if !ok {
			continue
		}
		for _, target := range probe.Targets {
			if target.Node == "n1" && (target.Baseline != "old" || !target.Sent.Equal(old)) {
				t.Errorf("n1 is judged by %+v, and its one request left at %v", target, old)
			}
		}
	}
}
