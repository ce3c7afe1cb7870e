package run

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
)

// rollingRestart is a restart in a window of so many nodes.
func rollingRestart(window int) Request {
	r := restart()
	r.Policy = batch.Policy{Rolling: true, Sizes: batch.Sizes{batch.Number(window)}, Canary: batch.CanaryOff}
	return r
}

func TestAWindowIsPlannedWithBothEstimates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4", "n5")
		r := rollingRestart(2)
		r.DryRun = true
		if _, err := w.start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		p := one[Planned](t, w.events)
		if !p.Plan.Rolls() || len(p.Plan.Pool) != 5 || len(p.Plan.Batches) != 0 {
			t.Errorf("planned %+v", p.Plan)
		}
		if p.Modes.Barrier.Typical == 0 || p.Estimate != p.Modes.Rolling || p.Modes.Rolling.Typical >= p.Modes.Barrier.Typical {
			t.Errorf("it takes %+v of %+v", p.Estimate, p.Modes)
		}
		if !slices.Contains(p.Guards, "stops when a window full of nodes in a row has no success") {
			t.Errorf("guards %q", p.Guards)
		}
		if len(w.sent()) != 0 {
			t.Errorf("nodes got %q", w.sent())
		}
	})
}

// A node that was silent in the earlier process keeps its slot in the resume, which refuses what is about batches.
func TestAWindowIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4")
		w.nodes["n1"].silent = true
		ctx, cancel := context.WithCancelCause(t.Context())
		var silentAt time.Time
		w.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindReplies {
				silentAt = time.Now()
				cancel(errSignal)
			}
		}
		res, err := w.start(ctx, rollingRestart(1))
		w.events.hook = nil
		if err != nil || res.Summary.Verdict != batch.Interrupted || !res.Summary.Rolling || len(w.sent()) != 1 {
			t.Fatalf("%v, %v, nodes got %q", res.Summary.Verdict, err, w.sent())
		}
		s := w.last()
		c, each := w.again(t, Request{Pace: Pace{ConfirmEach: Wish{On: true, Set: true}}}, s)
		_, err = Resume(t.Context(), c, each, s)
		if _, ok := errors.AsType[*fleet.UsageError](err); !ok || !strings.Contains(err.Error(), "--confirm-each is about batches") {
			t.Errorf("a resume that asks in between: %v", err)
		}
		c, r := w.again(t, Request{}, s)
		var next time.Time
		w.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindIntent && next.IsZero() {
				next = time.Now()
			}
		}
		res, err = Resume(t.Context(), c, r, s)
		w.events.hook = nil
		if err != nil || res.Summary.States.Of(batch.Verified) != 3 || res.Summary.States.Of(batch.NoReply) != 1 {
			t.Errorf("%v, %v", res.Summary.States, err)
		}
		hold := s.Progress.Pace().SilentHold
		if longest := s.Progress.Pace().LongestDelay; hold <= longest || next.Sub(silentAt) < hold-s.Progress.Pace().ReplyTimeout {
			t.Errorf("the next node started %v after the silence was known: a slot is kept for %v", next.Sub(silentAt), hold)
		}
		if !slices.ContainsFunc(w.events.seen, func(e Event) bool {
			r, ok := e.(Recorded)
			return ok && r.Record.Kind == batch.KindSlots && strings.HasPrefix(r.Record.Reason, "1 slot waits for silent nodes")
		}) {
			t.Errorf("no record of the slot: %q", w.events.names())
		}
	})
}

// A retry in a window asks for the facts that the earlier plan did not need.
func TestARetryInAWindowAsksForItsFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		for name, rack := range map[string]string{"n1": `"a"`, "n2": `"a"`, "n3": `"b"`} {
			w.nodes[name].code, w.nodes[name].says = 1, "no"
			w.nodes[name].facts = map[string]string{"rack": rack}
		}
		if _, err := w.start(t.Context(), restart()); err != nil {
			t.Fatal(err)
		}
		for _, n := range w.nodes {
			n.code, n.says = 0, ""
		}
		s := w.last()
		given := Request{Policy: rollingRestart(3).Policy}
		given.Policy.MaxPer = []batch.MaxPer{{Fact: "rack", N: 1}}
		c, r := w.again(t, given, s)
		<-time.After(time.Second) // ids are in seconds
		res, err := Retry(t.Context(), c, r, s, []batch.State{batch.Refused})
		if err != nil || res.Summary.Verdict != batch.Done || !res.Summary.Rolling {
			t.Fatalf("%v, %v", res.Summary.Verdict, err)
		}
		if got := res.Summary.Batches[0].Nodes; got != 2 {
			t.Errorf("%d nodes start at once: there are two racks, with one node of each at a time", got)
		}
	})
}

