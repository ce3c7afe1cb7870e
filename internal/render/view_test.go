package render

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"fleetctl/batch"
)

var now = time.Date(2026, 11, 25, 22, 3, 15, 0, time.UTC)

// aView is a restart of 50 nodes in its second batch.
func aView(change func(*View)) View {
	v := View{
		Now: now, Run: "20261125-220244-dvjjn", What: "restart", Began: now.Add(-31 * time.Second), Keys: Keys{Pause: true}, Proves: true, Doing: Answering,
		States: batch.CountsOf(map[batch.State]int{batch.Verified: 27, batch.Accepted: 11, batch.Refused: 2, batch.Absent: 1, batch.Sending: 2, batch.Planned: 7}),
		End:    now.Add(70 * time.Second), Batch: BatchView{Number: 2, Of: 3, Nodes: 20, Answered: 18, Proved: 7},
		Waits:    []Wait{{"web04.fra1", now.Add(9 * time.Second)}, {"web06.fra1", now.Add(9 * time.Second)}, {"db01.ams1", now.Add(4 * time.Second)}},
		Failures: []Failure{{"You are not authorized to call this agent or action", 2, "web02.nyc1,web04.ams1"}},
	}
	change(&v)
	return v
}

// views are the moments of a run that the lines are checked at.
var views = []struct {
	name string
	view View
}{
	{"before the first batch", aView(func(v *View) {
		*v = View{Now: now, Run: v.Run, What: v.What, Began: now, Keys: v.Keys, Proves: true, Doing: Asking, States: batch.CountsOf(map[batch.State]int{batch.Planned: 50}), Batch: BatchView{Number: 1, Of: 3, Nodes: 1}}
	})},
	{"late", aView(func(v *View) { v.End, v.Rest = now.Add(20*time.Second), 24*time.Second })},
	{"the last batch is late", aView(func(v *View) { v.End, v.Latest = now.Add(-20*time.Second), now.Add(45*time.Second) })},
	{"leaving", aView(func(v *View) { v.Doing, v.Waits = Sending, nil })},
	{"replies", aView(func(*View) {})},
	{"proof, many", aView(func(v *View) { v.Doing, v.More, v.Batch.Answered = Proving, 8, 20 })},
	{"nothing is proved", aView(func(v *View) { v.Proves, v.End, v.What, v.Failures = false, time.Time{}, "ping", nil })},
	{"sleep", aView(func(v *View) { v.Doing, v.Waits, v.Wake = Resting, nil, now.Add(25*time.Second) })},
	{"paused", aView(func(v *View) { v.Paused, v.PausedBy, v.Waits = now.Add(-42*time.Second), "rip", v.Waits[:1] })},
	{"the connection is lost", aView(func(v *View) { v.Lost = now.Add(-12 * time.Second) })},
	{"stopped", aView(func(v *View) { v.Stopping, v.Waits = "3 nodes failed (--max-failed 3)", v.Waits[:1] })},
	{"a gate", aView(func(v *View) {
		v.Gate = "gate `./check` is inconclusive (exit 75): asks again in 8s, 9:12 left"
		v.Waits = nil
	})},
	{"what operators share", aView(func(v *View) {
		v.Shared, v.Waits = "budget: 1 node may be down at once, and 1 is: run r9 of bob (1)", nil
	})},
	{"a window", aView(func(v *View) { v.Window = WindowView{Size: 20, InFlight: 18, Silent: 3, Rate: 41.2} })},
	{"a ramp", aView(func(v *View) {
		v.Window, v.Waits[0].Until = WindowView{Size: 20, Now: 5, InFlight: 4}, now.Add(606*time.Second)
	})},
	{"of an earlier process", aView(func(v *View) { v.Doing = Recovering })},
	{"the last looks", aView(func(v *View) { v.Doing, v.Waits = Looking, nil })},
	{"names of one domain", aView(func(v *View) {
		v.Domain, v.Waits[0].Node, v.Failures[0].Names = ".example.net", "web04.fra1.example.net", "web02.nyc1.example.net,web04.ams1.example.net"
	})},
	{"watched", aView(func(v *View) { v.Keys = Keys{Watch: true} })},
	{"many causes", aView(func(v *View) {
		v.Failures = append(v.Failures, Failure{"no reply", 12, "web[10-21].nyc1"}, Failure{"absent", 7, "db[01-07].ams1"}, Failure{"unknown", 2, "x1,x2"})
		v.MoreCauses = 2
	})},
	{"long and hostile", aView(func(v *View) {
		v.Run, v.Waits[0].Node = "", "a-name-that-is-longer-than-many-a-terminal.example.net\x1b[2J"
		v.Failures[0] = Failure{"Could not obtain\r\nprovisioning lock \x1b[31m" + strings.Repeat("x", 100), 40, "web[01-40].a-site-with-a-long-name.example.net"}
	})},
}

