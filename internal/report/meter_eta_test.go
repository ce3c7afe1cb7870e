package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
)

// etaAfter is what the head line has of the estimate, so long after the last of the records; "" for nothing.
func etaAfter(t *testing.T, after time.Duration, records ...batch.Record) string {
	t.Helper()
	_, m := metered(t, records...)
	head := m.snapshot(records[len(records)-1].Time.Add(after)).Lines(120, 24, false)[0]
	_, eta, _ := strings.Cut(head, "ETA ")
	eta, _, _ = strings.Cut(eta, "   ")
	return eta
}

// atOnce is a batch whose nodes reply at a time with an announced delay, and are proved later.
func atOnce(number int, at, delay, took time.Duration, nodes ...string) []batch.Record {
	replied := outcomes(number, true, nodes...)
	replied.Time = begun.Add(at)
	for i := range replied.Outcomes {
		replied.Outcomes[i].Time, replied.Outcomes[i].Delay = replied.Time, delay
	}
	records := []batch.Record{intent(number, at), ofBatch(batch.KindSent, number, at), replied, ofBatch(batch.KindReplies, number, at)}
	return append(records, acted(at+took, nodes...), ofBatch(batch.KindBatchEnd, number, at+took))
}

// A canary that was quick does not make the rest look quick; a batch that takes longer than estimated never shows an end
// that is over.
func TestTheEstimateIsNeverKnownToBeWrong(t *testing.T) {
	plan := provedPlan(batch.Pace{Sleep: time.Second, ReplyTimeout: 22 * time.Second, LongestDelay: 11 * time.Second, VerifyTimeout: time.Minute},
		[]string{"a"}, []string{"b", "c", "d", "e"}, []string{"f", "g", "h", "i"})
	first := append([]batch.Record{plan}, atOnce(1, 0, 2*time.Second, 3*time.Second, "a")...)
	second := atOnce(2, 3*time.Second, 9*time.Second, 19*time.Second, "b", "c", "d", "e")
	third := atOnce(3, 22*time.Second, 9*time.Second, 30*time.Second, "f", "g", "h", "i")
	for _, tt := range []struct {
		name    string
		after   time.Duration
		records []batch.Record
		want    string
	}{
		// The plan has 10.8 s for a batch of 4: the slowest of four acts after 8.8 s.
		{"after a quick canary", 0, first, "0:22"},
		{"the second is late", 15 * time.Second, slices.Concat(first, second[:4]), ">0:11"},
		{"after a slow batch", 0, slices.Concat(first, second), "0:19"},
		{"in the last batch", 18 * time.Second, slices.Concat(first, second, third[:4]), "0:01"},
		{"the last is late", 20 * time.Second, slices.Concat(first, second, third[:4]), "<0:49"}, // of 9 s and 60 s
		{"its time limits are over", 70 * time.Second, slices.Concat(first, second, third[:4]), ""},
		{"at the end", 0, slices.Concat(first, second, third), ""},
	} {
		if got := etaAfter(t, tt.after, tt.records...); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	// Nodes that announce to act later than the estimate move it.
	slow := atOnce(2, 3*time.Second, 40*time.Second, 50*time.Second, "b", "c", "d", "e")
	if got := etaAfter(t, 0, slices.Concat(first, slow[:4])...); got != "0:51" {
		t.Errorf("with a long delay: %q", got)
	}
}

// The time that an operator's pause takes is no part of the estimate, and none is shown meanwhile.
func TestAPauseIsNotEstimated(t *testing.T) {
	plan := provedPlan(batch.Pace{ReplyTimeout: 22 * time.Second}, []string{"a"}, []string{"b"}, []string{"c"}, []string{"d"})
	paused := batch.Record{Kind: batch.KindPaused, Time: begun.Add(10 * time.Second), By: "rip"}
	continued := batch.Record{Kind: batch.KindContinued, Time: begun.Add(10 * time.Minute), By: "rip"}
	records := slices.Concat([]batch.Record{plan}, atOnce(1, 0, 0, 10*time.Second, "a"))
	if got := etaAfter(t, 0, records...); got != "0:30" {
		t.Errorf("before: %q", got)
	}
	records = append(records, paused)
	if got := etaAfter(t, time.Minute, records...); got != "" {
		t.Errorf("meanwhile: %q", got)
	}
	records = append(records, continued)
	if got := etaAfter(t, 0, records...); got != "0:30" {
		t.Errorf("afterwards: %q", got)
	}
	records = append(records, atOnce(2, 10*time.Minute, 0, 10*time.Second, "b")...)
	if got := etaAfter(t, 0, records...); got != "0:20" {
		t.Errorf("after the next batch: %q", got)
	}
}

// Of a window with a cap, the value with the most nodes decides how long the rest takes.
func TestTheEstimateOfAWindowKnowsTheCaps(t *testing.T) {
	nodes := []batch.Node{}
	for name := range strings.FieldsSeq("a1 a2 a3 a4 a5 a6 b1 b2") {
		nodes = append(nodes, batch.Node{Identity: name, Facts: map[string]string{"rack": name[:1]}})
	}
	plan, err := batch.NewPlan(nodes, batch.Policy{Rolling: true, Sizes: batch.Sizes{batch.Number(8)}, MaxPer: []batch.MaxPer{{Fact: "rack", N: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	first := batch.Record{Kind: batch.KindPlan, Time: begun, Begin: &batch.Beginning{Plan: &plan, Proved: true, Pace: batch.Pace{ReplyTimeout: time.Second}, Header: batch.Header{Run: "r", Created: begun}}}
	records := []batch.Record{first}
	for i, pair := range [][]string{{"a1", "b1"}, {"a2", "b2"}} {
		starts := intent(i+1, time.Duration(i)*10*time.Second)
		starts.Nodes = pair
		records = append(records, starts, outcomes(i+1, true, pair...), acted(time.Duration(i+1)*10*time.Second, pair...))
	}
	// Four of rack a are left, one after another: five times as long as one, a little less because of the nodes in flight.
	v, _ := metered(t, records...)
	if left := v.End.Sub(begun.Add(20 * time.Second)); left < 50*time.Second || left > 75*time.Second {
		t.Errorf("%s are left, want about a minute", left)
	}
}
