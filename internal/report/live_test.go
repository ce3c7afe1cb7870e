package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/proof"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

// logTime is the time at the start of a line.
var logTime = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d) `)

// seconds are those of a node: the clock of a test stands elsewhere than that of its records.
var seconds = regexp.MustCompile(`\b\d{3,}(:\d\d){2}\b`)

// Without a terminal there is a line with its time for each batch and for what went wrong.
func TestALogHasALineABatch(t *testing.T) {
	_, errs := told(t, Options{Format: Senders}, func(*story) {})
	lines := logTime.FindAllStringIndex(errs, -1)
	want := "batch 1/2  sent to 2 nodes\n! 1 node: not today: b\nbatch 1  2 nodes  0 s  1 accepted  1 refused\nbatch 2/2  sent to 2 nodes\n! 1 node: no-reply: c\nbatch 2  2 nodes  1 s  1 accepted  1 no reply\n"
	if got := logTime.ReplaceAllString(errs, ""); len(lines) != 6 || !strings.HasPrefix(got, want) {
		t.Errorf("%d lines with a time, want 6: %q", len(lines), errs)
	}
}

// One batch of which nothing is to be proved needs no lines: its result follows.
func TestALogOfOneBatchIsQuiet(t *testing.T) {
	one := func(s *story) { s.batches = [][]string{{"a", "b", "d"}} }
	if _, errs := told(t, Options{Format: Senders}, one); logTime.MatchString(errs) {
		t.Errorf("stderr is %q", errs)
	}
	proved := func(s *story) { one(s); s.proves = proof.Restart }
	if _, errs := told(t, Options{Format: Senders}, proved); !logTime.MatchString(errs) {
		t.Errorf("a restart: stderr is %q", errs)
	}
}

// What lasts shows a sign of life every 30 s, when nothing else does.
func TestALogShowsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		l := NewLive(Stream{Writer: &s.err})
		l.begin(progressOf(t, intent(1, 0), ofBatch(batch.KindSent, 1, 0)), render.View{What: "ping"})
		l.Observe(intent(1, 0))
		l.Observe(ofBatch(batch.KindSent, 1, 0))
		pass(95 * time.Second)
		l.End()
		got := seconds.ReplaceAllString(logTime.ReplaceAllString(s.err.String(), ""), "0s")
		if want := strings.Repeat("batch 1/1  0/3 answered; waits for a (0s), b (0s), c (0s); 0% done\n", 3); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// At a terminal the view stands below what stays: the run, a line a batch, and what is said.
func TestAtATerminalTheViewStandsBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		g := &glass{t: t, columns: 80, rows: 24}
		term := g.terminal()
		w := s.writer(Options{Format: Senders, Err: Stream{Writer: term, Terminal: true, Live: term}, PauseKey: true})
		s.prepare(w)
		s.report(w, run.Searching{Method: "mc"})
		pass(3 * time.Second)
		synctest.Wait()
		if got, want := g.text(), "Discovering nodes using the mc method ....  0:03"; got != "" && got != want {
			t.Errorf("while it looks for nodes: %q", got)
		}
		s.report(w, run.Found{Method: "mc", Nodes: 3})
		p := progressOf(t, intent(1, 0), ofBatch(batch.KindSent, 1, 0), refusal("b", "not today"))
		s.report(w, run.Began{ID: "20260101-000000-aaaaa", Progress: p})
		s.report(w, run.Recorded{Record: intent(1, 0), Progress: p})
		s.report(w, run.Recorded{Record: ofBatch(batch.KindSent, 1, 0), Progress: p})
		s.report(w, run.Recorded{Record: refusal("b", "not today"), Progress: p})
		s.report(w, run.Noted{Level: run.Warning, Text: "look here"})
		pass(time.Second)
		synctest.Wait()
		want := `run 20260101-000000-aaaaa