// A view has the same lines in the file at each width, and never fills the last column.
func TestViewsAtEveryWidth(t *testing.T) {
	var out strings.Builder
	for _, tt := range views {
		for _, width := range []int{120, 80, 40, 20} {
			fmt.Fprintf(&out, "--- %s, %d columns\n", tt.name, width)
			for _, l := range tt.view.Lines(width, 0, false) {
				fmt.Fprintln(&out, l)
			}
		}
		fmt.Fprintf(&out, "--- %s, in a log\n%s\n", tt.name, tt.view.Plain())
	}
	path := filepath.Join("testdata", "views.txt")
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != string(want) {
		t.Errorf("the views are not those of %s (go test -update rewrites it):\n%s", path, got)
	}
}

func TestViewsFitAndShowFailures(t *testing.T) {
	for _, tt := range views {
		for width := 1; width < 200; width++ {
			for _, color := range []bool{false, true} {
				lines := tt.view.Lines(width, 0, color)
				for _, l := range lines {
					if n := text.StringWidthWithoutEscSequences(l); n > max(width-1, 1) {
						t.Errorf("%s: %d columns at a width of %d: %q", tt.name, n, width, l)
					}
					if strings.ContainsAny(l, "\n\r\t") || !color && strings.Contains(l, "\x1b") {
						t.Errorf("%s: a control character: %q", tt.name, l)
					}
				}
				if want := 3 + min(len(tt.view.Failures), maxCauses); len(lines) != want {
					t.Errorf("%s: %d lines at a width of %d, want %d", tt.name, len(lines), width, want)
				}
			}
		}
	}
}

// A low terminal keeps the counts and the failures.
func TestViewsOfALowTerminal(t *testing.T) {
	v := aView(func(*View) {})
	all := v.Lines(80, 0, false)
	for rows, want := range map[int][]string{5: all, 4: all[1:], 3: {all[1], all[3]}, 2: {all[1]}, 1: {all[1]}} {
		if got := v.Lines(80, rows, false); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%d rows: %q, want %q", rows, got, want)
		}
	}
}

func TestLinesThatStay(t *testing.T) {
	b := batch.BatchResult{Batch: 1, Nodes: 20, Sent: now, Ended: now.Add(11 * time.Second), States: batch.CountsOf(map[batch.State]int{batch.Verified: 18, batch.Refused: 1, batch.NoReply: 1})}
	for _, tt := range []struct{ got, want string }{
		{BatchLine(b), "batch 1  20 nodes  11 s  18 verified  1 refused  1 no reply"},
		{BatchLine(batch.BatchResult{Batch: 7, Nodes: 1, Ended: now, States: batch.CountsOf(map[batch.State]int{batch.Absent: 1})}), "batch 7  1 node  1 absent"},
		{WindowLine(40, 500, 75*time.Second, batch.CountsOf(map[batch.State]int{batch.Verified: 20})), "40/500 nodes  1:15  20 verified"},
		{Failure{"no\nway", 3, "a,b,c"}.FailureLine(), "3 nodes: no way: a,b,c"},
		{clock(3723 * time.Second), "1:02:03"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestDoingsHaveWords(t *testing.T) {
	seen := map[string]bool{}
	for d := range doings {
		if w := d.String(); w == "" || seen[w] {
			t.Errorf("%d is called %q", d, w)
		} else {
			seen[w] = true
		}
	}
	if got := doings.String(); got != "doing(9)" {
		t.Errorf("an unknown one is %q", got)
	}
}
