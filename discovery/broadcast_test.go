package discovery

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/filter"

	"github.com/google/go-cmp/cmp"
)

// answer is a reply of the simulated network, so long after the request.
type answer struct {
	after  time.Duration
	sender string
	err    error
}

// network answers one broadcast and remembers what was asked.
type network struct {
	answers []answer // ordered by time
	ended   bool     // stop after the last answer, without waiting for the window
	late    error    // yielded when the context has ended
	sent    []choria.Filter
	windows []choria.Window
	where   string
}

func (n *network) Broadcast(ctx context.Context, collective string, f choria.Filter, w choria.Window) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		n.sent, n.windows, n.where = append(n.sent, f), append(n.windows, w), collective
		start := time.Now()
		over := time.After(w.Timeout)
		for _, a := range n.answers {
			select {
			case <-ctx.Done():
				if n.late != nil {
					yield("", n.late)
				}
				return
			case <-over:
				return
			case <-time.After(a.after - time.Since(start)):
			}
			if !yield(a.sender, a.err) {
				return
			}
		}
		if n.ended {
			return
		}
		select {
		case <-ctx.Done():
		case <-over:
		}
	}
}

const ms = time.Millisecond

func TestBroadcastHandsTheWindowOn(t *testing.T) {
	for _, tt := range []struct {
		query Query
		want  choria.Window
	}{
		{Query{Timeout: 2 * time.Second}, choria.Window{Timeout: 2 * time.Second}},
		{Query{Timeout: 3 * time.Second, Window: true}, choria.Window{Timeout: 3 * time.Second, Quiet: 300 * ms}},
	} {
		query, want := tt.query, tt.want
		synctest.Test(t, func(t *testing.T) {
			n := &network{answers: []answer{{after: 50 * ms, sender: "b"}, {after: 60 * ms, sender: "a10"}, {after: 70 * ms, sender: "b"}, {after: 1990 * ms, sender: "a9"}}}
			query.Collective = "mco"
			got, err := Broadcast(t.Context(), n, query)
			if err != nil || strings.Join(got.Nodes, " ") != "a9 a10 b" || got.Took != query.Timeout || got.Method != "broadcast" {
				t.Errorf("Broadcast = %+v, %v", got, err)
			}
			if len(n.windows) != 1 || n.windows[0] != want || n.where != "mco" {
				t.Errorf("asked %q for %v, want one request with %v", n.where, n.windows, want)
			}
		})
	}
}

func TestBroadcastDropsStrangeNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{ended: true, answers: []answer{{sender: "a"}, {sender: ""}, {sender: "b.*"}, {sender: "x y"}, {sender: "a"}, {sender: "ü"}}}
		got, err := Broadcast(t.Context(), n, Query{Timeout: time.Second})
		if err != nil || strings.Join(got.Nodes, " ") != "a ü" || got.Strange != 3 || got.Took != 0 {
			t.Errorf("Broadcast = %+v, %v", got, err)
		}
	})
}

func TestBroadcastReportsWhyItEnded(t *testing.T) {
	interrupted, lost := errors.New("interrupt"), errors.New("connection lost")
	t.Run("interrupt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(500*ms, func() { cancel(interrupted) })
			n := &network{answers: []answer{{after: 100 * ms, sender: "a"}, {after: 900 * ms, sender: "b"}}}
			got, err := Broadcast(ctx, n, Query{Timeout: time.Second})
			if !errors.Is(err, interrupted) || strings.Join(got.Nodes, " ") != "a" || got.Took != 500*ms {
				t.Errorf("Broadcast = %+v, %v", got, err)
			}
		})
	})
	t.Run("interrupt that the iterator reports", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(500*ms, func() { cancel(interrupted) })
			n := &network{late: context.Canceled, answers: []answer{{after: 900 * ms, sender: "b"}}}
			if _, err := Broadcast(ctx, n, Query{Timeout: time.Second}); !errors.Is(err, interrupted) {
				t.Errorf("error %v, want the cause", err)
			}
		})
	})
	t.Run("network", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := &network{answers: []answer{{after: 100 * ms, sender: "a"}, {after: 200 * ms, err: lost}}}
			got, err := Broadcast(t.Context(), n, Query{Timeout: time.Second, Collective: "mco"})
			if !errors.Is(err, lost) || !strings.Contains(err.Error(), "mco") || strings.Join(got.Nodes, " ") != "a" {
				t.Errorf("Broadcast = %+v, %v", got, err)
			}
		})
	})
	t.Run("no timeout", func(t *testing.T) {
		n := &network{}
		if _, err := Broadcast(t.Context(), n, Query{}); err == nil || len(n.sent) > 0 {
			t.Errorf("error %v after %d requests, want a refusal before any", err, len(n.sent))
		}
	})
}

func TestExactNamesSendNoRequest(t *testing.T) {
	n := &network{}
	got, err := Broadcast(t.Context(), n, Query{Agent: "rpcutil", Filter: filter.Filter{Identities: []string{"b", "a10", "a9", "b"}, Agents: []string{"x"}}})
	if d := cmp.Diff(Result{Nodes: []string{"a9", "a10", "b"}, Method: "identities"}, got); err != nil || d != "" || len(n.sent) > 0 {
		t.Errorf("%v, %d requests, -want +got:\n%s", err, len(n.sent), d)
	}
	if got, err := Broadcast(t.Context(), n, Query{Filter: filter.Filter{Identities: []string{"a.>"}}}); err == nil {
		t.Errorf("a wildcard is a node: %+v", got)
	}
	synctest.Test(t, func(t *testing.T) {
		n := &network{ended: true}
		if _, err := Broadcast(t.Context(), n, Query{Timeout: time.Second, Filter: filter.Filter{Identities: []string{"/a/"}}}); err != nil || len(n.sent) != 1 {
			t.Errorf("a regex: %v, %d requests, want one", err, len(n.sent))
		}
	})
}

func TestWireFilter(t *testing.T) {
	f := filter.Filter{
		Facts:   []filter.Fact{{Name: "a", Operator: "==", Value: "1"}, {Name: "a", Operator: "==", Value: "1"}},
		Classes: []string{"c", "c", "d"}, Agents: []string{"puppet"}, Identities: []string{"/x/"}, Compound: []string{"true", "false"},
	}
	got := WireFilter(f, "rpcutil")
	want := choria.Filter{
		Fact:  []choria.FactFilter{{Fact: "a", Operator: "==", Value: "1"}, {Fact: "a", Operator: "==", Value: "1"}},
		Class: []string{"c", "d"}, Agent: []string{"puppet", "rpcutil"}, Identity: []string{"/x/"},
		Compound: [][]choria.CompoundFilter{{{Expr: "true"}}, {{Expr: "false"}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := WireFilter(f, "puppet").Agent; len(got) != 1 {
		t.Errorf("the agent was added twice: %q", got)
	}
	empty := WireFilter(filter.Filter{}, "")
	if len(empty.Fact)+len(empty.Class)+len(empty.Agent)+len(empty.Identity)+len(empty.Compound) > 0 || empty.Fact == nil || empty.Class == nil || empty.Agent == nil || empty.Identity == nil || empty.Compound == nil {
		t.Errorf("the empty filter is %#v: nil lists would be null on the wire", empty)
	}
}
