package render

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
)

// screen is one line of a terminal: carriage returns go back, writing replaces.
type screen struct {
	t     *testing.T
	width int
	cells []rune
	at    int
}

func (s *screen) Write(p []byte) (int, error) {
	for _, r := range string(p) {
		switch {
		case r == '\r':
			s.at = 0
			continue
		case r < ' ':
			s.t.Errorf("width %d: control character %q", s.width, r)
		case s.at >= s.width-1:
			s.t.Errorf("width %d: writes into the last column: %q", s.width, p)
		}
		for len(s.cells) <= s.at {
			s.cells = append(s.cells, ' ')
		}
		s.cells[s.at] = r
		s.at++
	}
	return len(p), nil
}

func (s *screen) line() string { return strings.TrimRight(string(s.cells), " ") }

func snapshots(planned int) []Snapshot {
	var list []Snapshot
	for i := 0; i <= planned; i += 7 {
		list = append(list, Snapshot{Batch: 1 + i/10, Batches: 1 + planned/10, Planned: planned, Done: i, Accepted: i - i/5, Verified: i / 2,
			Failed: i / 10, NoReply: i / 20, Left: time.Duration(planned-i) * time.Second,
			Waiting: fmt.Sprintf("%d replies", planned-i)})
	}
	return append(list, Snapshot{Batch: 10, Batches: 10, Planned: planned, Done: planned, Accepted: planned, Waiting: "\x1b[2J evil"})
}

func TestBarFitsEveryTerminal(t *testing.T) {
	for _, width := range []int{1, 10, 20, 39, 40, 55, 56, 57, 80, 200} {
		s := &screen{t: t, width: max(width, minWidth)}
		p := NewBar(s, 100, width)
		for _, snap := range snapshots(100) {
			p.Update(snap)
			want := fmt.Sprintf("batch %d/%d", snap.Batch, snap.Batches)
			want = strings.TrimSpace(want[:min(len(want), max(width, minWidth)-1)])
			if got := s.line(); !strings.Contains(got, want) {
				t.Errorf("width %d: %q does not show %q", width, got, want)
			}
		}
		p.Close(Snapshot{})
		if got := s.line(); got != "" {
			t.Errorf("width %d: %q is left on the terminal", width, got)
		}
		p.Update(Snapshot{Batch: 1})
		if got := s.line(); got != "" {
			t.Errorf("width %d: %q is drawn after the end", width, got)
		}
	}
}

func TestBarShowsWhatMatters(t *testing.T) {
	snap := Snapshot{Batch: 3, Batches: 10, Planned: 100, Done: 27, Accepted: 25, Verified: 20, Failed: 2, NoReply: 1,
		Left: 130 * time.Second, Waiting: "5 replies"}
	tests := []struct {
		width int
		want  string
	}{
		{160, "27% [====>---------------] batch 3/10, 27/100 nodes, 2 failed, 1 no reply, waits for 5 replies, 25 accepted, 20 verified, ETA 2m10s"},
		{100, "27% [==>---------] batch 3/10, 27/100 nodes, 2 failed, 1 no reply, waits for 5 replies, 25 accepted"},
		{80, "batch 3/10, 27/100 nodes, 2 failed, 1 no reply, waits for 5 replies, ETA 2m10s"},
		{40, "batch 3/10, 27/100 nodes, 2 failed"},
		{20, "batch 3/10"},
		{10, "batch 3/1"},
	}
	for _, tt := range tests {
		s := &screen{t: t, width: tt.width}
		p := NewBar(s, 100, tt.width)
		p.Update(snap)
		if got := s.line(); got != tt.want {
			t.Errorf("width %d:\ngot  %q\nwant %q", tt.width, got, tt.want)
		}
		p.Clear()
		if got := s.line(); got != "" {
			t.Errorf("width %d: %q is left after Clear", tt.width, got)
		}
		p.Update(snap)
		if got := s.line(); got != tt.want {
			t.Errorf("width %d: %q after Clear, want %q", tt.width, got, tt.want)
		}
	}
}

func TestBarAtTheEndsOfTheRun(t *testing.T) {
	for done, want := range map[int]string{0: "0% [----------] batch 1/1, 0/4 nodes, 0 accepted",
		4: "100% [==========] batch 1/1, 4/4 nodes, 0 accepted", 9: "100% [==========] batch 1/1, 9/4 nodes, 0 accepted"} {
		s := &screen{t: t, width: 80}
		p := NewBar(s, 4, 0)
		p.Update(Snapshot{Batch: 1, Batches: 1, Planned: 4, Done: done})
		if got := s.line(); got != want {
			t.Errorf("%d done: %q, want %q", done, got, want)
		}
	}
	NewBar(&bytes.Buffer{}, 0, 80).Update(Snapshot{}) // an empty plan is drawn too
}

