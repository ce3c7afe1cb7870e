package report

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/run"
	"fleetctl/rpcclient"
)

func TestWhatIsNotedGoesToStderr(t *testing.T) {
	s := newStory(t)
	w := s.writer(Options{Format: JSON})
	for _, e := range []run.Event{
		run.Noted{Level: run.Warning, Text: "w"}, run.Noted{Level: run.Hint, Text: "h"}, run.Noted{Level: run.Plain, Text: "p"},
	} {
		s.report(w, e)
	}
	want := "warning: w\nhint: h\np\n"
	if s.err.String() != want || s.out.Len() > 0 {
		t.Errorf("stderr %q, stdout %q", s.err.String(), s.out.String())
	}
}

// A hint must not be the first line that a new operator reads, nor stand between an error and its fix.
func TestHintOfATypedSecretComesAfterTheVerdict(t *testing.T) {
	const hint = "hint: token on a command line shows in process lists and histories; token=@FILE, token=- or token=env:NAME keep it out\n"
	typed := func(w *Writer, s *story) { s.report(w, run.SecretTyped{Key: "token"}) }
	s := newStory(t)
	w := s.writer(Options{Format: JSON})
	typed(w, s)
	s.report(w, run.Noted{Level: run.Plain, Text: "the verdict"})
	if err := w.End(nil); err != nil || s.err.String() != "the verdict\n"+hint {
		t.Errorf("error %v, stderr %q", err, s.err.String())
	}
	s = newStory(t)
	w = s.writer(Options{Format: JSON})
	typed(w, s)
	refused := errors.New("refused")
	if err := w.End(refused); err != refused || s.err.Len() > 0 {
		t.Errorf("after an error: %v, stderr %q", err, s.err.String())
	}
}

func TestStraysAndSignersAreNamed(t *testing.T) {
	_, errs := told(t, Options{Format: Senders}, func(s *story) {
		s.result.Strays.Add(rpcclient.Stranger, "x1")
		s.result.Strays.Add(rpcclient.Stranger, "x2")
		s.result.Strays.Add(rpcclient.BadHash, "y")
	})
	if !strings.Contains(errs, "warning: replies that were rejected: 1 ") || !strings.Contains(errs, "(x[1-2])") {
		t.Errorf("stderr is %q", errs)
	}
}

