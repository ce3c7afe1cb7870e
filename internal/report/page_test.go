package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/page"
	"fleetctl/internal/run"
	"fleetctl/inventory"
)

// Every state has a tone, and only proof is good where something is proved.
func TestEveryStateHasATone(t *testing.T) {
	want := map[batch.State]page.Tone{
		batch.Planned: page.Idle, batch.NotSent: page.Idle, batch.Sending: page.Open, batch.Unknown: page.Open, batch.Accepted: page.Open, batch.Verified: page.Good,
		batch.Refused: page.Bad, batch.Unverified: page.Bad, batch.Absent: page.Warn, batch.NoReply: page.Warn,
	}
	for _, s := range batch.States() {
		if got := tone(s, true); got != want[s] || got == "" {
			t.Errorf("%s is %q", s, got)
		}
	}
	if got := tone(batch.Accepted, false); got != page.Good {
		t.Errorf("accepted, where nothing is proved, is %q", got)
	}
	if got := worst(batch.CountsOf(map[batch.State]int{batch.Verified: 9, batch.Absent: 1, batch.Unknown: 1}), true); got != page.Open {
		t.Errorf("the worst of several is %q", got)
	}
}

// manyBatches is a run of n batches of one node each; every node replies after a second and is proved after two more.
func manyBatches(t *testing.T, n int) run.Stored {
	t.Helper()
	var nodes [][]string
	var records []batch.Record
	for i := range n {
		name, at := fmt.Sprintf("web%02d.x%d.example.net", i, i%2), begun.Add(time.Duration(i)*10*time.Second)
		nodes = append(nodes, []string{name})
		records = append(records, batch.Record{Kind: batch.KindIntent, Time: at, Batch: i + 1}, batch.Record{Kind: batch.KindSent, Time: at, Batch: i + 1},
			batch.Record{Kind: batch.KindOutcomes, Time: at.Add(time.Second), Batch: i + 1, Outcomes: []batch.Outcome{{Batch: i + 1, Node: name, Time: at.Add(time.Second), OK: true}}},
			batch.Record{Kind: batch.KindReplies, Time: at.Add(time.Second), Batch: i + 1},
			batch.Record{Kind: batch.KindProofs, Time: at.Add(3 * time.Second), Batch: i + 1, Proofs: []batch.Proof{{Node: name, Found: batch.Acted, Time: at.Add(3 * time.Second), Reason: "started"}}},
			batch.Record{Kind: batch.KindBatchEnd, Time: at.Add(3 * time.Second), Batch: i + 1})
	}
	p, err := batch.Follow(journal(t, append([]batch.Record{planOf(nodes...)}, records...)...))
	if err != nil {
		t.Fatal(err)
	}
	return run.Stored{ID: "r", Live: true, Meta: run.Meta{Agent: "choria_provision", Action: "restart"}, Progress: p}
}

func TestThePageOfARunHasTimesAndPlaces(t *testing.T) {
	d := runPage(manyBatches(t, 4), map[string][]string{"rack": {"r1", "r2", "r1", "r2"}})
	if d.Tone != page.Open || d.Verdict != "Not finished (running): 4 verified of 4 nodes" || len(d.Groups) != 0 {
		t.Errorf("a running one: %s, %q, %v", d.Tone, d.Verdict, d.Groups)
	}
	want := page.Span{Name: "batch 2", Note: "as the test says", Result: "1 verified", Nodes: 1, Sent: 10 * time.Second, Answered: 11 * time.Second, Ended: 13 * time.Second, Tone: page.Good}
	if len(d.Spans) != 4 || d.Spans[1] != want {
		t.Errorf("the timeline is %+v", d.Spans)
	}
	if len(d.Bars) != 2 || !strings.HasPrefix(d.Bars[0].Note, "median 1.0 s") || !strings.HasPrefix(d.Bars[1].Note, "median 3.0 s") {
		t.Errorf("the histograms are %+v", d.Bars)
	}
	row := []any{"web01.x1.example.net", 2, "verified", "started", 10 * time.Second, time.Second, 3 * time.Second, "x1.example.net", "r2"}
	if !slices.Equal(d.Nodes.Rows[1], row) {
		t.Errorf("a node's row is %v", d.Nodes.Rows[1])
	}
}

// Of many batches, some share a line, and no node is missing.
func TestALongTimelineIsShort(t *testing.T) {
	d := runPage(manyBatches(t, 2*maxSpans+1), nil)
	nodes := 0
	for _, s := range d.Spans {
		nodes += s.Nodes
	}
	if len(d.Spans) > maxSpans || nodes != 2*maxSpans+1 || d.Spans[0].Name != "batch 1 – 3" || d.Spans[0].Ended != 23*time.Second {
		t.Errorf("%d lines, %d nodes, first %+v", len(d.Spans), nodes, d.Spans[0])
	}
}

