package report

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/filter"
	"fleetctl/internal/proof"
	"fleetctl/internal/run"
	"fleetctl/rpcclient"
)

// told is what the writer made of the story on its streams.
func told(t *testing.T, o Options, set func(s *story)) (out, errs string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		set(s)
		if err := s.tell(s.writer(o)); err != nil {
			t.Error(err)
		}
		out, errs = s.out.String(), s.err.String()
	})
	return out, errs
}

const verdictText = "Failed: 2 accepted, 1 refused, 1 no-reply of 4 nodes"

// Every format over the same run: a and d do it, b refuses, c is silent.
func TestEveryFormatTellsTheSameRun(t *testing.T) {
	wants := map[Format][]string{ // pieces of stdout, in their order
		Text:        {"a  ", "Timestamp: 1", "1 node: not today", "b", "Finished processing 3 / 4 hosts", "No Responses from: 1", "c ", verdictText},
		JSON:        {`"agent": "rpcutil"`, `"sender": "a"`, `"pong": 1`, `"responses": 3`, `"exit_code": 4`, `"verdict": "failed"`, `"identity": "c"`, `"state": "no-reply"`},
		Lines:       {`{"k":"discovery"`, `"mc"`, `"count":4`, `{"k":"result"`, `{"k":"batch","batch":{"batch":1`, `{"k":"node","node":{"identity":"a"`, `{"k":"stats"`, `{"k":"run"`},
		Table:       {"Sender", "a", "d"},
		CSV:         {"Sender,Timestamp\n", "a,1\n", "d,2\n"},
		Senders:     {"a\nd\n"},
		Nodeset:     {"a,d\n"},
		JUnit:       {`tests="4" failures="1" errors="1" skipped="0"`, `<testcase name="a"`, `type="refused"`, `type="no-reply"`},
		Markdown:    {"# rpcutil#ping", verdictText, "| 1 | refused |", "- **1: refused: not today** – b", "- **1: no-reply** – c", "| batch 1 | 2 |", "| batch 2 | 2 |"},
		HTML:        {"<h1>rpcutil#ping</h1>", verdictText, "#reason=not%20today&amp;state=refused", `"rows":[["a",1,0,`, `["b",1,1,"not today",`},
		SendersJSON: {`"a"`, `"d"`},
	}
	for f := Text; f < formats; f++ {
		out, errs := told(t, Options{Format: f}, func(*story) {})
		rest := out
		for _, piece := range wants[f] {
			_, after, found := strings.Cut(rest, piece)
			if !found {
				t.Errorf("%s lacks %q, in its order:\n%s", f, piece, out)
				break
			}
			rest = after
		}
		if len(wants[f]) == 0 {
			t.Errorf("%s is not tested", f)
		}
		// The verdict is on stderr where stdout is for programs.
		if said := strings.Contains(errs, verdictText); said == (f == Text) {
			t.Errorf("%s: stderr is %q", f, errs)
		}
		if searched := strings.Contains(errs, "Discovering nodes using the mc method .... 4\n"); searched != (f == Text || f == Table) {
			t.Errorf("%s: stderr is %q", f, errs)
		}
	}
}

func TestLinesAreJSONAndInTheOrderOfEvents(t *testing.T) {
	out, _ := told(t, Options{Format: Lines}, func(*story) {})
	var kinds []string
	for line := range strings.Lines(out) {
		var l struct{ K string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("%v: %q", err, line)
		}
		kinds = append(kinds, l.K)
	}
	want := strings.Fields("run discovery discovery result result batch result batch node node node node summaries stats run")
	if !slices.Equal(kinds, want) {
		t.Errorf("got  %q\nwant %q", kinds, want)
	}
}

