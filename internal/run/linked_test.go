package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
)

// retry retries a run over the nodes in some states, and returns the new run's record.
func (w *world) retry(id string, which ...batch.State) Stored {
	w.t.Helper()
	if _, err := w.tryRetry(w.t.Context(), id, which...); err != nil {
		w.t.Fatal(err)
	}
	return w.last()
}

func (w *world) tryRetry(ctx context.Context, id string, which ...batch.State) (Result, error) {
	w.t.Helper()
	<-time.After(time.Second) // ids are in seconds
	s, err := w.store().Read(id)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := slowly(Request{Inputs: map[string]string{"token": "s3cret"}, Guards: Guards{Yes: true}}).Reopen(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return Retry(ctx, w.context(), r, s, which)
}

func (w *world) tryResume(id string) error {
	w.t.Helper()
	s, err := w.store().Read(id)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := Request{Inputs: map[string]string{"token": "s3cret"}, Guards: Guards{Yes: true}, Pace: Pace{Sleep: Wait{0, true}}}.Reopen(s)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = Resume(w.t.Context(), w.context(), r, s)
	return err
}

// nodesSent are the nodes that got a request, in the order of the requests.
func (w *world) nodesSent() string {
	var names []string
	for _, line := range w.sent() {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// cut returns a context that is interrupted when a run ends its first batch.
func (w *world) cut(t *testing.T) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	w.events.hook = func(e Event) {
		if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindBatchEnd {
			cancel(errSignal)
		}
	}
	return ctx
}

// A node gets one request of all linked runs, whatever is resumed and retried, in whatever order.
func TestLinkedRunsSendToANodeOnce(t *testing.T) {
	refusedBy := func(t *testing.T, other Stored, err error, hint string) {
		t.Helper()
		e, ok := errors.AsType[*GuardError](err)
		if !ok || e.Guard != linkedGuard || !strings.Contains(err.Error(), "run "+other.ID+", which is linked to it by a retry") {
			t.Errorf("got %v, want a refusal that names run %s", err, other.ID)
		} else if !strings.Contains(e.Hint, hint+" "+other.ID) {
			t.Errorf("the hint is %q, want %q for run %s", e.Hint, hint, other.ID)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, w *world, first Stored)
		sent string
	}{
		{"retried twice", func(t *testing.T, w *world, first Stored) {
			second := w.retry(first.ID, batch.NotSent)
			_, err := w.tryRetry(t.Context(), first.ID, batch.NotSent)
			refusedBy(t, second, err, "fleetctl runs show")
			refusedBy(t, second, w.tryResume(first.ID), "fleetctl runs show")
		}, "n1 n2 n3"},
		{"a retry that was interrupted", func(t *testing.T, w *world, first Stored) {
			if _, err := w.tryRetry(w.cut(t), first.ID, batch.NotSent); err != nil {
				t.Fatal(err)
			}
			w.events.hook = nil
			second := w.last()
			_, err := w.tryRetry(t.Context(), first.ID, batch.NotSent)
			refusedBy(t, second, err, "fleetctl runs resume")
			if err := w.tryResume(second.ID); err != nil {
				t.Error(err)
			}
		}, "n1 n2 n3"},
		{"a retry of a retry", func(t *testing.T, w *world, first Stored) {
			if _, err := w.tryRetry(w.cut(t), first.ID, batch.NotSent); err != nil {
				t.Fatal(err)
			}
			w.events.hook = nil
			second := w.last()
			third := w.retry(second.ID, batch.NotSent)
			_, err := w.tryRetry(t.Context(), second.ID, batch.NotSent)
			refusedBy(t, third, err, "fleetctl runs show")
			refusedBy(t, third, w.tryResume(second.ID), "fleetctl runs show")
			_, err = w.tryRetry(t.Context(), first.ID, batch.NotSent)
			refusedBy(t, third, err, "fleetctl runs show")
		}, "n1 n2 n3"},
		{"a retry that is in progress", func(t *testing.T, w *world, first Stored) {
			w.nodes["n2"].down, w.nodes["n3"].down = true, true // it sends to none
			second := w.retry(first.ID, batch.NotSent)
			if left := w.retry(first.ID, batch.NotSent); left.Progress.Counts().Of(batch.Absent) != 2 {
				t.Error("a retry that sent nothing does not end the next one")
			}
			w.nodes["n2"].down, w.nodes["n3"].down = false, false
			if _, err := w.tryRetry(w.cut(t), second.ID, batch.Absent); err != nil {
				t.Fatal(err)
			}
			w.events.hook = nil
			third := w.last()
			file, _, err := w.store().take(third.ID)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			_, err = w.tryRetry(t.Context(), first.ID, batch.NotSent)
			refusedBy(t, third, err, "fleetctl runs watch")
		}, "n1 n2"},
		{"the first run was resumed after the retry", func(t *testing.T, w *world, first Stored) {
			ctx, cancel := context.WithCancelCause(t.Context())
			w.events.hook = func(e Event) { // it ends before it sends anything
				if _, ok := e.(Began); ok {
					cancel(errSignal)
				}
			}
			if _, err := w.tryRetry(ctx, first.ID, batch.NotSent); err != nil {
				t.Fatal(err)
			}
			w.events.hook = nil
			second := w.last()
			if got := w.nodesSent(); got != "n1" {
				t.Fatalf("nodes %s got requests", got)
			}
			if err := w.tryResume(first.ID); err != nil {
				t.Fatal(err)
			}
			refusedBy(t, first, w.tryResume(second.ID), "fleetctl runs show")
			_, err := w.tryRetry(t.Context(), second.ID, batch.NotSent)
			refusedBy(t, first, err, "fleetctl runs show")
		}, "n1 n2 n3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1", "n2", "n3")
				w.t = t
				tt.do(t, w, interrupted(t, w))
				if got := w.nodesSent(); got != tt.sent {
					t.Errorf("nodes %s got requests, want %s", got, tt.sent)
				}
			})
		})
	}
}

