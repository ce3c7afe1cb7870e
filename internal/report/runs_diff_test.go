package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetctl/batch"
	"fleetctl/internal/run"
)

// otherRun is a second run: a refused where it did it, b refused for the same reason, c is not there, and d is.
func otherRun(t *testing.T) run.Stored {
	r := storedRun(t)
	r.ID, r.Meta.Inputs, r.Meta.Caller = "20260103-030405-bbbbb", map[string]string{"x": "1"}, "choria=ann"
	plan := batch.Plan{Policy: batch.Policy{Sizes: batch.Sizes{batch.Number(2)}}, Batches: []batch.Batch{{Number: 1, Nodes: []string{"a", "b"}}, {Number: 2, Nodes: []string{"d"}}}}
	first := batch.Record{Kind: batch.KindPlan, Time: begun, Begin: &batch.Beginning{Plan: &plan, Header: batch.Header{Run: "r", Created: begun}, Pace: batch.Pace{Sleep: time.Minute}}}
	no := outcomes(1, false, "a")
	no.Outcomes[0].Reason = "not authorized"
	p, err := batch.Replay(journal(t, first, intent(1, 0), no, outcomes(1, false, "b"), batch.Record{Kind: batch.KindReplies, Time: begun, Batch: 1}, batch.Record{Kind: batch.KindBatchEnd, Time: begun, Batch: 1}))
	if err != nil {
		t.Fatal(err)
	}
	r.Progress = p
	return r
}

func TestTwoRunsAreCompared(t *testing.T) {
	d := CompareRuns(storedRun(t), otherRun(t))
	state := func(s batch.State) *batch.State { return &s }
	want := []NodeChange{
		{From: state(batch.Accepted), To: state(batch.Refused), ToReason: "not authorized", Nodes: []string{"a"}},
		{From: state(batch.NoReply), Nodes: []string{"c"}},
		{To: state(batch.NotSent), Nodes: []string{"d"}},
	}
	if diff := cmp.Diff(want, d.Groups); diff != "" || d.Same != 1 {
		t.Errorf("%d the same, %s", d.Same, diff)
	}
	changes := []RunChange{{"input x", "", "1"}, {"caller", "choria=rip", "choria=ann"}, {"batch sizes", "", "2"}, {"batch sleep", "0s", "1m0s"}}
	if diff := cmp.Diff(changes, d.Changes); diff != "" {
		t.Error(diff)
	}
	var out bytes.Buffer
	if err := WriteRunDifference(&out, d, 80); err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{
		"From 20260102-030405-aaaaa: rpcutil#ping, 3 nodes in 1 batch, failed, 1m0s\n", "To   20260103-030405-bbbbb: rpcutil#ping, 3 nodes in 2 batches, died\n",
		"input x: none, then 1\n", "1 node: accepted, then refused (not authorized)\n    a\n", "1 node: only in the first run: no-reply\n    c\n", "1 node: only in the second run: not-sent\n    d\n", "1 node the same.\n",
	} {
		if !strings.Contains(out.String(), piece) {
			t.Errorf("no %q in\n%s", piece, out.String())
		}
	}
	for _, lost := range []int{0, 1, 2} { // the disk is full at each write
		if err := WriteRunDifference(&limited{writes: lost}, d, 80); err == nil {
			t.Errorf("an error of write %d is lost", lost)
		}
	}
	same := CompareRuns(storedRun(t), storedRun(t))
	if same.Same != 3 || same.Groups != nil || same.Changes != nil {
		t.Errorf("with itself: %+v", same)
	}
	out.Reset()
	if err := WriteRunDifferenceJSON(&out, same); err != nil || !strings.Contains(out.String(), `"groups": []`) || !strings.Contains(out.String(), `"changes": []`) {
		t.Errorf("%s, %v", out.String(), err)
	}
}

// limited takes so many writes.
type limited struct{ writes int }

func (l *limited) Write(p []byte) (int, error) {
	if l.writes == 0 {
		return 0, bytes.ErrTooLarge
	}
	l.writes--
	return len(p), nil
}

// Two proofs have two times: nodes that both runs verified are the same, and those of one run alone are one group.
func TestProofsAreNoDifference(t *testing.T) {
	verified := func(after time.Duration, nodes ...string) run.Stored {
		proofs := batch.Record{Kind: batch.KindProofs, Time: begun.Add(after)}
		for i, n := range nodes {
			why := "started " + begun.Add(after+time.Duration(i)*time.Second).Format(time.TimeOnly)
			proofs.Proofs = append(proofs.Proofs, batch.Proof{Node: n, Found: batch.Acted, Time: begun.Add(after), Reason: why})
		}
		p, err := batch.Replay(journal(t, provedPlan(batch.Pace{ReplyTimeout: time.Second}, nodes), intent(1, 0), outcomes(1, true, nodes...), proofs))
		if err != nil {
			t.Fatal(err)
		}
		return run.Stored{ID: "r", Progress: p}
	}
	d := CompareRuns(verified(time.Second, "a", "b", "c"), verified(time.Hour, "a"))
	was := batch.Verified
	if diff := cmp.Diff([]NodeChange{{From: &was, Nodes: []string{"b", "c"}}}, d.Groups); diff != "" || d.Same != 1 {
		t.Errorf("%d the same, %s", d.Same, diff)
	}
}
