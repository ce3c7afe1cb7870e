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
	answers []answer      // ordered by time
	ended   bool          // stop after the last answer, without waiting for the context
	late    error         // yielded when the context has ended
	signing time.Duration // until the request has left
	sent    []choria.Filter
	where   string
}

func (n *network) Broadcast(ctx context.Context, collective string, f choria.Filter, sent func()) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		n.sent, n.where = append(n.sent, f), collective
		select {
		case <-time.After(n.signing):
		case <-ctx.Done():
		}
		sent()
		start := time.Now()
		for _, a := range n.answers {
			select {
			case <-ctx.Done():
				if n.late != nil {
					yield("", n.late)
				}
				return
			case <-time.After(a.after - time.Since(start)):
			}
			if !yield(a.sender, a.err) {
				return
			}
		}
		if !n.ended {
			<-ctx.Done()
		}
	}
}

const ms = time.Millisecond

func TestBroadcastWaits(t *testing.T) {
	tests := []struct {
		name    string
		query   Query
		answers []answer
		want    string
		took    time.Duration
	}{
		{"for the whole timeout", Query{Timeout: 2 * time.Second}, []answer{{after: 50 * ms, sender: "b"}, {after: 60 * ms, sender: "a10"}, {after: 1990 * ms, sender: "a9"}}, "a9 a10 b", 2 * time.Second},
		{"and not longer", Query{Timeout: time.Second}, []answer{{after: 999 * ms, sender: "a"}, {after: 1001 * ms, sender: "b"}}, "a", time.Second},
		{"without any answer", Query{Timeout: time.Second}, nil, "", time.Second},
		{"window ends early", Query{Timeout: 2 * time.Second, Window: true}, []answer{{after: 50 * ms, sender: "a"}, {after: 340 * ms, sender: "b"}, {after: 700 * ms, sender: "c"}}, "a b", 640 * ms},
		{"first answer has the whole timeout", Query{Timeout: 2 * time.Second, Window: true}, []answer{{after: 1500 * ms, sender: "a"}}, "a", 1800 * ms},
		{"window without any answer", Query{Timeout: 2 * time.Second, Window: true}, nil, "", 2 * time.Second},
		{"window never beyond the timeout", Query{Timeout: time.Second, Window: true}, []answer{{after: 250 * ms, sender: "a"}, {after: 500 * ms, sender: "b"}, {after: 750 * ms, sender: "c"}, {after: 1100 * ms, sender: "d"}}, "a b c", time.Second},
		{"a repeated answer is not new", Query{Timeout: 2 * time.Second, Window: true}, []answer{{after: 100 * ms, sender: "a"}, {after: 300 * ms, sender: "a"}, {after: 450 * ms, sender: "b"}}, "a", 400 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{answers: tt.answers}
				tt.query.Collective = "mco"
				got, err := Broadcast(t.Context(), n, tt.query)
				if err != nil || strings.Join(got.Nodes, " ") != tt.want || got.Took != tt.took || got.Method != "broadcast" {
					t.Errorf("Broadcast = %+v, %v; want %q in %v", got, err, tt.want, tt.took)
				}
				if len(n.sent) != 1 || n.where != "mco" {
					t.Errorf("sent %d requests, to %q; want one to mco", len(n.sent), n.where)
				}
			})
		})
	}
}

func TestASlowSignerTakesNothingOfTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{signing: 5 * time.Second, answers: []answer{{after: 1900 * ms, sender: "late"}}}
		got, err := Broadcast(t.Context(), n, Query{Timeout: 2 * time.Second})
		if err != nil || strings.Join(got.Nodes, " ") != "late" || got.Took != 7*time.Second {
			t.Errorf("Broadcast = %+v, %v; want the node that answered 1.9 s after the request had left", got, err)
		}
	})
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
	t.Run("an iterator that reports the timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := &network{late: context.Canceled, answers: []answer{{after: 100 * ms, sender: "a"}, {after: 5 * time.Second, sender: "b"}}}
			got, err := Broadcast(t.Context(), n, Query{Timeout: time.Second})
			if err != nil || strings.Join(got.Nodes, " ") != "a" {
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

func TestExactNamesAskNobody(t *testing.T) {
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
	if !empty.Empty() || empty.Fact == nil || empty.Class == nil || empty.Agent == nil || empty.Identity == nil || empty.Compound == nil {
		t.Errorf("the empty filter is %#v: nil lists would be null on the wire", empty)
	}
}