// What a run sent to nodes that the other run leaves alone refuses nothing.
func TestLinkedRunsOverOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		w.nodes["n1"].code = 1
		if _, err := w.start(t.Context(), slowly(restart())); err != nil {
			t.Fatal(err)
		}
		first := w.last()
		w.nodes["n1"].code = 0
		w.retry(first.ID, batch.Refused)
		if err := w.tryResume(first.ID); err != nil {
			t.Error(err)
		}
		if got := w.nodesSent(); got != "n1 n1 n2 n3" { // the first request was refused
			t.Errorf("nodes %s got requests", got)
		}
	})
}

// A silent node is looked at by each retry, and a retry that only looked at it does not refuse the next one.
func TestARetryThatOnlyLookedRefusesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		w.nodes["n1"].silent, w.nodes["n1"].stuck = true, true
		r := restart()
		if _, err := w.start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		first := w.last()
		if got := w.nodesSent(); got != "n1 n2" {
			t.Fatalf("nodes %s got requests", got)
		}
		w.nodes["n1"].frozen = true // nothing shows whether it was reached
		w.retry(first.ID, batch.NoReply)
		again := w.retry(first.ID, batch.NoReply)
		if got := again.Progress.Counts().Of(batch.Unknown); got != 1 || w.nodesSent() != "n1 n2" {
			t.Errorf("%d nodes are unknown, nodes %s got requests", got, w.nodesSent())
		}
		w.nodes["n1"].frozen, w.nodes["n1"].silent, w.nodes["n1"].stuck = false, false, false
		third := w.retry(first.ID, batch.NoReply)
		if got := w.nodesSent(); got != "n1 n2 n1" {
			t.Errorf("nodes %s got requests", got)
		}
		if _, err := w.tryRetry(t.Context(), again.ID, batch.Unknown); err == nil || !strings.Contains(err.Error(), "run "+third.ID+", which is linked") {
			t.Errorf("a retry of another retry: %v", err)
		}
	})
}

// Two processes that retry the same run at the same moment do not both pass.
func TestTwoRetriesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		w.t = t
		first := interrupted(t, w)
		var inside []error
		w.events.hook = func(e Event) {
			if _, began := e.(Began); !began { // its plan is not recorded yet
				return
			}
			w.events.hook = nil
			_, retry := w.tryRetry(t.Context(), first.ID, batch.NotSent)
			inside = append(inside, retry, w.tryResume(first.ID))
			w.events.hook = func(e Event) {
				if r, ok := e.(Recorded); ok && r.Record.Kind == batch.KindPlan {
					w.events.hook = nil
					_, retry := w.tryRetry(t.Context(), first.ID, batch.NotSent)
					inside = append(inside, retry)
				}
			}
		}
		second := w.retry(first.ID, batch.NotSent)
		if len(inside) != 3 {
			t.Fatalf("%d attempts", len(inside))
		}
		for i, want := range []string{"another process is about to resume or retry a run", "another process is about to resume or retry a run", "which is linked to it"} {
			if e, ok := errors.AsType[*GuardError](inside[i]); !ok || !strings.Contains(inside[i].Error(), want) || e.Hint == "" {
				t.Errorf("attempt %d: %v", i, inside[i])
			}
		}
		if got := w.nodesSent(); got != "n1 n2 n3" || second.Progress.Header().Parent != first.ID {
			t.Errorf("nodes %s got requests", got)
		}
	})
}

// A linked record that cannot be read may have sent to any node.
func TestADamagedLinkedRecordRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		first := interrupted(t, w)
		second := w.retry(first.ID, batch.NotSent)
		damage(t, w, second.ID)
		_, err := w.tryRetry(t.Context(), first.ID, batch.NotSent)
		if e, ok := errors.AsType[*GuardError](err); !ok || e.Guard != linkedGuard || !strings.Contains(err.Error(), second.ID) {
			t.Errorf("got %v", err)
		}
		if got := w.nodesSent(); !slices.Equal(strings.Fields(got), []string{"n1", "n2", "n3"}) {
			t.Errorf("nodes %s got requests", got)
		}
	})
}

// damage changes a byte in the last line of a record.
func damage(t *testing.T, w *world, id string) {
	t.Helper()
	path := filepath.Join(w.dir, id+".journal")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-20] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