// A retry without flags of its own splits its nodes as the run did: it must not send to a whole rack at once.
func TestARetryKeepsTheSplitOfItsRun(t *testing.T) {
	perRack := func(n int) []batch.MaxPer { return []batch.MaxPer{{Fact: "rack", N: n}} }
	sizes := batch.Sizes{batch.Number(3)}
	recorded := batch.Policy{Rolling: true, Sizes: sizes, Canary: batch.CanaryOff, SpreadBy: "rack", MaxPer: perRack(1)}
	for _, tt := range []struct {
		name    string
		given   batch.Policy
		typed   []string
		maxDown lease.Limits
		want    batch.Policy
	}{
		{"nothing is given", batch.Policy{}, nil, nil, recorded},
		{"batches", batch.Policy{Sizes: batch.Sizes{batch.Number(1)}}, nil, nil, batch.Policy{Sizes: batch.Sizes{batch.Number(1)}, SpreadBy: "rack", MaxPer: perRack(1)}},
		{"the mode", batch.Policy{}, []string{"--mode", "barrier"}, nil, batch.Policy{SpreadBy: "rack", MaxPer: perRack(1)}},
		{"another cap", batch.Policy{MaxPer: perRack(2)}, nil, nil, batch.Policy{Rolling: true, Sizes: sizes, Canary: batch.CanaryOff, SpreadBy: "rack", MaxPer: perRack(2)}},
		{"a canary", batch.Policy{Canary: 2}, nil, nil, batch.Policy{Rolling: true, Sizes: sizes, Canary: 2, SpreadBy: "rack", MaxPer: perRack(1)}},
		{"a cap of the budget", batch.Policy{}, nil, lease.Limits{"rack": 1}, batch.Policy{Rolling: true, Sizes: sizes, Canary: batch.CanaryOff, SpreadBy: "rack"}},
	} {
		plan, err := batch.NewPlan([]batch.Node{{Identity: "n1", Facts: map[string]string{"rack": "a"}}}, recorded)
		if err != nil {
			t.Fatal(err)
		}
		progress, err := batch.Begin(batch.Header{}, plan)
		if err != nil {
			t.Fatal(err)
		}
		r := Request{Policy: tt.given, Typed: Typed{Flags: tt.typed}}
		r.keepSplit(Stored{Progress: progress, Meta: Meta{MaxDown: tt.maxDown}})
		if !reflect.DeepEqual(r.Policy, tt.want) {
			t.Errorf("%s: %+v", tt.name, r.Policy)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		for name, rack := range map[string]string{"n1": `"a"`, "n2": `"a"`, "n3": `"b"`} {
			w.nodes[name].facts = map[string]string{"rack": rack}
		}
		reply := func(code choria.StatusCode, says string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, n := range w.nodes {
				n.code, n.says = code, says
			}
		}
		w.events.hook = func(e Event) {
			if _, ok := e.(Recorded); ok { // the facts are known by then
				reply(1, "no")
			}
		}
		first := rollingRestart(3)
		first.Policy.MaxPer, first.Policy.Canary = perRack(1), batch.CanaryOff
		if _, err := w.start(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		w.events.hook = nil
		reply(0, "")
		s := w.last()
		c, r := w.again(t, Request{}, s)
		<-time.After(time.Second) // ids are in seconds
		res, err := Retry(t.Context(), c, r, s, []batch.State{batch.Refused, batch.NotSent})
		if err != nil || res.Summary.Verdict != batch.Done || !res.Summary.Rolling {
			t.Fatalf("%v, %v", res.Summary.Verdict, err)
		}
		if got := res.Summary.Batches[0].Nodes; got != 2 {
			t.Errorf("%d nodes start at once: the run had one node of each rack at a time", got)
		}
	})
}

// A run in batches is retried in a window. What was recorded about batches is left out; what is typed about them is refused.
func TestARunInBatchesIsRetriedInAWindow(t *testing.T) {
	window := batch.Policy{Rolling: true, Sizes: batch.Sizes{batch.Number(2)}, Canary: batch.CanaryOff}
	for _, about := range []func(*Request){
		func(r *Request) { r.Rules.MaxFailedBatch = batch.Number(2) },
		func(r *Request) { r.Rules.MaxNoReplyBatch = batch.Number(2) },
		func(r *Request) { r.Pace.ConfirmEach = Wish{On: true, Set: true} },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3")
			w.asker.away, w.asker.answers = nil, []string{"y", "y", "y"}
			for _, n := range w.nodes {
				n.code = 1
			}
			r := restart()
			about(&r)
			if _, err := w.start(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			s := w.last()
			typed := Request{Policy: window}
			about(&typed)
			if _, err := typed.Reopen(s); err == nil || !strings.Contains(err.Error(), "is about batches") {
				t.Errorf("typed: %v", err)
			}
			again, err := Request{Policy: window}.Reopen(s)
			if err != nil {
				t.Fatalf("recorded: %v", err)
			}
			again.DryRun = true
			if _, err := Retry(t.Context(), w.context(), again, s, []batch.State{batch.Refused, batch.NotSent}); err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(one[Planned](t, w.events).Plan.Notes, "\n"); !strings.Contains(notes, "not taken over from run "+s.ID) {
				t.Errorf("notes %q", notes)
			}
		})
	}
}
