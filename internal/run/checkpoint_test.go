package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
)

// A request to a service passes the same checkpoint, and a dry run of one sends nothing.
func TestAServiceStandsBehindTheDoor(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(w *world, r *Request)
		want string // of the error; "" passes
		sent int
	}{
		{"nothing", func(*world, *Request) {}, "", 1},
		{"elsewhere", func(_ *world, r *Request) { r.ReplyTo, r.Record.Off = "site.x", true }, "", 1},
		{"read_only", func(w *world, _ *Request) { w.settings.ReadOnly = true }, "only actions that change nothing", 0},
		{"read_only, elsewhere", func(w *world, r *Request) { w.settings.ReadOnly, r.ReplyTo, r.Record.Off = true, "site.x", true }, "only actions that change nothing", 0},
		{"secrets", func(w *world, _ *Request) { w.open = true }, "the connection has no TLS", 0},
		{"confirm", func(w *world, _ *Request) { w.settings.Confirm = true }, "without asking", 0},
		{"no filter is possible", func(w *world, _ *Request) { w.settings.RequireFilter, w.about.RequireFilter = true, true }, "", 1},
		{"a dry run", func(_ *world, r *Request) { r.DryRun = true }, "", 0},
		{"a refused dry run", func(w *world, r *Request) { w.settings.ReadOnly, r.DryRun = true, true }, "guard read_only would refuse: ", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.nodes["deployer"] = &server{}
				r := Request{Agent: "deployer", Action: "deploy", Inputs: map[string]string{"token": "s3cret"}}
				tt.set(w, &r)
				_, err := w.start(t.Context(), r)
				if _, refused := errors.AsType[*GuardError](err); (tt.want != "") != refused || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v", err)
				}
				if len(w.sent()) != tt.sent {
					t.Errorf("sent %q", w.sent())
				}
			})
		})
	}
}

// overtakes lets another process resume a run while the operator is asked, and answers y.
func (w *world) overtakes(t *testing.T, id string) {
	w.asker.away, w.asker.answers = nil, []string{"y"}
	w.events.hook = func(e Event) {
		if _, asked := e.(Proposed); asked {
			file, _, err := w.store().take(id)
			if err != nil {
				t.Error(err)
			} else if err := file.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// The record is not held while the operator is asked: a resume of another process meanwhile is a refusal.
func TestAResumeThatAnotherProcessOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		s := interrupted(t, w)
		c, r := w.again(t, Request{}, s)
		w.overtakes(t, s.ID)
		_, err := Resume(t.Context(), c, r, s)
		if e, ok := errors.AsType[*GuardError](err); !ok || !strings.Contains(e.Error(), "another process has resumed it meanwhile") || len(w.sent()) != 1 {
			t.Errorf("%v, nodes got %q", err, w.sent())
		}
	})
}

// A retry plans nodes that a resume may send to while the operator is asked.
func TestARetryThatAResumeOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		s := interrupted(t, w)
		c, r := w.again(t, Request{}, s)
		w.overtakes(t, s.ID)
		_, err := Retry(t.Context(), c, r, s, []batch.State{batch.Planned, batch.NotSent})
		if e, ok := errors.AsType[*GuardError](err); !ok || !strings.Contains(e.Error(), "cannot retry run") || len(w.sent()) != 1 {
			t.Errorf("%v; sent %q", err, w.sent())
		}
	})
}

// The record of another user is refused by a dry run as by a resume.
func TestARecordOfAnotherUserIsNotResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		s := interrupted(t, w)
		c, r := w.again(t, Request{}, s)
		w.machine.UID++
		before := contents(t, w.dir)
		for _, dry := range []bool{true, false} {
			r.DryRun = dry
			_, err := Resume(t.Context(), c, r, s)
			if _, ok := errors.AsType[*GuardError](err); !ok || !strings.Contains(err.Error(), "it belongs to another user") || len(w.sent()) != 1 {
				t.Errorf("dry run %t: %v", dry, err)
			}
		}
		if now := contents(t, w.dir); len(now) != 1 || now[s.ID+".journal"] != before[s.ID+".journal"] {
			t.Errorf("the records are now %q", now)
		}
	})
}

