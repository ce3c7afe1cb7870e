package run

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/rpcclient"
)

// TestEventsComeInOrder follows every way through a run.
func TestEventsComeInOrder(t *testing.T) {
	const checked, looked = "SecretTyped Prepared", "Searching Found"
	const oneBatch = "Began plan baseline intent sent outcomes replies proofs batch-end run-end Finished"
	tests := []struct {
		name   string
		set    func(w *world, r *Request)
		want   string
		dials  bool
		number int // of requests that nodes got
	}{
		{"a change", func(*world, *Request) {}, checked + " " + looked + " " + oneBatch, true, 2},
		{"at a terminal", func(w *world, _ *Request) { w.asker.away, w.asker.answers = nil, []string{"y"} },
			checked + " " + looked + " Proposed " + oneBatch, true, 2},
		{"without a record", func(_ *world, r *Request) { r.Record.Off = true }, checked + " " + looked + " Noted warning " + oneBatch, true, 2},
		{"a dry run", func(_ *world, r *Request) { r.DryRun = true }, checked + " " + looked + " Planned", true, 0}, // the broker is asked whether it reports absent nodes
		{"no node", func(w *world, _ *Request) { w.finds = nil }, checked + " " + looked, false, 0},
		{"replies elsewhere", func(_ *world, r *Request) { r.ReplyTo, r.Record.Off = "site.x", true }, checked + " " + looked + " Forwarded", true, 2},
		{"a question", func(_ *world, r *Request) { *r = ping() },
			"Prepared Searching Found Began plan intent sent outcomes replies batch-end run-end Finished", true, 0},
		{"a service", func(w *world, r *Request) {
			*r = Request{Agent: "choria_registry", Action: "names", Inputs: map[string]string{"plugin_type": "agent"}}
			w.nodes["choria_registry"] = &server{}
		}, "Prepared Answered", true, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1", "n2")
				r := restart()
				tt.set(w, &r)
				_, err := w.start(t.Context(), r)
				if none, ok := errors.AsType[*fleet.NoNodesError](err); err != nil && !(ok && tt.name == "no node" && none.Hint != "") {
					t.Fatal(err)
				}
				got := strings.Join(slices.Compact(w.events.names()), " ") // replies may come in several groups
				if got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if dialed := w.dials > 0; dialed != tt.dials {
					t.Errorf("dialed: %t", dialed)
				}
				if n := len(w.sent()); n != tt.number {
					t.Errorf("nodes got %q", w.sent())
				}
			})
		})
	}
}

// The values of the events are those of the run.
func TestEventsSayWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		w.nodes["n2"].code, w.nodes["n2"].says = 1, "no: s3cret"
		r := restart()
		r.Targets.NodesFile = "-"
		res, err := w.start(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if e := one[SecretTyped](t, w.events); e.Key != "token" {
			t.Errorf("%+v", e)
		}
		if e := one[Prepared](t, w.events); e.Agent != "choria_provision" || e.Action.Name != "restart" || e.Proves == 0 {
			t.Errorf("%+v", e)
		}
		if e := one[Searching](t, w.events); e.Method != "mc" || !e.Piped {
			t.Errorf("%+v", e)
		}
		if e := one[Found](t, w.events); e.Nodes != 2 || e.Took != time.Second || e.Err != nil {
			t.Errorf("%+v", e)
		}
		if e := one[Began](t, w.events); e.ID == "" || e.ID != res.ID || e.Progress.Batches() != 1 {
			t.Errorf("%+v, the result has the id %q", e, res.ID)
		}
		if e := one[Finished](t, w.events); e.ID != res.ID || e.Summary.Verdict != batch.Failed || e.Signal != nil || len(e.Next.Secrets) != 1 {
			t.Errorf("%+v", e)
		}
		replies := map[string]string{}
		for _, e := range w.events.seen {
			if e, ok := e.(Recorded); ok {
				for _, o := range e.Record.Outcomes {
					replies[o.Node] = o.Reply.(*rpcclient.Reply).Message
				}
			}
		}
		if len(replies) != 2 || replies["n1"] != "OK" || replies["n2"] != "no: [redacted]" {
			t.Errorf("the replies say %q", replies)
		}
		if w.outlived != 1 {
			t.Errorf("told %d times to outlive its pipes", w.outlived)
		}
		if n := result(t, w.last().Progress, "n2"); n.State != batch.Refused || n.Reason != "no: [redacted]" {
			t.Errorf("the record says %+v", n)
		}
	})
}

// An error of the reporter ends what has sent nothing; what has is gone through with, and the error is returned.
func TestErrorsOfReporting(t *testing.T) {
	full := errors.New("no space left")
	for _, tt := range []struct {
		event string
		dry   bool
		sent  int
	}{
		{event: "SecretTyped"}, {event: "Prepared"}, {event: "Searching"}, {event: "Found"}, {event: "Proposed"}, {event: "Began"},
		{event: "Planned", dry: true}, {event: "outcomes", sent: 1}, {event: "Finished", sent: 1},
	} {
		t.Run(tt.event, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1")
				w.asker.away, w.asker.answers = nil, []string{"y"}
				w.events.fail = func(Event) error {
					names := w.events.names()
					if names[len(names)-1] == tt.event {
						return full
					}
					return nil
				}
				r := restart()
				r.DryRun = tt.dry
				if _, err := w.start(t.Context(), r); !errors.Is(err, full) {
					t.Errorf("got %v", err)
				}
				if got := w.sent(); len(got) != tt.sent {
					t.Errorf("nodes got %q", got)
				}
			})
		})
	}
}

func TestWhatDiscoverySaysIsReportedAndReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.findErr = errAway
		_, err := w.start(t.Context(), restart())
		if e := one[Found](t, w.events); !errors.Is(err, errAway) || !errors.Is(e.Err, errAway) {
			t.Errorf("returned %v, reported %v", err, e.Err)
		}
	})
}

func TestAServiceThatIsSilentOrRefuses(t *testing.T) {
	names := Request{Agent: "choria_registry", Action: "names", Inputs: map[string]string{"plugin_type": "agent"}}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, err := w.start(t.Context(), names)
		if e, ok := errors.AsType[*NoServiceError](err); !ok || !errors.Is(e, rpcclient.ErrNoReply) || e.Hint == "" {
			t.Errorf("silence is %v", err)
		}
		w.nodes["choria_registry"] = &server{code: 1, says: "not today"}
		res, err := w.start(t.Context(), names)
		if err != nil || res.Summary.Verdict != batch.Failed {
			t.Errorf("a refusal is %v, %v", res.Summary.Verdict, err)
		}
		filtered := names
		filtered.Targets.Filter.Identities = []string{"n1"}
		if _, err := w.start(t.Context(), filtered); err == nil || !strings.Contains(err.Error(), "choria_registry is a service") {
			t.Errorf("with a filter: %v", err)
		}
	})
}
