package run

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/journal"
)

// makeRecords makes runs of these ids that have only begun, and closes them.
func makeRecords(t *testing.T, dir string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		j, err := journal.ThisMachine().Create(dir, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFindCompletesNames(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	if _, err := s.Find("last"); err == nil || !strings.Contains(err.Error(), `no run "last"`) {
		t.Errorf("last of none: %v", err)
	}
	makeRecords(t, s.Dir, "20260102-000000-bbbbb", "20260101-000000-aaaaa", "20260101-000000-aabbb", "20260101-000000-aab")
	written := time.Now().Add(time.Minute) // after all the others, though another one was begun later
	if err := os.Chtimes(filepath.Join(s.Dir, "20260101-000000-aabbb.journal"), written, written); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"last": "20260101-000000-aabbb", "20260102": "20260102-000000-bbbbb", "20260101-000000-aaa": "20260101-000000-aaaaa",
		"20260101-000000-aab": "20260101-000000-aab", // a whole id, though another one begins so
	} {
		if got, err := s.Find(name); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	many := Store{Dir: t.TempDir()}
	makeRecords(t, many.Dir, "20260103-000000-a", "20260103-000000-b", "20260103-000000-c", "20260103-000000-d", "20260103-000000-e", "20260103-000000-f")
	if _, err := many.Find("2"); err == nil || strings.Count(err.Error(), ", ") != 5 || !strings.HasSuffix(err.Error(), ", ...") {
		t.Errorf("the beginning of six names: %v", err)
	}
	for name, want := range map[string]string{
		"": "the name of the run is empty", "2027": `no run "2027"`, "../20260102": "no run", "20260101-000000-aa": `is the beginning of 3 runs: 20260101-000000-aabbb, 20260101-000000-aab, 20260101-000000-aaaaa`,
	} {
		_, err := s.Find(name)
		if _, ok := errors.AsType[*fleet.UsageError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	if _, err := s.Named("2027"); err == nil {
		t.Error("an unknown run was read")
	}
	if list, err := s.List(); err != nil || list[0].ID != "20260102-000000-bbbbb" || list[3].ID != "20260101-000000-aaaaa" {
		t.Errorf("the list is %v, %v", list, err)
	}
}

func TestARecordWithoutAPlanHasSentNothing(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	makeRecords(t, s.Dir, "20260101-000000-aaaaa")
	_, err := s.Named("last")
	if e, ok := errors.AsType[*GuardError](err); !ok || !errors.Is(err, batch.ErrNoPlan) || e.Hint != "type the command again" {
		t.Errorf("read: %v", err)
	}
	if _, _, err := s.take("20260101-000000-aaaaa"); !errors.Is(err, batch.ErrNoPlan) {
		t.Errorf("take: %v", err)
	}
	if _, _, err := s.take("20260101-000000-zzzzz"); err == nil || !strings.Contains(err.Error(), "no such run") {
		t.Errorf("take of none: %v", err)
	}
	if _, found := s.unfinished("mark"); found {
		t.Error("it is an unfinished run of a command")
	}
}

// The record holds all that a resume needs, and no secret.
func TestTheRecordDescribesTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		w.about.Federations, w.about.Collective = []string{"fed"}, "sub"
		r := restart()
		r.Inputs["splay"] = "1"
		r.Targets.Filter.Facts, r.Targets.Collective = []string{"a=b"}, "sub"
		r.Proof = Proof{Version: "0.29.4", Timeout: Wait{time.Minute, true}, Settle: Wait{time.Second, true}}
		r.Pace.TTL = Wait{40 * time.Second, true}
		if _, err := w.start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		s := w.last()
		want := Meta{
			Agent: "choria_provision", Action: "restart", Inputs: map[string]string{"splay": "1"}, Secrets: []string{"token"}, Collective: "sub",
			Federations: []string{"fed"}, Caller: "choria=rip.mcollective", Config: "client.conf", Proof: Proof{Version: "0.29.4"},
			Timeout: time.Minute, Settle: time.Second, SettleSet: true, TTL: 40 * time.Second, Mark: s.Meta.Mark, User: "operator", Host: "desk", Version: "1.2.3",
			Command: []string{"req", "choria_provision", "restart", "splay=1", "token=[redacted]", "-F", "a=b", "-T", "sub"},
		}
		if !reflect.DeepEqual(s.Meta, want) || s.Meta.Mark == "" {
			t.Errorf("got  %+v\nwant %+v", s.Meta, want)
		}
		if s.Live || s.Status() != "done" || !s.Proves() || s.ID != s.Progress.Header().Run {
			t.Errorf("live %t, status %s, proves %t, id %s", s.Live, s.Status(), s.Proves(), s.ID)
		}
		data, err := os.ReadFile(filepath.Join(w.dir, s.ID+".journal"))
		if err != nil || strings.Contains(string(data), "s3cret") || !strings.Contains(string(data), "n1") {
			t.Errorf("the file: %v, %s", err, data)
		}
	})
}

func TestAnActionThatChangesNothingIsRecordedOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		for on, want := range map[bool]int{false: 0, true: 1} {
			r := ping()
			r.Record.On = on
			if _, err := w.start(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if list, _ := w.store().List(); on && len(list) != want {
				t.Errorf("recorded %t: %d records", on, len(list))
			}
		}
		if s := w.last(); s.Proves() || s.Meta.Secrets != nil {
			t.Errorf("%+v", s.Meta)
		}
	})
}

// A run that cannot be recorded sends nothing.
func TestNothingIsSentWithoutARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		w.dir = filepath.Join(w.dir, "file")
		if err := os.WriteFile(w.dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := w.start(t.Context(), restart())
		if e, ok := errors.AsType[*RecordError](err); !ok || !strings.Contains(e.Hint, "--no-journal") || len(w.sent()) > 0 {
			t.Errorf("got %v", err)
		}
	})
}

