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
	for _, c := range s.m.start(s.now, Rules{}, calm, Gates{}, false, Shortest) {
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

// What was seen of a silent node is its reason; its state stays. The journal says the same.
func TestASilentNodeKeepsWhatWasSeenOfIt(t *testing.T) {
	from, err := Begin(Header{Run: "r"}, mustPlan(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t, from, Rules{})
	s.event("start", nil)
	s.event("baseline", []string{"1", "n1=a", "n2=b"})
	s.event("sent", []string{"1"})
	s.event("reply", []string{"1", "n1", "ok"})
	s.event("wait", []string{calm.ReplyTimeout.String()})
	for _, reason := range []string{"does not answer", "came back unprovisioned", "came back unprovisioned"} {
		s.do(s.m.step(proofEvent{s.now, Proof{Node: "n2", Found: Unproved, Reason: reason}}))
	}
	s.event("proof", []string{"n1", "acted"})
	for what, p := range map[string]Progress{"the run": {s.m.l}, "the journal": s.reopen()} {
		if r, _ := resultOf(p, "n2"); r.State != NoReply || r.Reason != "came back unprovisioned" || !r.Proved.IsZero() {
			t.Errorf("%s: %+v", what, r)
		}
	}
	proofs := 0
	for r := range Records(fromLines(s.audit.lines)) {
		if r.Kind == KindProofs && r.Proofs[0].Node == "n2" {
			proofs++
		}
	}
	if proofs != 2 {
		t.Errorf("%d records about n2, want one for each reason", proofs)
	}
}

// A journal that says that a node was sent to although a request of the chain may
// have reached it is not believed.
func TestIntentForADoubtfulNodeIsRefused(t *testing.T) {
	plan, err := NewPlan(named(1), Policy{})
	if err != nil {
		t.Fatal(err)
	}
	plan.Doubts = []Target{{Node: "n1", Batch: 1, Sent: time.Unix(9, 0)}}
	for name, records := range map[string][]Record{
		"of an earlier run": {{Kind: KindPlan, Begin: &Beginning{Plan: &plan}}, {Kind: KindIntent, Batch: 1}},
		"barred": {{Kind: KindPlan, Begin: &Beginning{Plan: &Plan{Batches: plan.Batches}}},
			{Kind: KindRestarted, Batch: 1, Nodes: []string{"n1"}}, {Kind: KindResumed, Begin: &Beginning{}}, {Kind: KindIntent, Batch: 1}},
	} {
		var lines [][]byte
		for _, r := range records {
			line, err := encodeRecord(r)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		if _, err := Replay(fromLines(lines[:len(lines)-1])); err != nil {
			t.Errorf("%s, before the intent: %v", name, err)
		}
		if _, err := Replay(fromLines(lines)); err == nil {
			t.Errorf("%s: the intent is believed", name)
		}
	}
}

// What a run can do nothing more about is not open: a node that restarted since
// the run began. A retry that names it does not send to it either.
func TestRestartedNodeIsNeverSentTo(t *testing.T) {
	from, err := Begin(Header{Run: "r"}, mustPlan(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t, from, Rules{})
	s.event("start", nil)
	s = &script{&driver{t: t, audit: s.audit, now: s.now.Add(time.Hour), verify: true, probe: true, pace: calm, m: newMachine(s.reopen().l, true, true, nil)}}
	s.event("start", nil)
	s.event("baseline", []string{"1", "n1=a@1m", "n2=absent"})
	if p := s.reopen(); p.Open() != 0 || p.Counts() != CountsOf(map[State]int{Unknown: 1, Absent: 1}) {
		t.Fatalf("open %d, %s", p.Open(), counts(p.Counts()))
	}
	plan, err := Retry(s.reopen(), []State{Unknown, Absent}, Policy{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Doubts) != 1 || plan.Doubts[0] != (Target{Node: "n1"}) {
		t.Errorf("doubts %+v", plan.Doubts)
	}
	again, err := Begin(Header{Run: "r2"}, plan)
	if err != nil {
		t.Fatal(err)
	}
	s = newScript(t, again, Rules{})
	s.event("start", nil)
	s.event("baseline", []string{"1", "n1=a@1m", "n2=b@1h"})
	for name, want := range map[string]State{"n1": Unknown, "n2": Sending} {
		if r, _ := resultOf(Progress{s.m.l}, name); r.State != want {
			t.Errorf("%s is %s, want %s", name, r.State, want)
		}
	}
}

func mustPlan(t *testing.T, nodes int) Plan {
	t.Helper()
	plan, err := NewPlan(named(nodes), Policy{})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestALateFlushKeepsItsIntent: the first requests of a batch that took 12 s to leave left right after the intent.
func TestALateFlushKeepsItsIntent(t *testing.T) {
	plan, err := NewPlan(named(2), Policy{})
	if err != nil {
		t.Fatal(err)
	}
	from, err := Begin(Header{Run: "slow"}, plan)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t, from, Rules{})
	s.event("start", nil)
	s.event("baseline", []string{"1", "n1=a", "n2=b"})
	intent := s.now
	s.now = s.now.Add(12 * time.Second)
	s.event("sent", []string{"1"})
	for name, l := range map[string]*ledger{"this process": s.m.l, "the next": s.reopen().l} {
		if got := l.target(0); !got.Sent.Equal(intent) || !got.LeftBy().Equal(s.now) {
			t.Errorf("%s: sent %s and left by %s, want %s and %s", name, got.Sent, got.LeftBy(), intent, s.now)
		}
	}
}