// What is proved counts: an accepted node did not yet do it.
func TestOnlyWhatIsProvedSucceeded(t *testing.T) {
	for state, want := range map[batch.State][2]bool{batch.Accepted: {true, false}, batch.Verified: {true, true}, batch.Unverified: {}, batch.Refused: {}, batch.NotSent: {}} {
		n := batch.Result{State: state}
		if got := [2]bool{succeeded(n, false), succeeded(n, true)}; got != want {
			t.Errorf("%s: believed and proved %v, want %v", state, got, want)
		}
	}
	out, _ := told(t, Options{Format: Nodeset}, func(s *story) { s.proves = proof.Restart })
	if strings.Contains(out, "a") {
		t.Errorf("accepted nodes are named where something is proved: %q", out)
	}
}

// Filtered replies are not shown, and count anyway.
func TestFilteredRepliesCountInTheVerdict(t *testing.T) {
	expr := func(text string) *filter.ReplyExpr {
		e, err := filter.CompileReply(text)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	out, errs := told(t, Options{Format: Senders, Filter: expr(`ok() && sender() == "d"`)}, func(*story) {})
	if out != "d\n" || !strings.Contains(errs, verdictText) {
		t.Errorf("stdout %q, stderr %q", out, errs)
	}
	if out, _ := told(t, Options{Format: Nodeset, Filter: expr(`sender() == "d"`)}, func(*story) {}); out != "d\n" {
		t.Errorf("the node set is %q", out)
	}
	out, errs = told(t, Options{Format: Senders, Filter: expr(`data("absent") > 1`)}, func(*story) {})
	if out != "" || !strings.Contains(errs, "warning: --filter-replies could not be evaluated for 3 replies, which are hidden: a: ") {
		t.Errorf("stdout %q, stderr %q", out, errs)
	}
}

// Aggregates are those of the replies that are shown.
func TestAggregatesFollowTheFilter(t *testing.T) {
	expr, err := filter.CompileReply(`data("value") == "mt"`)
	if err != nil {
		t.Fatal(err)
	}
	for f, want := range map[*filter.ReplyExpr]string{nil: `"agg":{"value":{"de":1,"mt":1}}`, expr: `"agg":{"value":{"mt":1}}`} {
		out, _ := told(t, Options{Format: Lines, Filter: f}, func(s *story) {
			s.action, s.batches = "get_fact", [][]string{{"a", "d"}}
			for name, value := range map[string]string{"a": "mt", "d": "de"} {
				r := s.replies[name]
				r.Data = json.RawMessage(`{"fact":"country","value":"` + value + `"}`)
				s.replies[name] = r
			}
		})
		if !strings.Contains(out, want) {
			t.Errorf("filtered %t: no %s in\n%s", f != nil, want, out)
		}
	}
}

func TestDisplayAndSort(t *testing.T) {
	backwards := func(s *story) { s.batches = [][]string{{"d", "b", "a"}} }
	for display, want := range map[string]string{"": "adb", "ok": "ad", "failed": "b", "all": "abd", "none": ""} {
		out, _ := told(t, Options{Format: Text, Display: display, Sort: true}, backwards)
		var got strings.Builder
		for line := range strings.Lines(out) {
			if name, _, ok := strings.Cut(strings.TrimSpace(line), " "); (ok || len(name) == 1) && strings.Contains("abd", name) && len(name) == 1 {
				got.WriteString(name)
			}
		}
		if got.String() != want {
			t.Errorf("display %q shows %q, want %q:\n%s", display, got.String(), want, out)
		}
	}
	if out, _ := told(t, Options{Format: Senders}, backwards); out != "d\na\n" {
		t.Errorf("unsorted: %q", out)
	}
	if out, _ := told(t, Options{Format: Senders, Sort: true}, backwards); out != "a\nd\n" {
		t.Errorf("sorted: %q", out)
	}
}

// A file takes its place when the result is complete, and not otherwise.
func TestAFileIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "result")
	file := func() *File {
		f, err := CreateFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	out, errs := told(t, Options{Format: Senders, File: file()}, func(*story) {})
	if data, err := os.ReadFile(path); err != nil || string(data) != "a\nd\n" || out != "" || !strings.Contains(errs, verdictText) {
		t.Errorf("%q, %v, stdout %q, stderr %q", data, err, out, errs)
	}
	s := newStory(t)
	w := s.writer(Options{Format: JSON, File: file()})
	if err := w.End(nil); !errors.Is(err, errIncomplete) {
		t.Errorf("a result that is not complete: %v", err)
	}
	w = s.writer(Options{Format: JSON, File: file()})
	broken := errors.New("broken")
	if err := w.End(broken); !errors.Is(err, broken) {
		t.Errorf("a run that failed: %v", err)
	}
	w = s.writer(Options{Format: JSON, File: file()})
	s.prepare(w)
	s.report(w, run.Forwarded{Request: "r1"})
	if err := w.End(nil); err != nil {
		t.Error(err)
	}
	if data, _ := os.ReadFile(path); string(data) != "r1\n" {
		t.Errorf("forwarded: %q", data)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left over: %v", list)
	}
	if _, err := CreateFile(filepath.Join(dir, "no", "folder")); err == nil {
		t.Error("a file in no folder")
	}
	if f, err := CreateFile("/dev/null"); err == nil {
		if f.kept() || f.Commit(nil) != nil {
			t.Error("a device is no file to keep")
		}
	}
}

