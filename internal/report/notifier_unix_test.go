//go:build unix

package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"fleetctl/batch"
	"fleetctl/internal/run"
)

// heard is a Reporter that keeps the events.
type heard struct{ events []run.Event }

// Report implements run.Reporter.
func (h *heard) Report(e run.Event) error {
	h.events = append(h.events, e)
	return nil
}

// warnings are the texts of the warnings.
func (h *heard) warnings() []string {
	var out []string
	for _, e := range h.events {
		if n, ok := e.(run.Noted); ok && n.Level == run.Warning {
			out = append(out, n.Text)
		}
	}
	return out
}

const hiddenText = "s3cret"

func scrubbed(text string) string { return strings.ReplaceAll(text, hiddenText, "[redacted]") }

// listened is a run of three nodes and the command that hears of it.
type listened struct {
	t        *testing.T
	heard    heard
	notifier *Notifier
	from     batch.Progress
}

func newListened(t *testing.T, command string, adapt func(*NotifierOptions)) *listened {
	t.Helper()
	o := NotifierOptions{
		Command: command, Scrub: scrubbed, Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()},
		Code: func(r run.Result) int { return 40 + int(r.Summary.Verdict) },
	}
	if adapt != nil {
		adapt(&o)
	}
	meta, err := json.Marshal(run.Meta{Agent: "choria_provision", Action: "restart", Collective: "mcollective", Caller: "choria=rip.mcollective"})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := batch.NewPlan([]batch.Node{{Identity: "a"}, {Identity: "b"}, {Identity: "c"}}, batch.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	s := &listened{t: t}
	if s.from, err = batch.Begin(batch.Header{Run: "20261126-100958-b723c", Meta: meta}, plan); err != nil {
		t.Fatal(err)
	}
	s.notifier = NewNotifier(t.Context(), &s.heard, o)
	s.notifier.last = time.Minute // however busy this machine is
	return s
}

func (s *listened) report(events ...run.Event) {
	s.t.Helper()
	for _, e := range events {
		if err := s.notifier.Report(e); err != nil {
			s.t.Errorf("%T: %v", e, err)
		}
	}
}

func (s *listened) begin() {
	s.t.Helper()
	s.report(run.Prepared{Changes: true}, run.Began{Progress: s.from})
	s.record(batch.Record{Kind: batch.KindPlan})
}

func (s *listened) record(r batch.Record) {
	s.t.Helper()
	if r.Time.IsZero() {
		r.Time = time.Date(2026, 11, 26, 10, 12, 40, 0, time.FixedZone("", 3600))
	}
	s.report(run.Recorded{Record: r, Progress: s.from})
}

// end ends the run with a verdict.
func (s *listened) end(v batch.Verdict, reason string) {
	s.t.Helper()
	summary := s.from.Summary()
	summary.Verdict, summary.Reason = v, reason
	s.report(run.Finished{Result: run.Result{Summary: summary}})
	if err := s.notifier.Close(); err != nil {
		s.t.Error(err)
	}
}

// all is a run with every event.
func (s *listened) all() {
	s.t.Helper()
	s.begin()
	s.record(batch.Record{Kind: batch.KindPaused, By: "anna"})
	s.record(batch.Record{Kind: batch.KindContinued, By: "ben"})
	s.record(batch.Record{Kind: batch.KindLink, Reason: "the connection was lost: " + hiddenText})
	s.record(batch.Record{Kind: batch.KindLink, Up: true, Reason: "the connection is back after 3s"})
	s.report(run.Asking{Step: batch.Step{Next: 2, Counts: s.from.Counts()}}, run.Asking{Step: batch.Step{Next: 2}, Details: true})
	s.record(batch.Record{Kind: batch.KindIntent, Batch: 2})
	s.record(batch.Record{Kind: batch.KindOutcomes})
	s.record(batch.Record{Kind: batch.KindStopped, Stop: &batch.Stop{Kind: batch.StopRule, Rule: batch.RuleMaxFailed, Count: 3, Limit: 3, Reason: "3 nodes failed:\nthe limit is 3"}})
	s.end(batch.Stopped, "the limit is 3")
}