warning: look here
run 20260101-000000-aaaaa  ping  0:01                space pauses, Ctrl-C stops
[                              ] 0% done   1 refused  3 nodes
batch 1/1  1/3 answered; waits for a (0s), c (0s)
  ! 1 node: not today: b`
		if got := seconds.ReplaceAllString(g.text(), "0s"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		s.report(w, run.Recorded{Record: ofBatch(batch.KindBatchEnd, 1, 2*time.Second), Progress: p})
		s.report(w, run.Asking{Step: batch.Step{Done: 1, Next: 2, Nodes: 1, Left: 1, Trouble: []batch.Result{{Identity: "b", State: batch.Refused, Reason: "not today"}}}})
		s.report(w, run.Finished{Result: run.Result{Summary: p.Summary()}})
		text := g.text()
		if strings.Contains(text, "space pauses") || !strings.Contains(text, "\nbatch 1  3 nodes  0 s  1 refused\n1 node: refused: not today\n") {
			t.Errorf("at the end\n%s", text)
		}
	})
}

// A run of another process is shown from its record: what was before is no news.
func TestAWatcherSeesTheRunFromItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		l := NewLive(Stream{Writer: &s.err})
		records := []batch.Record{planOf([]string{"a", "b"}, []string{"c"}), intent(1, 0), ofBatch(batch.KindSent, 1, 0), refusal("b", "not today"), outcomes(1, true, "a"),
			ofBatch(batch.KindReplies, 1, time.Second), ofBatch(batch.KindBatchEnd, 1, time.Second), intent(2, 2*time.Second), ofBatch(batch.KindSent, 2, 2*time.Second), outcomes(2, true, "c"),
			ofBatch(batch.KindReplies, 2, 3*time.Second), ofBatch(batch.KindBatchEnd, 2, 3*time.Second)}
		var f batch.Follower
		begun := false
		for line, err := range journal(t, records...) {
			if err != nil {
				t.Fatal(err)
			}
			r, err := f.Add(line)
			if err != nil {
				t.Fatal(err)
			}
			if p, err := f.Progress(); err == nil && !begun {
				l.BeginStored(p, "20260101-000000-aaaaa", r)
				begun = true
			}
			if r.Kind == batch.KindIntent && r.Batch == 2 {
				l.Seen()
			}
			l.Observe(r)
		}
		l.End()
		if got, want := logTime.ReplaceAllString(s.err.String(), ""), "batch 2/2  sent to 1 node\nbatch 2  1 node  1 s  1 accepted\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// The view names the site, from another terminal too: staging and production look alike.
func TestTheViewNamesTheSite(t *testing.T) {
	plan := planOf([]string{"a"})
	plan.Begin.Header.Meta = []byte(`{"action":"restart","site":"ams"}`)
	p, err := batch.Follow(journal(t, plan))
	if err != nil {
		t.Fatal(err)
	}
	l := NewLive(Stream{Live: NewTerminal(TerminalOptions{Out: io.Discard, Size: func() (int, int) { return 100, 40 }})})
	l.BeginStored(p, "r1", plan)
	defer l.End()
	if lines := l.frame(begun, 100, 40); len(lines) == 0 || !strings.Contains(lines[0], "run r1  restart at ams  ") {
		t.Errorf("%q", lines)
	}
}

// BenchmarkViewOfALargeRun is what the view costs a run of 10,000 nodes in one batch whose replies and proofs come a few at a
// time, drawn 80 times. It reports the time of the view alone.
func BenchmarkViewOfALargeRun(b *testing.B) {
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("node%05d.example.net", i)
	}
	records := []batch.Record{provedPlan(batch.Pace{ReplyTimeout: time.Minute, VerifyTimeout: time.Minute}, names), intent(1, 0), ofBatch(batch.KindSent, 1, 0)}
	for group := range slices.Chunk(names, 4) {
		records = append(records, outcomes(1, true, group...))
	}
	for group := range slices.Chunk(names, 4) {
		records = append(records, acted(time.Second, group...))
	}
	var spent time.Duration
	for b.Loop() {
		var f batch.Follower
		l := NewLive(Stream{Live: NewTerminal(TerminalOptions{Out: io.Discard, Size: func() (int, int) { return 100, 40 }})})
		for i, r := range records {
			line, err := json.Marshal(r)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := f.Add(bytes.Replace(line, []byte(`"v":0`), []byte(`"v":2`), 1)); err != nil {
				b.Fatal(err)
			}
			began := time.Now()
			if p, err := f.Progress(); i == 0 && err == nil {
				l.BeginStored(p, "run", r)
				l.Seen()
			}
			l.Observe(r)
			if i%(len(records)/80) == 0 {
				l.frame(began, 100, 40)
			}
			spent += time.Since(began)
		}
		l.End()
	}
	b.ReportMetric(spent.Seconds()*1000/float64(b.N), "view-ms/run")
}
