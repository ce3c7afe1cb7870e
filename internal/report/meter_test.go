package report

import (
	"bytes"
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

// The bar shows the engine's own counts: a node that was withdrawn, or whose state is open, is neither done nor silent.
func TestTheMeterShowsTheEnginesCounts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		records []batch.Record
		want    render.Snapshot
	}{
		{"nothing", nil, render.Snapshot{}},
		{"on its way", []batch.Record{intent(1, 0)}, render.Snapshot{Waiting: "replies"}},
		{"paused", []batch.Record{intent(1, 0), {Kind: batch.KindPaused, Time: begun, By: "op"}}, render.Snapshot{Waiting: "replies", Paused: true}},
		{"withdrawn, and one reply", []batch.Record{intent(1, 0), withdrawnOf("b", "c"), outcomes(1, true, "a")}, render.Snapshot{Done: 1, Accepted: 1, Waiting: "replies"}},
		{"some replies", []batch.Record{intent(1, 0), outcomes(1, true, "a"), outcomes(1, false, "b")},
			render.Snapshot{Done: 2, Accepted: 1, Failed: 1, Waiting: "1 replies"}},
		{"silence", []batch.Record{intent(1, 0), outcomes(1, true, "a"), {Kind: batch.KindReplies, Time: begun, Batch: 1}},
			render.Snapshot{Done: 3, Accepted: 1, NoReply: 2, Waiting: "proof"}},
		{"a stop in flight", []batch.Record{intent(1, 0), outcomes(1, true, "a"), {Kind: batch.KindStopped, Time: begun, Stop: &batch.Stop{Kind: batch.StopSignal, Reason: "x"}}},
			render.Snapshot{Done: 1, Accepted: 1}},
		{"an end with open nodes", []batch.Record{intent(1, 0), withdrawnOf("c"), outcomes(1, true, "a"),
			{Kind: batch.KindRunEnd, Time: begun, End: &batch.Ending{Verdict: batch.Stopped, States: batch.CountsOf(map[batch.State]int{batch.Accepted: 1, batch.Unknown: 1, batch.NotSent: 1}), Open: 2}}},
			render.Snapshot{Done: 1, Accepted: 1}},
	} {
		m := meter{progress: progressOf(t, tt.records...)}
		for _, r := range tt.records {
			m.observe(r)
		}
		want := tt.want
		want.Batches, want.Planned = 1, 3
		if len(tt.records) > 0 {
			want.Batch = 1
		}
		if got := m.snapshot(); got != want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, want)
		}
	}
}

// The time that is left is that of the batches to come, as long as those before took.
func TestTheMeterEstimatesWhatIsLeft(t *testing.T) {
	p, err := batch.Follow(journal(t, planOf([]string{"a"}, []string{"b"}, []string{"c"}, []string{"d"})))
	if err != nil {
		t.Fatal(err)
	}
	m := meter{progress: p}
	for _, step := range []struct {
		r    batch.Record
		left time.Duration
	}{
		{intent(2, 0), 0}, // the process began here: the first batch was another's
		{batch.Record{Kind: batch.KindBatchEnd, Batch: 2}, 0},
		{intent(3, 10*time.Second), 20 * time.Second},
		{intent(4, 30*time.Second), 15 * time.Second},
		{batch.Record{Kind: batch.KindRunEnd}, 0},
	} {
		m.observe(step.r)
		if m.left != step.left {
			t.Errorf("after %s of batch %d: %s, want %s", step.r.Kind, step.r.Batch, m.left, step.left)
		}
	}
	if m.waiting != "" {
		t.Errorf("it waits for %q", m.waiting)
	}
}

