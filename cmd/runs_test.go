package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/journal"
	"fleetctl/internal/run"
)

var recorded = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// record writes a run over a, b and c with these records behind its plan, and leaves it to the caller to close it.
func record(t *testing.T, dir, id string, m run.Meta, records ...batch.Record) *journal.Journal {
	t.Helper()
	meta, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	plan := batch.Plan{Batches: []batch.Batch{{Number: 1, Nodes: []string{"a", "b"}, Reason: "x"}, {Number: 2, Nodes: []string{"c"}, Reason: "x"}}}
	j, err := journal.ThisMachine().Create(filepath.Join(dir, "runs"), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	begin := &batch.Beginning{Header: batch.Header{Run: id, Created: recorded, Meta: meta}, Plan: &plan, Pace: batch.Pace{ReplyTimeout: time.Second}}
	for _, r := range append([]batch.Record{{Kind: batch.KindPlan, Begin: begin}}, records...) {
		r.Version, r.Time = batch.RecordVersion, recorded
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Append(line); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// half are the records of a run whose first batch is done, a well and b badly, and that was interrupted then.
func half() []batch.Record {
	states := batch.CountsOf(map[batch.State]int{batch.Accepted: 1, batch.Refused: 1, batch.NotSent: 1})
	return []batch.Record{
		{Kind: batch.KindIntent, Batch: 1}, {Kind: batch.KindSent, Batch: 1},
		{Kind: batch.KindOutcomes, Batch: 1, Outcomes: []batch.Outcome{{Batch: 1, Node: "a", OK: true}, {Batch: 1, Node: "b", Code: 1, Reason: "not today"}}},
		{Kind: batch.KindReplies, Batch: 1}, {Kind: batch.KindBatchEnd, Batch: 1},
		{Kind: batch.KindStopped, Stop: &batch.Stop{Kind: batch.StopSignal, Reason: "interrupt signal received"}},
		{Kind: batch.KindRunEnd, End: &batch.Ending{Verdict: batch.Interrupted, States: states, Open: 1}},
	}
}

func pinging() run.Meta {
	return run.Meta{Agent: "rpcutil", Action: "ping", Collective: "mcollective", Command: []string{"req", "rpcutil", "ping"}, User: "operator", Host: "desk", TTL: 30 * time.Second}
}

// runs runs `fleetctl runs` over the records of a folder.
func runs(t *testing.T, dir, line string) result {
	t.Helper()
	code, out, errs := runApp(t, nil, append(strings.Fields("runs "+line), "--state-dir", dir)...)
	return result{code, out, errs}
}

func TestRecordedRunsAreListedAndShown(t *testing.T) {
	dir := t.TempDir()
	if got := runs(t, dir, "list"); got.code != 0 || got.out != "" || !strings.Contains(got.err, "no runs in "+filepath.Join(dir, "runs")) {
		t.Errorf("an empty folder: %+v", got)
	}
	const id = "20260102-030405-aaaaa"
	if err := record(t, dir, "20260101-000000-died0", pinging(), batch.Record{Kind: batch.KindIntent, Batch: 1}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := record(t, dir, id, pinging(), half()...).Close(); err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(dir, "report.xml")
	for _, row := range []struct {
		line string
		code int
		says []string
	}{
		{"list", 0, []string{id, "rpcutil#ping", "interrupted", "20260101-000000-died0", "died"}},
		{"list --json", 0, []string{`"schema_version"`, `"id": "` + id + `"`, `"open": 1`, `"user": "operator"`}},
		{"show last", 0, []string{id, "rpcutil#ping", "req rpcutil ping", "interrupted", "not today"}},
		{"show 20260102 --json", 0, []string{`"status": "interrupted"`, `"exit_code": 130`, `"identity": "b"`}},
		{"show 20260101", 0, []string{"died", "unknown"}},
		{"report last", 0, []string{"Status: interrupted"}},
		{"report last --output nodeset", 0, []string{"a\n"}},
		{"report last --output json", 0, []string{`"exit_code": 130`}},
		{"report last --output junit -o " + report, 0, nil},
		{"report last --output html", 0, []string{"<h1>rpcutil#ping</h1>", "Interrupted: 1 accepted, 1 refused, 1 not-sent of 3 nodes", "1: refused: not today", "<dd>operator@desk</dd>"}},
		{"report last --output markdown", 0, []string{"# rpcutil#ping", "- **1: refused: not today** – b"}},
		{"report 20260101 --output markdown", 0, []string{"**Not finished (died): "}},
		{"report last --output html --by rack", exitUsage, []string{`has no values of the fact "rack": it has no facts of nodes`, "--facts FILE"}},
		{"show last --by rack", exitUsage, []string{`has no values of the fact "rack": it has no facts of nodes`, "--facts FILE"}},
		{"watch " + id, exitInt, []string{"Interrupted: 1 accepted, 1 refused, 1 not-sent of 3 nodes", "hint: to resume: fleetctl runs resume " + id}},
		{"watch", exitInt, []string{"Interrupted"}},
		{"stop last", 0, []string{"run " + id + " has ended already"}},
		{"report last --output junit -o " + filepath.Join(dir, "no", "folder"), exitUsage, []string{"no such file"}},
	} {
		got := runs(t, dir, row.line)
		if got.code != row.code {
			t.Errorf("runs %s: exit %d, want %d\n%s%s", row.line, got.code, row.code, got.out, got.err)
		}
		for _, piece := range row.says {
			if !strings.Contains(got.out+got.err, piece) {
				t.Errorf("runs %s lacks %q:\n%s%s", row.line, piece, got.out, got.err)
			}
		}
	}
	if data, err := os.ReadFile(report); err != nil || !strings.Contains(string(data), `tests="3" failures="1" errors="0" skipped="1"`) {
		t.Errorf("the report is %s, %v", data, err)
	}
}

// The list begins with the newest twenty; those that cannot be read are in it, too.
func TestALongListIsCutAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	for i := range shownRuns + 2 {
		if err := record(t, dir, fmt.Sprintf("20260101-0000%02d-aaaaa", i), pinging()).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "runs", "20260201-000000-bbbbb.journal"), []byte("no record\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := runs(t, dir, "list")
	if got.code != 0 || strings.Count(got.out, "2026") < shownRuns || strings.Contains(got.out, "20260101-000000-aaaaa") || !strings.Contains(got.err, "3 more: add --all") {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(got.out, "20260201-000000-bbbbb") || !strings.Contains(got.out, "line 1 is damaged") {
		t.Errorf("the damaged one: %s", got.out)
	}
	for _, line := range []string{"list --all", "list --json"} {
		if got := runs(t, dir, line); !strings.Contains(got.out, "20260101-000000-aaaaa") || got.err != "" {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if words, _ := complete(t, map[string]string{"FLEETCTL_STATE_DIR": dir}, "runs", "show", ""); len(words) != shownRuns+1 || words[0] != "last" || words[1] != "20260201-000000-bbbbb" {
		t.Errorf("completion offers %q", words)
	}
}

// A run that lives is watched until its process ends, and stopped only from where it is.
func TestALiveRunIsWatchedAndStoppedWhereItIs(t *testing.T) {
	dir := t.TempDir()
	m := pinging()
	m.Secrets = []string{"token"}
	j := record(t, dir, "20260102-030405-aaaaa", m, half()[:5]...)
	a, out, errs := newApp(t, "", nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errX)
	if code := a.execute(ctx, []string{"runs", "watch", "--state-dir", dir}); code != exitFault || out.Len() > 0 {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	for _, verb := range []string{"watch", "wait"} {
		a, _, errs := newApp(t, "", nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(signalError{syscall.SIGINT})
		if code := a.execute(ctx, []string{"runs", verb, "20260102-030405-aaaaa", "--state-dir", dir}); code != exitInt || !strings.Contains(errs.String(), "no longer waiting for run 20260102-030405-aaaaa, which has not ended: interrupt signal received\n") {
			t.Errorf("%s: exit %d, %s", verb, code, errs)
		}
	}
	if got := runs(t, dir, "show last"); !strings.Contains(got.out, "running") {
		t.Errorf("%+v", got)
	}
	for _, line := range []string{"resume last", "retry last --failed"} {
		if got := runs(t, dir, line); got.code != exitGuard || !strings.Contains(got.err, "cannot take over run") || !strings.Contains(got.err, "runs watch") {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// Its process has gone without an end: the node that was never sent to is open.
	if got := runs(t, dir, "watch --np"); got.code == exitOK || !strings.Contains(got.err, "runs resume 20260102-030405-aaaaa --state-dir "+dir+" token=@FILE\n") {
		t.Errorf("%+v", got)
	}
}

// What is typed about a recorded run is checked before its fleet is looked for.
func TestARecordedRunTakesOnlyWhatItDoesNotKnow(t *testing.T) {
	dir := t.TempDir()
	m := pinging()
	m.Config, m.Secrets = "/nowhere/client.conf", []string{"token"}
	if err := record(t, dir, "20260102-030405-aaaaa", m, half()...).Close(); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"resume last a=b":                      `input "a" cannot be changed: the run was begun with its own`,
		"resume last --ttl 0":                  "--ttl 0s",
		"resume last --reply-timeout 0":        "--reply-timeout 0 waits for no reply",
		"resume last --filter-replies nope()":  "--filter-replies: ",
		"resume last --display some":           "cannot display",
		"retry last --failed --batch 0%":       "batch",
		"retry last --failed --max-nodes 0":    "--max-nodes 0 allows no run",
		"resume last token=x":                  "/nowhere/client.conf", // the run's own configuration
		"retry last --failed":                  "/nowhere/client.conf",
		"retry last --failed --verify hope":    "cannot verify by",
		"resume 2027":                          `no run "2027"`,
		"resume last --config /elsewhere/conf": "/elsewhere/conf",
	} {
		if got := runs(t, dir, line); got.code != exitUsage || !strings.Contains(got.err, want) {
			t.Errorf("%s: %+v, want %q", line, got, want)
		}
	}
}

// A process that died before its plan was recorded has sent nothing, and nothing will ever finish its record.
func TestARunThatNeverBeganIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.ThisMachine().Create(filepath.Join(dir, "runs"), "20260101-000000-aaaaa")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"watch", "show", "resume"} {
		if got := runs(t, dir, command+" last"); got.code != exitGuard || !strings.Contains(got.err, "nothing was sent") || !strings.Contains(got.err, "type the command again") {
			t.Errorf("runs %s: %+v", command, got)
		}
	}
	if got := runs(t, dir, "list"); got.code != exitOK || !strings.Contains(got.out, "nothing was sent") {
		t.Errorf("runs list: %+v", got)
	}
}