func TestPlanPagesShowEveryNode(t *testing.T) {
	d := planPage(run.Proposal{Agent: "a", Action: "b", Guards: []string{"asks"}, Refusals: []run.Refusal{{Guard: "--max-nodes", Reason: "too many"}},
		Plan: batch.Plan{Batches: []batch.Batch{{Number: 1, Nodes: []string{"n1"}, Reason: "canary"}}, Pool: []string{"n2"}, Notes: []string{"note"}}})
	if !slices.Equal(d.Notes, []string{"note", "asks"}) || len(d.Nodes.Rows) != 2 || d.Tone != page.Bad || !slices.Contains(d.Facts, page.Pair{Name: "Refused by --max-nodes", Value: "too many"}) {
		t.Errorf("got %+v", d)
	}
}

// Facts come from the record, or from a saved inventory.
func TestAPageShowsTheFactsThatWereAskedFor(t *testing.T) {
	r := manyBatches(t, 2)
	r.Meta.Facts = map[string][]string{"site": {"a", "b"}, "rack": {"r1", "r2"}}
	if got, err := (StoredOptions{}).facts(r); err != nil || len(got) != 2 {
		t.Errorf("without a wish: %v, %v", got, err)
	}
	if got, err := (StoredOptions{By: []string{"site"}}).facts(r); err != nil || len(got) != 1 || !slices.Equal(got["site"], []string{"a", "b"}) {
		t.Errorf("site: %v, %v", got, err)
	}
	_, err := StoredOptions{By: []string{"country"}}.facts(r)
	if e, ok := errors.AsType[*FileError](err); !ok || !strings.Contains(e.Error(), "it has only rack, site") {
		t.Errorf("a fact that is not recorded: %v", err)
	}
	var saved bytes.Buffer
	w, err := inventory.NewSnapshotWriter(&saved, inventory.SnapshotInfo{Taken: begun})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Add(inventory.Node{Identity: "web01.x1.example.net", Version: "0.29.4", Facts: []byte(`{"os":{"family":"Debian"}}`)}), w.Close(nil, nil)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "saved")
	if err := os.WriteFile(file, saved.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := (StoredOptions{By: []string{"os.family"}, Facts: file}).facts(r); err != nil || !slices.Equal(got["os.family"], []string{"", "Debian"}) {
		t.Errorf("from a file: %v, %v", got, err)
	}
	if _, err := (StoredOptions{By: []string{"os.familie"}, Facts: file}).facts(r); err == nil || !strings.Contains(err.Error(), `has the fact "os.familie"`) {
		t.Errorf("a fact that no node has: %v", err)
	}
}

func TestNodesWithoutAnAnswerAreGroupedOnThePage(t *testing.T) {
	tally := inventory.NewTally(nil)
	tally.Add(inventory.Node{Identity: "a", Version: "0.29.4", Upgradable: true})
	for name, err := range map[string]error{"b": inventory.ErrNoReply, "c": errors.Join(inventory.ErrNoReply, inventory.ErrAbsent), "d": errors.Join(inventory.ErrNoReply, inventory.ErrExpired), "e": errors.New("odd")} {
		tally.Miss(inventory.Node{Identity: name, Err: err})
	}
	d := fleetPage(tally, FleetOptions{})
	var got []string
	for _, g := range d.Groups {
		got = append(got, g.Nodes+" "+g.Cause)
	}
	if want := []string{"d replies rejected, the token has expired", "e odd", "c not connected", "b did not reply"}; !slices.Equal(got, want) || d.Tone != page.Warn {
		t.Errorf("got %q", got)
	}
	if len(d.Counts) != 4 || d.Counts[2].N != 3 {
		t.Errorf("counts: %+v", d.Counts)
	}
}

// The value with the largest share of nodes without success comes first; nodes without a value have a line of their own.
func TestTheStatesByAFact(t *testing.T) {
	r := manyBatches(t, 5)
	r.Meta.Facts = map[string][]string{"rack": {"r1", "r2", "r1", "", "r1"}}
	var out strings.Builder
	if err := WriteStored(&out, r, StoredOptions{By: []string{"rack"}, Width: 80}); err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{"│ rack   │ nodes │ verified │", "│ r1     │ 3     │ 3        │", "│ (none) │ 1     │ 1        │"} {
		if !strings.Contains(out.String(), piece) {
			t.Errorf("the text lacks %q:\n%s", piece, out.String())
		}
	}
	out.Reset()
	if err := WriteStored(&out, r, StoredOptions{By: []string{"site"}, Width: 80}); err == nil || !strings.Contains(err.Error(), `no values of the fact "site": it has only rack`) {
		t.Errorf("of another fact: %v", err)
	}
}
