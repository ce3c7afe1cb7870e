package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

var begun = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// planOf is the first record of a run over these batches.
func planOf(batches ...[]string) batch.Record {
	plan := batch.Plan{}
	for i, nodes := range batches {
		plan.Batches = append(plan.Batches, batch.Batch{Number: i + 1, Nodes: nodes, Reason: "as the test says"})
	}
	return batch.Record{Kind: batch.KindPlan, Time: begun, Begin: &batch.Beginning{Plan: &plan, Header: batch.Header{Run: "r", Created: begun}}}
}

// progressOf is what the records say, over a, b and c in one batch.
func progressOf(t *testing.T, records ...batch.Record) batch.Progress {
	t.Helper()
	p, err := batch.Follow(journal(t, append([]batch.Record{planOf([]string{"a", "b", "c"})}, records...)...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func intent(number int, after time.Duration) batch.Record {
	return batch.Record{Kind: batch.KindIntent, Time: begun.Add(after), Batch: number}
}

func outcomes(number int, ok bool, nodes ...string) batch.Record {
	r := batch.Record{Kind: batch.KindOutcomes, Time: begun, Batch: number}
	for _, n := range nodes {
		r.Outcomes = append(r.Outcomes, batch.Outcome{Batch: number, Node: n, Time: begun, OK: ok})
	}
	return r
}

func withdrawnOf(nodes ...string) batch.Record {
	return batch.Record{Kind: batch.KindWithdrawn, Time: begun, Batch: 1, Nodes: nodes, Reason: "a stop rule"}
}

// shown is what of a view these tests look at.
type shown struct {
	doing           render.Doing
	done            string // verified+accepted of all
	answered        string
	proved, more    int
	waits, failures string
}

func shownOf(v render.View) shown {
	s := shown{doing: v.Doing, more: v.More, proved: v.Batch.Proved}
	s.done = fmt.Sprintf("%d+%d of %d", v.States.Of(batch.Verified), v.States.Of(batch.Accepted), v.States.Total())
	s.answered = fmt.Sprintf("%d/%d", v.Batch.Answered, v.Batch.Nodes)
	for _, w := range v.Waits {
		s.waits += " " + w.Node
	}
	for _, f := range v.Failures {
		s.failures += fmt.Sprintf(" %d %s: %s", f.Nodes, f.Cause, f.Names)
	}
	s.waits, s.failures = strings.TrimSpace(s.waits), strings.TrimSpace(s.failures)
	return s
}

// metered is the view after records, which come one by one.
func metered(t *testing.T, records ...batch.Record) (render.View, *meter) {
	t.Helper()
	var f batch.Follower
	var m *meter
	for line, err := range journal(t, records...) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.Add(line)
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			p, err := f.Progress()
			if err != nil {
				t.Fatal(err)
			}
			m = newMeter(p, render.View{})
		}
		m.observe(&r)
	}
	return m.snapshot(begun.Add(time.Hour)), m
}

// provedPlan is planOf for an action that is proved, with these times.
func provedPlan(pace batch.Pace, batches ...[]string) batch.Record {
	r := planOf(batches...)
	r.Begin.Proved, r.Begin.Pace = true, pace
	return r
}

func acted(after time.Duration, nodes ...string) batch.Record {
	r := batch.Record{Kind: batch.KindProofs, Time: begun.Add(after)}
	for _, n := range nodes {
		r.Proofs = append(r.Proofs, batch.Proof{Node: n, Found: batch.Acted, Time: r.Time})
	}
	return r
}

func refusal(node, why string) batch.Record {
	return batch.Record{Kind: batch.KindOutcomes, Time: begun, Outcomes: []batch.Outcome{{Batch: 1, Node: node, Time: begun, Code: 1, Reason: why}}}
}

func ofBatch(kind batch.Kind, number int, after time.Duration) batch.Record {
	return batch.Record{Kind: kind, Batch: number, Time: begun.Add(after)}
}

// The view shows the engine's own counts: a node that was withdrawn, or whose state is open, is neither done nor silent.
func TestTheMeterShowsTheEnginesCounts(t *testing.T) {
	plan, proved := planOf([]string{"a", "b", "c"}), provedPlan(batch.Pace{}, []string{"a", "b", "c"})
	sent := ofBatch(batch.KindSent, 1, time.Second)
	for _, tt := range []struct {
		name    string
		records []batch.Record
		want    shown
	}{
		{"nothing", []batch.Record{plan}, shown{doing: render.Asking, done: "0+0 of 3", answered: "0/3"}},
		{"leaving", []batch.Record{plan, intent(1, 0)}, shown{doing: render.Sending, done: "0+0 of 3", answered: "0/3", waits: "a b c"}},
		{"withdrawn, and one reply", []batch.Record{plan, intent(1, 0), sent, withdrawnOf("b", "c"), outcomes(1, true, "a")},
			shown{doing: render.Answering, done: "0+1 of 3", answered: "1/3"}},
		{"some replies", []batch.Record{plan, intent(1, 0), sent, outcomes(1, true, "a"), refusal("b", "not today")},
			shown{doing: render.Answering, done: "0+1 of 3", answered: "2/3", waits: "c", failures: "1 not today: b"}},
		{"the silent ones first, then those to be proved", []batch.Record{proved, intent(1, 0), sent, outcomes(1, true, "a", "b")},
			shown{doing: render.Answering, done: "0+2 of 3", answered: "2/3", waits: "c a b"}},
		{"silence", []batch.Record{proved, intent(1, 0), sent, outcomes(1, true, "a"), ofBatch(batch.KindReplies, 1, 0)},
			shown{doing: render.Proving, done: "0+1 of 3", answered: "1/3", waits: "a", failures: "2 no-reply: b,c"}},
		{"a late reply and its proof", []batch.Record{proved, intent(1, 0), sent, outcomes(1, true, "a"), ofBatch(batch.KindReplies, 1, 0), outcomes(1, true, "c"), acted(0, "a", "c")},
			shown{doing: render.Proving, done: "2+0 of 3", answered: "2/3", proved: 2, failures: "1 no-reply: b"}},
		{"no proof", []batch.Record{proved, intent(1, 0), sent, outcomes(1, true, "a", "b", "c"), ofBatch(batch.KindReplies, 1, 0), acted(0, "a"),
			{Kind: batch.KindProofs, Time: begun, Proofs: []batch.Proof{{Node: "b", Found: batch.Unproved, Reason: "did not come back"}}}},
			shown{doing: render.Proving, done: "1+1 of 3", answered: "3/3", proved: 1, waits: "c", failures: "1 unverified: did not come back: b"}},
		{"absent before it was sent", []batch.Record{proved, {Kind: batch.KindAbsent, Time: begun, Batch: 1, Nodes: []string{"b"}, Reason: "gone"}},
			shown{doing: render.Asking, done: "0+0 of 3", answered: "0/2", failures: "1 absent: gone: b"}},
		{"everything is sent, one is silent", []batch.Record{proved, intent(1, 0), sent, outcomes(1, true, "a", "b"), ofBatch(batch.KindReplies, 1, 0), acted(0, "a", "b"), ofBatch(batch.KindBatchEnd, 1, 0)},
			shown{doing: render.Looking, done: "2+0 of 3", answered: "2/3", proved: 2, failures: "1 no-reply: c"}},
		{"an end with open nodes", []batch.Record{plan, intent(1, 0), withdrawnOf("c"), outcomes(1, true, "a"),
			{Kind: batch.KindRunEnd, Time: begun, End: &batch.Ending{Verdict: batch.Stopped, States: batch.CountsOf(map[batch.State]int{batch.Accepted: 1, batch.Unknown: 1, batch.NotSent: 1}), Open: 2}}},
			shown{doing: render.Ended, done: "0+1 of 3", answered: "1/1", failures: "1 unknown: b"}},
		{"the next process", []batch.Record{proved, intent(1, 0), sent, outcomes(1, true, "a"), {Kind: batch.KindResumed, Time: begun, Begin: &batch.Beginning{Proved: true}}},
			shown{doing: render.Recovering, done: "0+1 of 3", answered: "1/1", more: 3, failures: "2 unknown: b,c"}},
	} {
		v, _ := metered(t, tt.records...)
		if got := shownOf(v); got != tt.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

// What comes on top of a step: a pause, a lost connection, a stop.
func TestTheMeterKnowsWhatHoldsARunBack(t *testing.T) {
	at := func(kind batch.Kind, r batch.Record) batch.Record {
		r.Kind, r.Time = kind, begun.Add(time.Minute)
		return r
	}
	paused, lost := at(batch.KindPaused, batch.Record{By: "op"}), at(batch.KindLink, batch.Record{Reason: "lost"})
	stopped := at(batch.KindStopped, batch.Record{Stop: &batch.Stop{Kind: batch.StopSignal, Reason: "x"}})
	waits, gates := at(batch.KindPaused, batch.Record{By: "lock", From: batch.ByShared}), at(batch.KindPaused, batch.Record{By: "gate", From: batch.ByGate})
	gate := at(batch.KindGate, batch.Record{Gate: &batch.GateRound{Verdict: batch.GateInconclusive, Reason: "no data"}})
	plan := planOf([]string{"a"})
	for _, tt := range []struct {
		name     string
		records  []batch.Record
		held     string
		stopping string
	}{
		{"nothing", []batch.Record{plan}, "", ""}, {"paused", []batch.Record{plan, paused}, "paused by op", ""},
		{"continued", []batch.Record{plan, paused, at(batch.KindContinued, batch.Record{})}, "", ""},
		{"waits", []batch.Record{plan, waits}, "waits for lock", ""}, {"waits no longer", []batch.Record{plan, waits, at(batch.KindContinued, batch.Record{By: "lock", From: batch.ByShared})}, "", ""},
		{"waits for a gate", []batch.Record{plan, gate, gates}, "gate", ""}, {"paused while it waits", []batch.Record{plan, gate, gates, waits, paused}, "paused by op", ""},
		{"paused by an operator called gate", []batch.Record{plan, at(batch.KindPaused, batch.Record{By: "gate", From: batch.ByOperator})}, "paused by gate", ""},
		{"lost", []batch.Record{plan, lost}, "lost", ""}, {"back", []batch.Record{plan, lost, at(batch.KindLink, batch.Record{Up: true})}, "", ""},
		{"stopped", []batch.Record{plan, stopped}, "", "x"},
		{"and resumed", []batch.Record{plan, paused, stopped, at(batch.KindResumed, batch.Record{Begin: &batch.Beginning{}})}, "", ""},
	} {
		v, _ := metered(t, tt.records...)
		held := ""
		if !v.Paused.IsZero() {
			held = "paused by " + v.PausedBy
		}
		if !v.Lost.IsZero() {
			held += "lost"
		}
		if v.Shared != "" {
			held += "waits for " + v.Shared
		}
		if v.Gate != "" {
			held += "gate"
		}
		if held != tt.held || v.Stopping != tt.stopping {
			t.Errorf("%s: held %q, stops %q", tt.name, held, v.Stopping)
		}
	}
}

// A node is waited for until its reply timeout, then until the end of its delay and of the time for its proof.
func TestTheMeterKnowsHowLongNodesAreWaitedFor(t *testing.T) {
	pace := batch.Pace{ReplyTimeout: 12 * time.Second, LongestDelay: 11 * time.Second, VerifyTimeout: time.Minute}
	plan := provedPlan(pace, []string{"a", "b", "c"})
	accepted := outcomes(1, true, "b", "c")
	accepted.Outcomes[0].Delay = 4 * time.Second
	v, _ := metered(t, plan, intent(1, 0), ofBatch(batch.KindSent, 1, 0), accepted)
	want := map[string]time.Duration{"a": 12 * time.Second, "b": 64 * time.Second, "c": 71 * time.Second}
	if len(v.Waits) != len(want) {
		t.Fatalf("waits for %v", v.Waits)
	}
	for _, w := range v.Waits {
		if got := w.Until.Sub(begun); got != want[w.Node] {
			t.Errorf("%s is waited for until %s, want %s", w.Node, got, want[w.Node])
		}
	}
}

// Of very many nodes none is named; the last ones are.
func TestTheMeterNamesTheLastOfManyNodes(t *testing.T) {
	names := make([]string, 300)
	for i := range names {
		names[i] = fmt.Sprintf("n%03d.site.example.net", i)
	}
	records := []batch.Record{planOf(names), intent(1, 0), ofBatch(batch.KindSent, 1, 0), outcomes(1, true, names[:150]...)}
	if v, _ := metered(t, records...); len(v.Waits) != 0 || v.More != 150 || v.Domain != ".site.example.net" {
		t.Errorf("of 150: %v and %d of %q", v.Waits, v.More, v.Domain)
	}
	v, _ := metered(t, append(records, outcomes(1, true, names[150:298]...))...)
	if len(v.Waits) != 2 || v.Waits[1].Node != names[299] || v.More != 0 {
		t.Errorf("of 2: %v and %d", v.Waits, v.More)
	}
}

// The end is estimated from the first batch on, as soon as something is proved.
func TestTheMeterEstimatesTheEnd(t *testing.T) {
	plan := provedPlan(batch.Pace{Sleep: 10 * time.Second}, []string{"a"}, []string{"b"}, []string{"c"}, []string{"d"})
	one := func(number int, node string, at time.Duration, proved bool) []batch.Record {
		rs := []batch.Record{intent(number, at), outcomes(number, true, node), ofBatch(batch.KindReplies, number, at+time.Second)}
		if proved {
			rs = append(rs, acted(at+5*time.Second, node))
		} else {
			rs = append(rs, batch.Record{Kind: batch.KindProofs, Time: begun, Proofs: []batch.Proof{{Node: node, Found: batch.Unproved}}})
		}
		return append(rs, ofBatch(batch.KindBatchEnd, number, at+5*time.Second))
	}
	for _, tt := range []struct {
		name    string
		records []batch.Record
		want    time.Duration // since the beginning; 0: no estimate
	}{
		{"before", nil, 0}, {"while the first is out", one(1, "a", 0, true)[:3], 0},
		{"after the first", one(1, "a", 0, true), 38 * time.Second}, // 11 s each, with the sleep, and none after the last
		{"after the second", slices.Concat(one(1, "a", 0, true), one(2, "b", 20*time.Second, true)), 56 * time.Second},
		{"nothing is proved", one(1, "a", 0, false), 0},
	} {
		v, _ := metered(t, append([]batch.Record{plan}, tt.records...)...)
		got := time.Duration(0)
		if !v.End.IsZero() {
			got = v.End.Sub(begun)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Of a window, what is done are nodes that need no more waiting; the rounds that are left take as long as those before.
func TestTheMeterFollowsAWindow(t *testing.T) {
	plan := batch.Plan{Policy: batch.Policy{Rolling: true, Sizes: batch.Sizes{batch.Number(1), batch.Number(2)}}, Pool: []string{"a", "b", "c", "d", "e"}}
	first := batch.Record{Kind: batch.KindPlan, Time: begun, Begin: &batch.Beginning{Plan: &plan, Proved: true, Pace: batch.Pace{SilentHold: 2 * time.Hour}, Header: batch.Header{Run: "r", Created: begun}}}
	starts := func(number int, after time.Duration, nodes ...string) batch.Record {
		r := intent(number, after)
		r.Nodes, r.Reason = nodes, "window of 2"
		return r
	}
	type seen struct {
		inFlight, silent int
		rate             float64
		end              time.Duration
		waits, line      string
	}
	records := []batch.Record{first}
	for _, step := range []struct {
		r    batch.Record
		want seen
	}{
		{starts(1, 0, "a", "b"), seen{inFlight: 2, waits: "a b"}},
		{outcomes(1, true, "a"), seen{inFlight: 2, waits: "b a"}}, // the silent one first
		{acted(10*time.Second, "a"), seen{inFlight: 1, rate: 6, end: 35 * time.Second, waits: "b"}},
		{starts(2, 11*time.Second, "c"), seen{inFlight: 2, rate: 6, end: 35 * time.Second, waits: "b c"}},
		{ofBatch(batch.KindReplies, 1, 12*time.Second), seen{inFlight: 1, silent: 1, rate: 6, end: 35 * time.Second, waits: "c", line: "2/5 nodes  12 s  1 verified  1 no reply"}},
		{batch.Record{Kind: batch.KindRunEnd, Time: begun.Add(20 * time.Second), End: &batch.Ending{Verdict: batch.Interrupted, Open: 3,
			States: batch.CountsOf(map[batch.State]int{batch.Verified: 1, batch.NoReply: 1, batch.Unknown: 1, batch.NotSent: 2})}}, seen{silent: 1, rate: 6, end: 35 * time.Second, line: "2/5 nodes  20 s  1 verified  1 no reply  1 unknown"}}, // no line was asked for before
	} {
		records = append(records, step.r)
		v, m := metered(t, records...)
		got := seen{inFlight: v.Window.InFlight, silent: v.Window.Silent, rate: v.Window.Rate, waits: shownOf(v).waits}
		got.line = m.rolling.line(m, step.r.Time, false)
		if !v.End.IsZero() {
			got.end = v.End.Sub(begun)
		}
		if got != step.want {
			t.Errorf("after %s: got %+v, want %+v", step.r.Kind, got, step.want)
		}
		if want := map[bool]int{true: 2, false: 1}[v.States.Of(batch.Verified) > 0]; v.Window.Size != 2 || v.Window.Now != want {
			t.Errorf("a window of %d, now %d, want 2, now %d", v.Window.Size, v.Window.Now, want)
		}
	}
}

// Refusals come at once: while nothing succeeds, there is no time to estimate from.
func TestTheMeterOfRefusalsEstimatesNothing(t *testing.T) {
	plan := batch.Plan{Policy: batch.Policy{Rolling: true, Sizes: batch.Sizes{batch.Number(2)}}, Pool: []string{"a", "b", "c", "d", "e"}}
	records := []batch.Record{{Kind: batch.KindPlan, Time: begun, Begin: &batch.Beginning{Plan: &plan, Proved: true, Header: batch.Header{Run: "r", Created: begun}}}}
	first, refused := intent(1, 0), outcomes(1, false, "a")
	first.Nodes, refused.Time = []string{"a", "b"}, begun.Add(200*time.Millisecond)
	for _, step := range []struct {
		r   batch.Record
		end time.Duration // since the beginning; 0: no estimate
	}{
		{first, 0}, {refused, 0}, {outcomes(1, true, "b"), 0}, {acted(time.Minute, "b"), 210 * time.Second},
	} {
		records = append(records, step.r)
		v, _ := metered(t, records...)
		got := time.Duration(0)
		if !v.End.IsZero() {
			got = v.End.Sub(begun)
		}
		if got != step.end {
			t.Errorf("after %s: %s, want %s", step.r.Kind, got, step.end)
		}
	}
}

// storedRun is a recorded run: a did it, b refused, c was silent.
func storedRun(t *testing.T) run.Stored {
	return run.Stored{
		ID: "20260102-030405-aaaaa", Meta: run.Meta{Agent: "rpcutil", Action: "ping", Command: []string{"req", "rpcutil", "ping"}, Caller: "choria=rip", User: "operator", Host: "desk"},
		Progress: progressOf(t, intent(1, 0), outcomes(1, true, "a"), outcomes(1, false, "b"), batch.Record{Kind: batch.KindReplies, Time: begun, Batch: 1},
			batch.Record{Kind: batch.KindBatchEnd, Time: begun, Batch: 1},
			batch.Record{Kind: batch.KindRunEnd, Time: begun.Add(time.Minute), End: &batch.Ending{Verdict: batch.Failed, States: batch.CountsOf(map[batch.State]int{batch.Accepted: 1, batch.Refused: 1, batch.NoReply: 1})}}),
	}
}

func TestARecordedRunIsWrittenInEveryFormat(t *testing.T) {
	for i, f := range StoredFormats {
		want := [][]string{
			{"20260102-030405-aaaaa", "rpcutil#ping", "operator@desk", "Nodes: 3 in 1 batch: 1 accepted, 1 refused, 1 no-reply"},
			{`"status": "failed"`, `"exit_code": 3`, `"caller": "choria=rip"`, `"identity": "b"`},
			{"a\n"},
			{`tests="3" failures="1" errors="1"`, `time="60`},
			{"# rpcutil#ping", "**Failed: 1 accepted, 1 refused, 1 no-reply of 3 nodes**", "| Caller | choria=rip |", "- **1: refused** – b", "| batch 1 | 3 |"},
			{"<!DOCTYPE html>", "<dd>operator@desk</dd>", `["b",1,1,"",0,0,null]`},
		}[i]
		var out bytes.Buffer
		if err := WriteStored(&out, storedRun(t), StoredOptions{Format: f, Code: 3, Width: 80}); err != nil {
			t.Fatal(err)
		}
		for _, piece := range want {
			if !strings.Contains(out.String(), piece) {
				t.Errorf("%s lacks %q:\n%s", f, piece, out.String())
			}
		}
	}
}

func TestARunIsALineOfTheList(t *testing.T) {
	r := storedRun(t)
	l := LineOf(r)
	if l.ID != r.ID || l.Agent != "rpcutil" || l.Nodes != 3 || l.Status != "failed" || l.Live || l.Open != 0 || !l.Started.Equal(begun) || l.States.Of(batch.Refused) != 1 || l.User != "operator" {
		t.Errorf("got %+v", l)
	}
	r.Live = true
	if l := LineOf(r); l.Status != "running" {
		t.Errorf("a live one is %s", l.Status)
	}
}

func TestFormatsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for f := range formats {
		if seen[f.String()] || f.String() == "unknown" || f.String() == "" {
			t.Errorf("format %d is called %q", f, f)
		}
		seen[f.String()] = true
	}
	if formats.String() != "unknown" {
		t.Errorf("an unknown format is called %q", formats)
	}
	if f, err := ParseFormat("csv", JSON, CSV); f != CSV || err != nil {
		t.Errorf("csv: %v, %v", f, err)
	}
	_, err := ParseFormat("csv", JSON, Nodeset)
	if e, ok := err.(*FormatError); !ok || e.Error() != `unknown format "csv"` || FormatNames(e.Offered) != "json, nodeset" {
		t.Errorf("csv where it is not offered: %v", err)
	}
	if _, err := ParseFormat("senders as json", Text, Senders); err == nil {
		t.Error("a format without a name of its own was read")
	}
}
