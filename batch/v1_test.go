package batch

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// v1Runs are journals in the first record format, as that version wrote them
// against a lab: killed while it sent, proved or probed, resumed, retried. all is
// of its own tests. The counts are what that version said of them.
var v1Runs = map[string]struct {
	verdict Verdict
	open    int
	states  map[State]int
}{
	"all":             {Failed, 0, map[State]int{Refused: 1, NoReply: 2, Verified: 8, Unverified: 1}},
	"sending":         {Stopped, 11, map[State]int{Unknown: 5, NotSent: 6}},
	"sending-resumed": {Failed, 0, map[State]int{Refused: 1, NoReply: 2, Verified: 8}},
	"proving":         {Stopped, 9, map[State]int{Verified: 2, Accepted: 2, Unknown: 1, NotSent: 6}},
	"proving-resumed": {Stopped, 7, map[State]int{Verified: 4, NotSent: 7}},
	"retry-probing":   {Stopped, 3, map[State]int{Unknown: 2, NotSent: 1}},
	"retry":           {Stopped, 1, map[State]int{NoReply: 2, NotSent: 1}},
}

func v1Lines(t testing.TB, name string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "v1", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(text), []byte("\n"))
}

func TestOldJournalsKeepTheirMeaning(t *testing.T) {
	for name, want := range v1Runs {
		p, err := Replay(fromLines(v1Lines(t, name)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s := p.Summary()
		if s.Verdict != want.verdict || s.Open != want.open || s.States != CountsOf(want.states) {
			t.Errorf("%s: %s, %s, open %d; want %s, %s, open %d", name, s.Verdict, counts(s.States), s.Open,
				want.verdict, counts(CountsOf(want.states)), want.open)
		}
		for r := range s.Results() {
			if sent := r.State != NotSent; sent == r.Sent.IsZero() {
				t.Errorf("%s: node %s is %s, sent at %v", name, r.Identity, r.State, r.Sent)
			}
		}
	}
}

// An old run is resumed, and then retried, without a second request to a node
// that the first may have reached.
func TestOldJournalsResumeAndRetry(t *testing.T) {
	for name := range v1Runs {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { resumeOld(t, name) })
		})
	}
}

func resumeOld(t *testing.T, name string) {
	lines := v1Lines(t, name)
	from, err := Replay(fromLines(lines))
	if err != nil {
		t.Fatal(err)
	}
	f, tp := newFleet(), &tape{lines: slices.Clone(lines)}
	reached := 0
	for r := range from.Results() { // the truth: requests reached what replied, and one other node
		if !r.Replied.IsZero() || r.State == Unknown && reached == 0 {
			f.delivered[r.Identity] = 1
			reached++
		}
	}
	resumed := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Prober: f, Journal: tp, Pace: calm}, from)
	if left := resumed.States.Of(Planned) + resumed.States.Of(NotSent) + resumed.States.Of(Unknown) + resumed.States.Of(Accepted); left > 0 {
		t.Errorf("resumed: %s", counts(resumed.States))
	}
	once := func(what string, s Summary) {
		for r := range s.Results() {
			if n := f.count(r.Identity); n > 1 && r.State != Refused {
				t.Errorf("%s: node %s got %d requests and is %s", what, r.Identity, n, r.State)
			}
		}
	}
	once("resumed", resumed)
	plan, err := Retry(resumed.progress, []State{NoReply, Unverified, Unknown, Absent}, Policy{}, nil)
	if err == ErrNoNodes {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Doubts) != plan.Nodes() {
		t.Errorf("%d of %d nodes are probed before they are sent to", len(plan.Doubts), plan.Nodes())
	}
	again, err := Begin(Header{Run: "r2", Parent: name}, plan)
	if err != nil {
		t.Fatal(err)
	}
	once("retried", run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Prober: f, Journal: &tape{}, Pace: calm}, again))
}

func TestNewerRecordsAndPlansAreRefusedInWords(t *testing.T) {
	newer := []byte(`{"v":1,"k":"plan","plan":{"plan":{"version":4,"batches":[{"number":1,"nodes":["a"]}]}}}`)
	_, ofPlan := Replay(fromLines([][]byte{newer}))
	_, ofBegin := Begin(Header{}, Plan{Version: planVersion + 1, Batches: []Batch{{Number: 1, Nodes: []string{"a"}}}})
	_, ofRecord := Replay(fromLines([][]byte{fmt.Appendf(nil, `{"v":%d,"k":"plan"}`, RecordVersion+1)}))
	for what, err := range map[string]error{"plan in a journal": ofPlan, "plan": ofBegin, "record": ofRecord} {
		if err == nil || !strings.Contains(err.Error(), "use that fleetctl, or a later one") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
