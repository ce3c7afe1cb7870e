package main

import (
	"regexp"
	"strings"
	"testing"

	"fleetctl/internal/lab"
)

// TestTheViewOfARunAtATerminal looks at the view from the first batch to the end, pauses it with its key, and watches it from
// another terminal meanwhile.
func TestTheViewOfARunAtATerminal(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 2, Protocol: 2})
	watched := make(chan result, 1)
	watch := func() {
		other := newTerminal(t)
		go func() {
			watched <- f.walk(other, []step{{await: "Ctrl-C ends this view, not the run"}}, "runs", "watch")
		}()
	}
	steps := []step{
		{await: "Discovering nodes using the mc method .... 2"}, {await: "space pauses, Ctrl-C stops", do: watch}, {await: "batch 1  1 node  "},
		{await: "batch 1/2  done; next batch in", keys: " "}, {await: "PAUSED by operator for", keys: " "}, {await: "batch 2  1 node  "},
	}
	r := f.walk(newTerminal(t), steps, "req", "choria_provision", "restart", "splay=1", "--batch", "1", "--batch-sleep", "6", "--canary", "0", "--settle", "1", "--yes")
	if r.code != 0 || !strings.Contains(r.out, "2 nodes: verified\n") {
		t.Errorf("exit code %d: %s", r.code, r.out)
	}
	// Carriage returns, and the sequences that go up and erase; the last thing is that the lines are taken away.
	odd := regexp.MustCompile(`\x1b\[[0-9;]*[AKJm]`).ReplaceAllString(r.stderr, "")
	if strings.ContainsAny(odd, "\x1b\b\t\a") || strings.LastIndex(r.stderr, "space pauses") > strings.LastIndex(r.stderr, "\x1b[1A\x1b[K") {
		t.Errorf("other control sequences, or lines that are left: %q", r.stderr)
	}
	if w := <-watched; w.code != 0 || !strings.Contains(w.out, "Done: 2 verified") || !strings.Contains(w.stderr, "proved") {
		t.Errorf("the watcher: exit code %d, %s, %q", w.code, w.out, w.stderr)
	}
}

// TestTheViewOfATerminalThatBecomesNarrower: tmux wraps the drawn lines anew, so that the first one is farther up. At 60 columns
// the header and the bar, of 99 and 65, take two rows each.
func TestTheViewOfATerminalThatBecomesNarrower(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 2, Protocol: 2})
	term := newTerminal(t)
	term.env = []string{"TMUX=/nowhere"}
	term.resize(24, 100)
	steps := []step{
		{await: "batch 1/2  done; next batch in", do: func() { term.resize(24, 60) }}, {await: "\r\x1b[4A"}, {await: "space pauses, ^C stops"}, {await: "batch 2  1 node  "},
	}
	r := f.walk(term, steps, "req", "choria_provision", "restart", "splay=1", "--batch", "1", "--batch-sleep", "6", "--canary", "0", "--settle", "1", "--yes")
	if r.code != 0 || !strings.Contains(r.out, "2 nodes: verified\n") {
		t.Errorf("exit code %d: %s", r.code, r.out)
	}
}