func TestPlainProgressWritesALinePerBatch(t *testing.T) {
	var b strings.Builder
	p := NewPlain(&b)
	for _, s := range []Snapshot{{Batches: 2, Planned: 4}, {Batch: 1, Batches: 2, Planned: 4}, {Batch: 1, Batches: 2, Planned: 4, Done: 1, Accepted: 1},
		{Batch: 2, Batches: 2, Planned: 4, Done: 2, Accepted: 2, Left: 3 * time.Second}, {Batch: 2, Batches: 2, Planned: 4, Done: 3, Accepted: 2, Failed: 1}} {
		p.Update(s)
	}
	p.Close(Snapshot{Batch: 2, Batches: 2, Planned: 4, Done: 4, Accepted: 2, Verified: 2, Failed: 1, NoReply: 1})
	want := `batch 1/2, 0/4 nodes, 0 accepted
batch 2/2, 2/4 nodes, 2 accepted, ETA 3s
batch 2/2, 4/4 nodes, 1 failed, 1 no reply, 2 accepted, 2 verified
`
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// In a window there is one line for as many nodes as it has slots, and none twice.
func TestPlainProgressOfAWindow(t *testing.T) {
	var b strings.Builder
	p := NewPlain(&b)
	for done := range 7 {
		p.Update(Snapshot{Batch: done / 3, Batches: done, Window: 3, Planned: 6, Done: done, Accepted: done, Waiting: "2 in flight"})
	}
	p.Close(Snapshot{Batch: 2, Batches: 6, Window: 3, Planned: 6, Done: 6, Accepted: 6, Waiting: "2 in flight"})
	want := `window of 3, 3/6 nodes, waits for 2 in flight, 3 accepted
window of 3, 6/6 nodes, waits for 2 in flight, 6 accepted
`
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestBarSaysThatARunIsPaused(t *testing.T) {
	s := &screen{t: t, width: 60}
	NewBar(s, 4, 60).Update(Snapshot{Batch: 1, Batches: 2, Planned: 4, Paused: true, Waiting: "2 replies"})
	if got, want := s.line(), "batch 1/2, 0/4 nodes, paused, waits for 2 replies"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}

func TestProgressOfNothingIsSilent(t *testing.T) {
	var p Progress
	p.Update(Snapshot{Batch: 1})
	p.Clear()
	p.Close(Snapshot{})
	broken := NewPlain(brokenWriter{})
	broken.Update(Snapshot{Batch: 1})
	broken.Update(Snapshot{Batch: 2})
	broken.Close(Snapshot{})
}

func TestProgressIsSafeForConcurrentUse(t *testing.T) {
	var b bytes.Buffer
	p := NewBar(&b, 100, 80)
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			for _, s := range snapshots(100) {
				p.Update(s)
				if i == 0 {
					p.Clear()
				}
			}
		})
	}
	wait.Wait()
	p.Close(Snapshot{})
	if strings.ContainsAny(b.String(), "\x1b\n") || text.LongestLineLen(b.String()) == 0 {
		t.Errorf("odd characters or nothing at all")
	}
}

func TestBarOfALargeRunIsNotDrawnForEachNode(t *testing.T) {
	var b bytes.Buffer
	p := NewBar(&b, 100_000, 80)
	for n := range 100_000 {
		p.Update(Snapshot{Batch: 1, Batches: 1, Planned: 100_000, Done: n, Accepted: n})
	}
	if drawn := strings.Count(b.String(), "\r"); drawn < 200 || drawn > 2000 {
		t.Errorf("drawn %d times, want some hundred", drawn)
	}
	s := &screen{t: t, width: 80}
	p = NewBar(s, 100_000, 80)
	p.Update(Snapshot{Batch: 1, Batches: 1, Planned: 100_000, Done: 10})
	p.Update(Snapshot{Batch: 1, Batches: 1, Planned: 100_000, Done: 10, Waiting: "a tick"})
	if !strings.Contains(s.line(), "a tick") {
		t.Errorf("%q does not show a tick of the clock", s.line())
	}
}