// Of a window, what is done are nodes that need no more waiting; the time that is left is as much a node as they took.
func TestTheMeterFollowsAWindow(t *testing.T) {
	plan := batch.Plan{Policy: batch.Policy{Rolling: true, Sizes: batch.Sizes{batch.Number(1), batch.Number(2)}}, Pool: []string{"a", "b", "c", "d", "e"}}
	first := batch.Record{Kind: batch.KindPlan, Time: begun, Begin: &batch.Beginning{Plan: &plan, Proved: true, Header: batch.Header{Run: "r", Created: begun}}}
	starts := func(number int, after time.Duration, nodes ...string) batch.Record {
		r := intent(number, after)
		r.Nodes, r.Reason = nodes, "window of 2"
		return r
	}
	proofs := func(after time.Duration, node string, found batch.Finding) batch.Record {
		at := begun.Add(after)
		return batch.Record{Kind: batch.KindProofs, Time: at, Proofs: []batch.Proof{{Node: node, Found: found, Time: at}}}
	}
	records := []batch.Record{first}
	m := meter{}
	for _, step := range []struct {
		r    batch.Record
		want render.Snapshot
	}{
		{starts(1, 0, "a", "b"), render.Snapshot{Waiting: "2 in flight"}},
		{outcomes(1, true, "a"), render.Snapshot{Accepted: 1, Waiting: "2 in flight"}},
		{proofs(10*time.Second, "a", batch.Acted), render.Snapshot{Done: 1, Accepted: 1, Verified: 1, Waiting: "1 in flight", Left: 40 * time.Second}},
		{starts(2, 11*time.Second, "c"), render.Snapshot{Done: 1, Accepted: 1, Verified: 1, Waiting: "2 in flight", Left: 40 * time.Second}},
		{batch.Record{Kind: batch.KindReplies, Time: begun.Add(12 * time.Second), Batch: 1},
			render.Snapshot{Batch: 1, Done: 2, Accepted: 1, Verified: 1, NoReply: 1, Waiting: "1 in flight", Left: 18 * time.Second}},
		{batch.Record{Kind: batch.KindStopped, Time: begun, Stop: &batch.Stop{Kind: batch.StopSignal, Reason: "x"}},
			render.Snapshot{Batch: 1, Done: 2, Accepted: 1, Verified: 1, NoReply: 1, Waiting: "1 in flight"}},
		{batch.Record{Kind: batch.KindRunEnd, Time: begun, End: &batch.Ending{Verdict: batch.Interrupted, Open: 3,
			States: batch.CountsOf(map[batch.State]int{batch.Verified: 1, batch.NoReply: 1, batch.Unknown: 1, batch.NotSent: 2})}},
			render.Snapshot{Batch: 1, Done: 2, Accepted: 1, Verified: 1, NoReply: 1}},
	} {
		records = append(records, step.r)
		p, err := batch.Follow(journal(t, records...))
		if err != nil {
			t.Fatal(err)
		}
		m.progress = p
		m.observe(step.r)
		step.want.Window, step.want.Planned, step.want.Batches = 2, 5, p.Batches()
		if got := m.snapshot(); got != step.want {
			t.Errorf("after %s: got %+v, want %+v", step.r.Kind, got, step.want)
		}
	}
}

// Refusals come at once: while nothing succeeds, there is no time to estimate from.
func TestTheMeterOfRefusalsEstimatesNothing(t *testing.T) {
	plan := batch.Plan{Policy: batch.Policy{Rolling: true, Sizes: batch.Sizes{batch.Number(2)}}, Pool: []string{"a", "b", "c", "d", "e"}}
	records := []batch.Record{{Kind: batch.KindPlan, Time: begun, Begin: &batch.Beginning{Plan: &plan, Proved: true, Header: batch.Header{Run: "r", Created: begun}}}}
	first, refused := intent(1, 0), outcomes(1, false, "a")
	first.Nodes, refused.Time = []string{"a", "b"}, begun.Add(200*time.Millisecond)
	at := begun.Add(time.Minute)
	m := meter{}
	for _, step := range []struct {
		r    batch.Record
		left time.Duration
	}{
		{first, 0},
		{refused, 0},
		{outcomes(1, true, "b"), 0},
		{batch.Record{Kind: batch.KindProofs, Time: at, Proofs: []batch.Proof{{Node: "b", Found: batch.Acted, Time: at}}}, 90 * time.Second},
	} {
		records = append(records, step.r)
		p, err := batch.Follow(journal(t, records...))
		if err != nil {
			t.Fatal(err)
		}
		m.progress = p
		if m.observe(step.r); m.snapshot().Left != step.left {
			t.Errorf("after %s: %s, want %s", step.r.Kind, m.snapshot().Left, step.left)
		}
	}
}

func TestAWatcherSeesTheBatchThatWasSentLast(t *testing.T) {
	p := progressOf(t, intent(1, 0), outcomes(1, true, "a"))
	if got := Watch(p.Summary(), p); got.Batch != 1 || got.Done != 1 || got.Planned != 3 {
		t.Errorf("got %+v", got)
	}
	if got := Watch(progressOf(t).Summary(), progressOf(t)); got.Batch != 0 {
		t.Errorf("before the first batch: %+v", got)
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
			{"# rpcutil&#35;ping", "**Failed: 1 accepted, 1 refused, 1 no-reply of 3 nodes**", "| Caller | choria=rip |", "- **1: refused** – b", "| batch 1 | 3 |"},
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