// The line of the search stays open only at a terminal that no other program writes to.
func TestTheSearchIsReported(t *testing.T) {
	const text = "Discovering nodes using the mc method .... "
	for _, tt := range []struct {
		name            string
		terminal, piped bool
		err             error
		want            string
	}{
		{"a terminal", true, false, nil, text + "|4\n"}, {"a pipe in", true, true, nil, "|" + text + "4\n"}, {"no terminal", false, false, nil, "|" + text + "4\n"},
		{"an error at a terminal", true, false, errSignal, text + "|\n"}, {"an error elsewhere", false, false, errSignal, "|"},
	} {
		s := newStory(t)
		w := s.writer(Options{Format: Text, Err: Stream{Terminal: tt.terminal}})
		s.report(w, run.Searching{Method: "mc", Piped: tt.piped})
		before := s.err.String()
		s.report(w, run.Found{Method: "mc", Nodes: 4, Err: tt.err})
		if got := before + "|" + strings.TrimPrefix(s.err.String(), before); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPlansAreProposedOnStderrAndPlannedOnStdout(t *testing.T) {
	plan, err := batch.NewPlan([]batch.Node{{Identity: "n1"}, {Identity: "n2"}}, batch.Policy{Sizes: batch.Sizes{batch.Number(1)}})
	if err != nil {
		t.Fatal(err)
	}
	p := run.Proposal{Agent: "choria_provision", Action: "restart", Plan: plan, Estimate: plan.Estimate(batch.Pace{}), Guards: []string{"at most 9 nodes"}}
	for f, want := range map[Format]string{Text: "2 nodes in 2 batches", JSON: `"action": "restart"`, Lines: `{"k":"plan"`} {
		s := newStory(t)
		w := s.writer(Options{Format: f})
		s.report(w, run.Proposed{Proposal: p})
		if !strings.Contains(s.err.String(), "at most 9 nodes") || s.out.Len() > 0 {
			t.Errorf("%s: proposed on stderr %q, stdout %q", f, s.err.String(), s.out.String())
		}
		s.err.Reset()
		s.report(w, run.Planned{Proposal: p})
		if !strings.Contains(s.out.String(), want) || !strings.Contains(s.out.String(), "at most 9 nodes") || s.err.Len() > 0 {
			t.Errorf("%s: planned on stdout %q, stderr %q", f, s.out.String(), s.err.String())
		}
		if err := w.End(nil); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// An interruption says what is waited for, and progress leaves the terminal's line free.
func TestAnInterruptionSaysWhatFlies(t *testing.T) {
	_, errs := told(t, Options{Format: Senders}, func(s *story) { s.stop = true })
	if !strings.Contains(errs, "interrupt signal received: nothing more is sent; replies that are waited for: 2 (a second signal ends the process at once)\n") {
		t.Errorf("stderr is %q", errs)
	}
}

// A loss while nodes were looked for was reported when it happened.
func TestTheConnectionIsReportedOnce(t *testing.T) {
	s := newStory(t)
	w := s.writer(Options{Format: Senders})
	began := time.Now()
	s.prepare(w)
	s.report(w, run.Began{Progress: progressOf(t), Links: began})
	defer w.live.End()
	for _, at := range []time.Duration{-time.Minute, time.Minute} {
		s.report(w, run.Recorded{Record: batch.Record{Kind: batch.KindLink, Time: began.Add(at), Reason: "lost at " + at.String()}, Progress: progressOf(t)})
	}
	if got := s.err.String(); strings.Contains(got, "lost at -1m0s") || !strings.Contains(got, "lost at 1m0s\n") {
		t.Errorf("stderr is %q", got)
	}
}

// TestTheWriterKnowsEveryEvent reads the types of internal/run that are events, and the writer's cases.
func TestTheWriterKnowsEveryEvent(t *testing.T) {
	fset := token.NewFileSet()
	parse := func(path string) *ast.File {
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	events := map[string]bool{}
	for _, decl := range parse(filepath.Join("..", "run", "events.go")).Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == "event" {
			events[f.Recv.List[0].Type.(*ast.Ident).Name] = true
		}
	}
	cases := map[string]bool{}
	for _, decl := range parse("writer.go").Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Name.Name != "Report" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if c, ok := n.(*ast.CaseClause); ok {
				for _, e := range c.List {
					if sel, ok := e.(*ast.SelectorExpr); ok {
						cases[sel.Sel.Name] = true
					}
				}
			}
			return true
		})
	}
	if len(events) < 13 || !maps.Equal(events, cases) {
		t.Errorf("events %q\ncases %q", slices.Sorted(maps.Keys(events)), slices.Sorted(maps.Keys(cases)))
	}
}

func TestUnknownNodesAreNoDeadEnd(t *testing.T) {
	s := newStory(t)
	r := run.Result{ID: "20260101-000000-aaaaa", Summary: batch.Summary{States: batch.CountsOf(map[batch.State]int{batch.Verified: 3, batch.Unknown: 1})}}
	s.writer(Options{Format: Senders}).live.printHint(r)
	if got := s.err.String(); !strings.HasPrefix(got, "hint: ") || !strings.Contains(got, "a new run that names them") {
		t.Errorf("stderr is %q", got)
	}
}

// The end names the record and the next command; what is to be given again is in it.
func TestTheNextCommandIsNamed(t *testing.T) {
	const id = "20260101-000000-aaaaa"
	for _, tt := range []struct {
		name string
		set  func(s *story)
		want string
	}{
		{"no record", func(*story) {}, ""},
		{"failed", func(s *story) { s.named(id) }, "hint: to try these nodes again: fleetctl runs retry " + id + " --failed --no-reply\n"},
		{"with secrets", func(s *story) { s.named(id, "token", "password") },
			"fleetctl runs retry " + id + " --failed --no-reply password=@FILE token=@FILE\n"},
		{"one that a retry cannot help", func(s *story) {
			s.named(id)
			b := s.replies["b"]
			b.Message = "came back unprovisioned: it is in provisioning mode"
			s.replies["b"] = b
		}, "hint: a retry cannot help 1 node that came back unprovisioned: see the provisioner and its token\nhint: to try these nodes again: fleetctl runs retry " + id + " --no-reply\n"},
		{"nothing that a retry can help", func(s *story) {
			s.named(id)
			s.batches = [][]string{{"a", "b"}}
			b := s.replies["b"]
			b.Message = "started again, but the expression does not hold: version 0.28.0"
			s.replies["b"] = b
		}, "hint: a retry sends nothing to 1 node that started again, and not as demanded: remove the cause, then name them in a new run\n"},
		{"a failed rollback in a run that is left open", func(s *story) {
			s.named(id)
			s.stop = true
			b := s.replies["b"]
			b.Message = "Update to version 2 failed, rollback also failed, server in broken state: rename"
			s.replies["b"] = b
		}, "hint: a retry cannot help 1 node without a program on the disk: repair the host before anything restarts it\nhint: to resume: fleetctl runs resume " + id + "\n"},
		{"all well", func(s *story) { s.named(id); s.batches = [][]string{{"a"}} }, ""},
		{"stopped by a rule", func(s *story) {
			s.named(id, "token")
			s.rules, s.batches = batch.Rules{MaxFailed: batch.Number(1)}, [][]string{{"a", "b", "c"}, {"d"}}
		}, "hint: to look at the nodes that stopped it: fleetctl runs show " + id + " --state refused,no-reply\n" +
			"hint: to continue without them: fleetctl runs resume " + id + " token=@FILE\n" +
			"hint: to try them again later: fleetctl runs retry " + id + " --failed --no-reply token=@FILE\n"},
		{"open", func(s *story) { s.named(id); s.stop = true }, "hint: to resume: fleetctl runs resume " + id + "\n"},
	} {
		_, errs := told(t, Options{Format: Senders}, tt.set)
		_, after, _ := strings.Cut(errs, " nodes")
		if !strings.HasSuffix(errs, tt.want) || tt.want == "" && strings.Contains(after, "hint") {
			t.Errorf("%s: stderr %q, want %q at its end", tt.name, errs, tt.want)
		}
	}
}