// notices are what a command has written to a file, a document a line.
func notices(t *testing.T, file string) []Notice {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.NewCompiler().Compile("../../docs/schemas/event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []Notice
	for line := range strings.Lines(string(text)) {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err == nil {
			err = schema.Validate(doc)
		}
		var n Notice
		if err := errors.Join(err, json.Unmarshal([]byte(line), &n)); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		list = append(list, n)
	}
	return list
}

func eventsOf(list []Notice) string {
	var out []string
	for _, n := range list {
		out = append(out, n.Event)
	}
	return strings.Join(out, " ")
}

func TestTheCommandHearsWhatMattersOfARun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newListened(t, `cat >> "$DIR/events"; env | grep '^FLEETCTL\|^INNOCENT\|^KEPT' | grep -v '^FLEETCTL_TEXT' | sort | tr '\n' ' ' >> "$DIR/env"; printf "%s\\n" "$FLEETCTL_TEXT" >> "$DIR/texts"`, func(o *NotifierOptions) {
		o.Env = append(o.Env, "DIR="+dir, "INNOCENT=x"+hiddenText, "KEPT=1")
	})
	s.all()
	if w := s.heard.warnings(); len(w) > 0 {
		t.Errorf("warnings %q", w)
	}
	got := notices(t, filepath.Join(dir, "events"))
	if want := "begin pause continue pause continue pause continue stop end"; eventsOf(got) != want {
		t.Fatalf("events %s, want %s", eventsOf(got), want)
	}
	var reasons []string
	for _, n := range got {
		reasons = append(reasons, n.Reason)
		if n.Run != "20261126-100958-b723c" || n.Agent != "choria_provision" || n.Action != "restart" || n.Caller != "choria=rip.mcollective" || n.Nodes != 3 ||
			n.Collective != "mcollective" || n.States.Of(batch.Planned) != 3 {
			t.Errorf("%+v", n)
		}
		if (n.ExitCode != nil) != (n.Event == noticeEnd) || (n.Stop != nil) != (n.Event == noticeStop || n.Event == noticeEnd) {
			t.Errorf("%+v", n)
		}
	}
	want := []string{"", "paused by anna", "continued by ben", "the connection was lost: [redacted]", "the connection is back after 3s",
		"asks the operator whether to send batch 2", "batch 2 was confirmed", `3 nodes failed:\nthe limit is 3`, "the limit is 3"}
	if !slices.Equal(reasons, want) {
		t.Errorf("reasons %q, want %q", reasons, want)
	}
	if first := got[0]; first.Text != "choria_provision#restart of 3 nodes begins (run 20261126-100958-b723c)" || !first.Time.Equal(time.Date(2026, 11, 26, 9, 12, 40, 0, time.UTC)) {
		t.Errorf("%+v", first)
	}
	last := got[len(got)-1]
	if *last.ExitCode != 40+int(batch.Stopped) || last.Verdict != "stopped" || !strings.Contains(last.Text, "has ended: Stopped: 3 planned of 3 nodes; the limit is 3") {
		t.Errorf("%+v", last)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(env); !strings.HasPrefix(text, "FLEETCTL_EVENT=begin FLEETCTL_RUN=20261126-100958-b723c KEPT=1 FLEETCTL_EVENT=pause") || strings.Contains(text, "INNOCENT") ||
		strings.Count(text, "FLEETCTL_EXIT_CODE") != 1 || !strings.Contains(text, "FLEETCTL_EVENT=end FLEETCTL_EXIT_CODE="+strconv.Itoa(*last.ExitCode)+" ") {
		t.Errorf("environment %s", text)
	}
	texts, err := os.ReadFile(filepath.Join(dir, "texts"))
	if err != nil {
		t.Fatal(err)
	}
	if list := strings.Split(strings.TrimSpace(string(texts)), "\n"); !slices.EqualFunc(list, got, func(text string, n Notice) bool { return text == n.Text }) {
		t.Errorf("texts\n%s", texts)
	}
}

// A run continues when nothing holds it any more; after a stop it neither pauses nor continues.
func TestARunContinuesWhenNothingHoldsItAnyMore(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "events")
	s := newListened(t, "cat >> "+out, nil)
	s.begin()
	down, up := batch.Record{Kind: batch.KindLink, Reason: "lost"}, batch.Record{Kind: batch.KindLink, Up: true, Reason: "back"}
	s.record(batch.Record{Kind: batch.KindPaused, By: "anna"})
	s.record(down)
	s.record(batch.Record{Kind: batch.KindContinued, By: "ben"})
	s.record(up)
	s.record(down)
	s.record(batch.Record{Kind: batch.KindStopped, Stop: &batch.Stop{Kind: batch.StopRule, Reason: "enough"}})
	s.record(up)
	s.record(down)
	s.record(up)
	s.end(batch.Stopped, "enough")
	var got []string
	for _, n := range notices(t, out) {
		got = append(got, strings.TrimSpace(n.Event+" "+n.Reason))
	}
	want := []string{"begin", "pause paused by anna", "pause lost", "continue back", "pause lost", "stop enough", "end enough"}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestTheTextOfANoticeIsBounded(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "events")
	s := newListened(t, "cat >> "+out, nil)
	s.begin()
	s.record(batch.Record{Kind: batch.KindPaused, By: strings.Repeat("ü", 5000)})
	s.end(batch.Done, "")
	if text := notices(t, out)[1].Text; utf8.RuneCountInString(text) != maxText+len("...") || !strings.HasSuffix(text, "üü...") {
		t.Errorf("text %q", text)
	}
}

func TestAResumedRunBeginsAgain(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "events")
	s := newListened(t, "cat >> "+out, nil)
	s.report(run.Prepared{Changes: true}, run.Began{Progress: s.from})
	s.record(batch.Record{Kind: batch.KindResumed})
	s.end(batch.Done, "")
	if got := notices(t, out); eventsOf(got) != "begin end" || got[0].Reason != "resumed" || got[1].Reason != "" {
		t.Errorf("%+v", got)
	}
}