// lost is a stream whose reader has gone.
type lost struct{}

func (lost) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// A result that cannot be written does not hide the state of the nodes.
func TestALostResultStillHasItsVerdict(t *testing.T) {
	for f := Text; f < formats; f++ {
		synctest.Test(t, func(t *testing.T) {
			s := newStory(t)
			s.named("20260101-000000-aaaaa")
			err := s.tell(s.writer(Options{Format: f, Out: Stream{Writer: lost{}}}))
			if err == nil || strings.Count(err.Error(), "write the result: ") != 1 || !strings.HasSuffix(err.Error(), "broken pipe") {
				t.Errorf("%s: %v", f, err)
			}
			if errs := s.err.String(); !strings.Contains(errs, verdictText) || !strings.Contains(errs, "runs retry 20260101-000000-aaaaa ") ||
				!strings.Contains(errs, "hint: the record has the result of every node: fleetctl runs report 20260101-000000-aaaaa\n") {
				t.Errorf("%s: stderr is %q", f, errs)
			}
			early := "warning: the result cannot be written (broken pipe): run 20260101-000000-aaaaa continues without a reader\n"
			if at := strings.Index(s.err.String(), early); (at >= 0) != (f == Lines) || at > strings.Index(s.err.String(), verdictText) {
				t.Errorf("%s: the warning is at %d of %q", f, at, s.err.String())
			}
		})
	}
}

func TestAnErrorIsALine(t *testing.T) {
	for f, want := range map[Format]string{Lines: `{"k":"error","err":"no way"}` + "\n", JSON: "", Text: ""} {
		s := newStory(t)
		if err := s.writer(Options{Format: f}).End(errors.New("no way")); err == nil || s.out.String() != want {
			t.Errorf("%s: %v, stdout %q", f, err, s.out.String())
		}
	}
}

// A service has one reply and no run: no node was chosen.
func TestAServicesReply(t *testing.T) {
	for f, want := range map[Format]string{Senders: "svc\n", Nodeset: "svc\n", Lines: `{"k":"result"`, JSON: `"sender": "svc"`, Text: "svc", JUnit: `tests="1" failures="0"`} {
		for _, code := range []int{0, 1} {
			s := newStory(t)
			w := s.writer(Options{Format: f, Display: "all"})
			s.prepare(w)
			r := rpcclient.Reply{Node: "svc", Message: "OK", Data: json.RawMessage(`{"pong":1}`), Received: time.Now()}
			if code > 0 {
				r.Code, r.Message = 1, "no"
			}
			s.report(w, run.Answered{Reply: r, Start: time.Now()})
			if err := w.End(nil); err != nil {
				t.Error(err)
			}
			if got := strings.Contains(s.out.String(), want); got != (code == 0 || f == Lines || f == JSON || f == Text) {
				t.Errorf("%s, status %d: %q", f, code, s.out.String())
			}
			if f == Lines && strings.Contains(s.out.String(), `"k":"run"`) {
				t.Errorf("a service has no run: %s", s.out.String())
			}
		}
	}
}