// What a random limit chose can be chosen again: the record's command has the seed, and the plan says so.
func TestTheSeedOfARandomLimitIsKept(t *testing.T) {
	for _, tt := range []struct {
		drawn, typed int64
		want         []string // the end of the command
	}{
		{0, 0, []string{"--limit", "2"}}, {4711, 0, []string{"--limit", "2", "--limit-seed", "4711"}}, {7, 7, []string{"--limit", "2", "--limit-seed", "7"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2")
			w.seed = tt.drawn
			r := restart()
			r.Targets.Limit, r.Targets.LimitSeed = "2", tt.typed
			if _, err := w.start(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			s := w.last()
			if got := s.Meta.Command; !slices.Equal(got[len(got)-len(tt.want):], tt.want) {
				t.Errorf("drawn %d: the command is %q", tt.drawn, got)
			}
			noted := strings.Contains(strings.Join(s.Progress.Plan().Notes, "|"), "--limit-seed 4711 makes the same choice")
			if noted != (tt.drawn == 4711) {
				t.Errorf("drawn %d: the plan notes %q", tt.drawn, s.Progress.Plan().Notes)
			}
			if again := r; tt.drawn == 4711 {
				w.seed, again.Targets.LimitSeed = 0, 0
				if mark := (entry{&call{Context: w.context(), req: again, about: w.about, inputs: inputs{plain: map[string]string{}}}}).mark(); mark != s.Meta.Mark {
					t.Error("the same command has another mark")
				}
			}
		})
	}
}

// TestTheLogFollowsARun looks for what the log of a run must hold: guards, requests, replies, the engine's records, and
// every state of every node. No secret is in it.
func TestTheLogFollowsARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		w.nodes["n2"].code, w.nodes["n2"].says = 1, "not with s3cret"
		w.nodes["n3"].silent = true
		var log bytes.Buffer
		w.log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		r := restart()
		if _, err := w.start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), "s3cret") {
			t.Errorf("the log holds the token: %s", log.String())
		}
		var lines []map[string]any
		for line := range strings.Lines(log.String()) {
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fields)
		}
		for _, want := range []map[string]any{
			{"msg": "guard", "guard": "secrets", "verdict": "passed"},
			{"msg": "guard", "guard": "consent", "verdict": "passed"},
			{"msg": "request", "agent": "choria_provision", "action": "restart", "nodes": 3.0, "collective": "mcollective"},
			{"msg": "reply", "node": "n1", "code": 0.0}, {"msg": "reply", "node": "n2", "code": 1.0},
			{"msg": "record", "kind": "intent", "batch": 1.0, "run": w.last().ID, "sending": 3.0}, {"msg": "record", "kind": "run-end"},
			{"msg": "state", "node": "n1", "state": "sending"}, {"msg": "state", "node": "n1", "state": "accepted"},
			{"msg": "state", "node": "n1", "state": "verified"}, {"msg": "state", "node": "n2", "state": "refused", "batch": 1.0},
			{"msg": "state", "node": "n3", "state": "no-reply"},
		} {
			if !slices.ContainsFunc(lines, func(line map[string]any) bool { return holds(line, want) }) {
				t.Errorf("no line %v in %s", want, log.String())
			}
		}
		log.Reset()
		w.settings.ReadOnly = true
		if _, err := w.start(t.Context(), r); err == nil || !strings.Contains(log.String(), `"guard":"read_only","verdict":"refused"`) {
			t.Errorf("%v: %s", err, log.String())
		}
	})
}

func holds(line, want map[string]any) bool {
	for k, v := range want {
		if line[k] != v {
			return false
		}
	}
	return true
}

// A logger that wants nothing costs nothing: no attribute is made.
func TestNothingIsLoggedWhereNothingIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		var handler counting
		w.log = slog.New(&handler)
		if _, err := w.start(t.Context(), restart()); err != nil {
			t.Fatal(err)
		}
		if handler.handled+handler.attrs > 0 {
			t.Errorf("%d lines, %d groups of attributes", handler.handled, handler.attrs)
		}
	})
}

// counting is a handler that wants nothing.
type counting struct{ handled, attrs int }

func (*counting) Enabled(context.Context, slog.Level) bool    { return false }
func (h *counting) Handle(context.Context, slog.Record) error { h.handled++; return nil }
func (h *counting) WithAttrs([]slog.Attr) slog.Handler        { h.attrs++; return h }
func (h *counting) WithGroup(string) slog.Handler             { h.attrs++; return h }

// A delay that no server announces makes a reply malformed: it is counted, and is no answer.
func TestADelayBeyondTheBoundIsMalformed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		w.nodes["n1"].data = `{"message":"Restarting Choria Server after 2000h"}`
		r := restart()
		r.Proof.None = true
		res, err := w.start(t.Context(), r)
		if err != nil || states(res.Summary)[batch.NoReply] != 1 || states(res.Summary)[batch.Accepted] != 1 || res.Strays.Total() != 1 {
			t.Errorf("%v, %d strays, %v", states(res.Summary), res.Strays.Total(), err)
		}
		if names := res.Strays.Names(1); !slices.Equal(names, []string{"n1"}) {
			t.Errorf("malformed: %q", names)
		}
		<-time.After(time.Second)
	})
}

// The guard of secrets looks at the broker of each batch, not of the first one only: a token never leaves without TLS.
func TestSecretsAreGuardedAtEachBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		r := slowly(restart())
		w.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindBatchEnd {
				w.open = true // another broker, without TLS
			}
		}
		res, err := w.start(t.Context(), r)
		if err != nil || len(w.sent()) != 1 || states(res.Summary)[batch.NotSent] != 2 || !strings.Contains(res.Summary.Stop.Reason, "the connection has no TLS") {
			t.Errorf("%v of %v, %v, nodes got %q", res.Summary.Stop, states(res.Summary), err, w.sent())
		}
	})
}

// A resume keeps every rule and the whole pace of its run, except what is typed now.
func TestAResumeKeepsWhatIsNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		first := slowly(restart())
		first.Guards.Yes = true
		first.Pace.Deadline, first.Pace.ConfirmEach = Wait{time.Hour, true}, Wish{true, true}
		first.Rules = batch.Rules{
			MaxFailed: batch.Number(7), MaxNoReply: batch.Number(8), MaxAbsent: batch.Number(9), MaxFailedBatch: batch.Number(10), MaxNoReplyBatch: batch.Number(11),
		}
		s := interruptedOf(t, w, first)
		_, r := w.again(t, Request{}, s)
		if r.Rules != first.Rules || r.Pace.Deadline.D != time.Hour || !r.Pace.ConfirmEach.On || r.Pace.Sleep.D != 5*time.Minute {
			t.Errorf("kept %+v and %+v", r.Rules, r.Pace)
		}
		_, r = w.again(t, Request{Rules: batch.Rules{MaxFailed: batch.Number(1)}, Pace: Pace{Deadline: Wait{0, true}, ConfirmEach: Wish{false, true}}}, s)
		want := first.Rules
		want.MaxFailed = batch.Number(1)
		if r.Rules != want || r.Pace.Deadline.D != 0 || r.Pace.ConfirmEach.On {
			t.Errorf("replaced: %+v and %+v", r.Rules, r.Pace)
		}
	})
}