func TestSomeRunsAreNotForTheCommand(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name              string
		empty, changing   bool // no command; only runs that change something
		changes, finished bool // the action changes something; nothing begins
		want              bool
	}{
		{name: "by the flag", want: true}, {name: "no command", empty: true, changes: true},
		{name: "by the settings, and it changes something", changing: true, changes: true, want: true},
		{name: "by the settings, and it changes nothing", changing: true}, {name: "nothing to resume", finished: true},
	} {
		out := filepath.Join(t.TempDir(), "events")
		command := "cat >> " + out
		if tt.empty {
			command = ""
		}
		s := newListened(t, command, func(o *NotifierOptions) { o.Changing = tt.changing })
		s.report(run.Prepared{Changes: tt.changes})
		if !tt.finished {
			s.report(run.Began{Progress: s.from})
			s.record(batch.Record{Kind: batch.KindPlan})
		}
		s.end(batch.Done, "")
		if _, err := os.Stat(out); (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
		if len(s.heard.warnings()) > 0 {
			t.Errorf("%s: %q", tt.name, s.heard.warnings())
		}
	}
}

// The run goes on while the command does nothing; a note lists the events that it missed.
func TestTheCommandNeverHoldsUpTheRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	if err := exec.Command("mkfifo", gate).Run(); err != nil {
		t.Fatal(err)
	}
	s := newListened(t, `cat >> "$DIR/events"; cat "$DIR/gate" > /dev/null`, func(o *NotifierOptions) { o.Env = append(o.Env, "DIR="+dir) })
	s.begin()
	open, err := os.OpenFile(gate, os.O_WRONLY, 0) // waits until the command has heard of the beginning
	if err != nil {
		t.Fatal(err)
	}
	for range maxNotices + 7 {
		s.record(batch.Record{Kind: batch.KindPaused, By: "anna"})
	}
	if got := notices(t, filepath.Join(dir, "events")); eventsOf(got) != "begin" {
		t.Fatalf("events %s", eventsOf(got))
	}
	if err := errors.Join(os.Remove(gate), os.WriteFile(gate, nil, 0o600), open.Close()); err != nil { // from now on it does not wait
		t.Fatal(err)
	}
	s.end(batch.Done, "")
	if all := notices(t, filepath.Join(dir, "events")); all[len(all)-1].Event != noticeEnd {
		t.Errorf("the last event is %s", all[len(all)-1].Event)
	}
	got, missed := len(notices(t, filepath.Join(dir, "events"))), 0
	w := s.heard.warnings()
	if _, err := fmt.Sscanf(w[len(w)-1], "the command of --on-event is too slow: it missed %d of this run's events", &missed); err != nil || missed < 7 {
		t.Errorf("warnings %q", w)
	}
	// A killed command may have handled the event or not; that is a warning of its own.
	if lost := 1 + maxNotices + 7 + 1 - got - missed; got < 2 || lost < 0 || lost > len(w)-1 {
		t.Errorf("told of %d events, and not of %d: %q", got, missed, w)
	}
}

func TestACommandThatFailsIsAWarning(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ command, want string }{
		{`echo one; printf 'no channel s3cret\033[2J' >&2; exit 7`, `failed at the event begin: exit status 7: no channel [redacted]\x1b[2J`},
		{"/no/such/program", "failed at the event begin: exit status 127: "},
		{"kill -9 $$", "failed at the event begin: signal: killed"},
	} {
		s := newListened(t, tt.command, nil)
		s.begin()
		s.end(batch.Done, "")
		w := s.heard.warnings()
		if len(w) != 2 || !strings.Contains(w[0], tt.want) || !strings.Contains(w[1], "at the event end") || strings.Contains(strings.Join(w, ""), "\n") {
			t.Errorf("%s: %q", tt.command, w)
		}
	}
}

// After the end of the run nothing waits for a command that hangs. The end is reported anyway.
func TestTheEndWaitsFiveSecondsForTheCommand(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	out := filepath.Join(t.TempDir(), "events")
	s := newListened(t, "cat >> "+out+"; exec sleep 1000", nil)
	s.notifier.Close()
	s.notifier = NewNotifier(ctx, &s.heard, s.notifier.o)
	s.begin()
	s.record(batch.Record{Kind: batch.KindPaused, By: "anna"})
	cancel() // an interrupt of the run does not end the command
	start := time.Now()
	s.end(batch.Interrupted, "")
	if took := time.Since(start); took < lastTimeout-100*time.Millisecond || took > lastTimeout+10*time.Second {
		t.Errorf("took %v, want %v", took, lastTimeout)
	}
	want := []string{"failed at the event begin: the run has ended, and it has not", "failed at the event end: the run has ended, and it has not", "it missed 1 of this run's events"}
	w := s.heard.warnings()
	if !slices.EqualFunc(w, want, strings.Contains) {
		t.Errorf("warnings %q, want %q", w, want)
	}
	if got := eventsOf(notices(t, out)); got != "begin end" {
		t.Errorf("events %s", got)
	}
}