// While a process holds the record, no other takes it.
func TestARunIsTakenByOneProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		if _, err := w.start(t.Context(), restart()); err != nil {
			t.Fatal(err)
		}
		id := w.last().ID
		file, from, err := w.store().take(id)
		if err != nil || from.Open() != 0 {
			t.Fatal(err)
		}
		if _, _, err := w.store().take(id); err == nil {
			t.Error("it was taken twice")
		} else if _, ok := errors.AsType[*GuardError](err); !ok {
			t.Errorf("the second time: %v", err)
		}
		live := w.last()
		if !live.Live || live.Status() != "running" || live.Owner.PID != os.Getpid() {
			t.Errorf("live %t, status %s, owner %+v", live.Live, live.Status(), live.Owner)
		}
		if _, err := (Request{}).Reopen(live); err == nil || !strings.Contains(err.Error(), "cannot take over run "+id) {
			t.Errorf("reopen: %v", err)
		}
		if run, found := w.store().unfinished(live.Meta.Mark); !found || run.ID != id {
			t.Errorf("a live run is unfinished: %v, %t", run.ID, found)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if run, found := w.store().unfinished(live.Meta.Mark); found {
			t.Errorf("run %s is finished", run.ID)
		}
	})
}

// The mark is of what is asked of whom, not of how it is shown, paced, guarded or kept secret.
func TestTheMarkIsThatOfTheCommand(t *testing.T) {
	mark := func(set func(w *world, r *Request)) string {
		w := newWorld(t)
		r := restart()
		r.Inputs["splay"] = "1"
		set(w, &r)
		c, err := prepare(t.Context(), w.context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return entry{c}.mark()
	}
	first := mark(func(*world, *Request) {})
	for name, set := range map[string]func(w *world, r *Request){
		"the token": func(_ *world, r *Request) { r.Inputs["token"] = "other" },
		"the pace":  func(_ *world, r *Request) { r.Pace.Sleep, r.Policy.Canary = Wait{0, true}, 1 },
		"guards":    func(_ *world, r *Request) { r.Guards.Yes, r.Guards.MaxNodes = true, Count{9, true} },
		"the proof": func(_ *world, r *Request) { r.Proof.None = true },
		"the user":  func(w *world, _ *Request) { w.token = "x" },
	} {
		if got := mark(set); got != first {
			t.Errorf("%s makes another command of it", name)
		}
	}
	seen := map[string]string{first: "nothing"}
	for name, set := range map[string]func(w *world, r *Request){
		"the action":        func(_ *world, r *Request) { r.Action = "shutdown"; delete(r.Inputs, "splay") },
		"an input":          func(_ *world, r *Request) { r.Inputs["splay"] = "2" },
		"a fact":            func(_ *world, r *Request) { r.Targets.Filter.Facts = []string{"a=b"} },
		"a name":            func(_ *world, r *Request) { r.Targets.Filter.Identities = []string{"a=b"} },
		"a file":            func(_ *world, r *Request) { r.Targets.NodesFile = "f" },
		"an exclusion":      func(_ *world, r *Request) { r.Targets.Exclude = []string{"n1"} },
		"a limit":           func(_ *world, r *Request) { r.Targets.Limit = "5" },
		"its seed":          func(_ *world, r *Request) { r.Targets.LimitSeed = 5 },
		"the method":        func(_ *world, r *Request) { r.Targets.Method = "puppetdb" },
		"its options":       func(_ *world, r *Request) { r.Targets.Do = []string{"a=b"} },
		"the collective":    func(w *world, _ *Request) { w.about.Collective = "sub" },
		"the configuration": func(w *world, _ *Request) { w.about.ConfigFile = "other.conf" },
		"the federation":    func(w *world, _ *Request) { w.about.Federations = []string{"fed"} },
	} {
		got := mark(set)
		if other, twice := seen[got]; twice || got == "" {
			t.Errorf("%s and %s have the same mark", name, other)
		}
		seen[got] = name
	}
}

func TestIDsSortByTimeAndAreNotShared(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	a, b := newID(at), newID(at)
	if a == b || !strings.HasPrefix(a, "20260102-020405-") || journal.CheckID(a) != nil {
		t.Errorf("got %s and %s", a, b)
	}
}

// The secrets are taken out of the recorded command by the agent's document, and by the name where it does not know it.
func TestTheRecordedCommandShowsNoSecret(t *testing.T) {
	w := newWorld(t)
	doc, err := w.Documents().Resolve(t.Context(), "choria_provision")
	if err != nil {
		t.Fatal(err)
	}
	action, _ := doc.Action("restart")
	typed := map[string]string{"token": "s3cret", "Token": "s3cret", "PASSWORD": "s3cret", "splay": "1", "other": "x"}
	inputs := []string{"PASSWORD=[redacted]", "Token=[redacted]", "other=x", "splay=1", "token=[redacted]"}
	r := Request{Agent: "choria_provision", Action: "restart", Targets: fleet.Targets{Limit: "5"}}
	for _, tt := range []struct {
		typed Typed
		want  []string
	}{
		{Typed{}, slices.Concat([]string{"req", "choria_provision", "restart"}, inputs, []string{"--limit", "5"})},
		{Typed{[]string{"rpc", "choria_provision", "restart"}, []string{"-T", "sub"}}, slices.Concat([]string{"rpc", "choria_provision", "restart"}, inputs, []string{"-T", "sub"})},
		{Typed{[]string{"runs", "retry", "last"}, nil}, slices.Concat([]string{"runs", "retry", "last"}, inputs)},
	} {
		r.Typed = tt.typed
		if got := r.command(action, typed); !slices.Equal(got, tt.want) {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}
