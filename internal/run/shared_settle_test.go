package run

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
)

// shutDown is a run of alice that has shut n1 down: it counts until it is settled.
func shutDown(t *testing.T, alice *operator) Result {
	t.Helper()
	r := restart()
	r.Action, r.Guards.Yes = "shutdown", true
	r.Shared.MaxDown, r.Shared.BudgetWait = lease.Limits{lease.All: 1}, Wait{time.Second, true}
	res, err := Start(t.Context(), alice.context(), r)
	if err != nil || states(res.Summary)[batch.Verified] != 1 {
		t.Fatal(res.Summary.Verdict, states(res.Summary), err)
	}
	return res
}

// reads is the only shared run, as it is read for settling.
func (o *operator) reads(t *testing.T) Stored {
	t.Helper()
	s, err := find(t, o.world).Dead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A node that a run of another machine has shut down is settled, or forgotten, by its shared record.
func TestARunOfAnotherMachineIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		ops := operators(t, w, "alice", "bob")
		bob, b := ops[1], w.shared.(*bucket)
		res := shutDown(t, ops[0])
		if _, err := Settle(t.Context(), bob.context(), bob.reads(t)); err != nil {
			t.Fatal(err)
		}
		if n := counted(t, b, res.ID)[lease.All]; n != 1 {
			t.Fatalf("%d nodes count as down, and one does not answer", n)
		}
		w.nodes["n1"].down = false
		<-time.After(10 * time.Minute) // nothing that it sent can act: there is nothing to wait for
		began := time.Now()
		got, err := Settle(t.Context(), bob.context(), bob.reads(t))
		if err != nil || !slices.Equal(got.Answered, []string{"n1"}) || counted(t, b, res.ID) != nil {
			t.Errorf("settled %+v, %v; %v count", got, err, counted(t, b, res.ID))
		}
		if waited := time.Since(began); waited > 10*time.Second {
			t.Errorf("it waited %s", waited)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		ops := operators(t, w, "alice", "bob")
		res := shutDown(t, ops[0])
		gone, err := Forget(t.Context(), ops[1].context(), ops[1].reads(t), []string{"n1"}, "retired")
		if err != nil || !slices.Equal(gone, []string{"n1"}) || counted(t, w.shared.(*bucket), res.ID) != nil {
			t.Errorf("forgot %q, %v", gone, err)
		}
	})
}

// By the shared record alone, nodes are looked at when nothing that the driver sent can act any more.
func TestARunOfAnotherMachineIsSettledWhenNothingCanAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		ops := operators(t, w, "alice", "bob")
		alice, bob := ops[0], ops[1]
		var sent time.Time
		alice.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindSent {
				sent = time.Now()
			}
		}
		r := sharedRestart()
		r.Shared.MaxDown, r.Shared.BudgetWait = lease.Limits{lease.All: 1}, Wait{time.Second, true}
		r.Proof.Timeout, r.Pace.ReplyTimeout = Wait{time.Second, true}, Wait{time.Second, true}
		w.nodes["n1"].silent = true // it may act later
		ctx, dies := context.WithCancel(t.Context())
		alice.leaves = func(string) {
			alice.away = true
			time.AfterFunc(5*time.Second, dies)
		}
		res, err := Start(ctx, alice.context(), r)
		if err != nil || res.Summary.Verdict != batch.Interrupted || sent.IsZero() {
			t.Fatal(res.Summary.Verdict, res.Summary.Reason, err)
		}
		<-time.After(time.Until(sent.Add(lockLife + 5*time.Second))) // its lock has expired just now
		s := bob.reads(t)
		life := s.Meta.TTL + 11*time.Second + clockMargin
		began, wait := time.Now(), life+lockLife-s.shared.Found.Age // the driver may have sent until its lock expired
		if wait < 30*time.Second {
			t.Fatalf("the driver was last heard of %s ago: there is nothing to wait for", s.shared.Found.Age)
		}
		got, err := Settle(t.Context(), bob.context(), s)
		if waited := time.Since(began); waited < wait || waited > wait+5*time.Second {
			t.Errorf("it waited %s, want %s", waited, wait)
		}
		if err != nil || !slices.Equal(got.Answered, []string{"n1"}) || counted(t, w.shared.(*bucket), res.ID) != nil {
			t.Errorf("settled %+v, %v", got, err)
		}
		if after := time.Since(sent); after < life {
			t.Errorf("its nodes were looked at %s after the request, want %s at least", after, life)
		}
	})
}

// A driver that lives takes its nodes off itself.
func TestALivingRunOfAnotherMachineIsNotSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		ops := operators(t, w, "alice", "bob")
		var meanwhile error
		ops[0].events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindSent && meanwhile == nil {
				_, meanwhile = Settle(t.Context(), ops[1].context(), ops[1].reads(t))
			}
		}
		shutDown(t, ops[0])
		if text := refusal(t, meanwhile); !strings.Contains(text, "is held by up=alice on desk of alice") {
			t.Error(text)
		}
	})
}

// The record of the first machine lacks what the adopter has done: its nodes would leave the budget unseen.
func TestAnAdoptedRunIsNotSettledByItsFirstRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4")
		ops := operators(t, w, "alice", "bob")
		alice, bob, b := ops[0], ops[1], w.shared.(*bucket)
		dying(t, alice)
		w.nodes["n4"].stuck = true // bob's run does not prove it
		if _, err := bob.adopts(t, func(r *Request) { r.Shared.MaxDown = lease.Limits{lease.All: 2} }); err != nil {
			t.Fatal(err)
		}
		s := alice.stored(t)
		if n := counted(t, b, s.ID)[lease.All]; n != 1 {
			t.Fatalf("%d nodes count as down", n)
		}
		_, err := Settle(t.Context(), alice.context(), s)
		if text := refusal(t, err); !strings.Contains(text, "the run was adopted by up=bob on desk of bob") {
			t.Error("settle:", text)
		}
		_, err = Forget(t.Context(), alice.context(), s, []string{"n2"}, "x")
		if text := refusal(t, err); !strings.Contains(text, "the run was adopted by up=bob") || counted(t, b, s.ID)[lease.All] != 1 {
			t.Error("forget:", text)
		}
		_, err = Forget(t.Context(), alice.context(), alice.reads(t), []string{"n9"}, "x")
		if e, ok := errors.AsType[*fleet.UsageError](err); !ok || e.Hint != "see `fleetctl runs show "+s.ID+" --shared`" {
			t.Errorf("forget a node that is not down: %#v", err)
		}
		got, err := Settle(t.Context(), alice.context(), alice.reads(t))
		if err != nil || !slices.Equal(got.Answered, []string{"n4"}) || counted(t, b, s.ID) != nil {
			t.Errorf("by the shared record: %+v, %v", got, err)
		}
	})
}

// The lock of a process that was killed outlives it by a minute: settle waits for it. A lock that is renewed has a process,
// and so has one of another machine, as far as is known here.
func TestSettleWaitsForTheLockOfAProcessThatHasEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		host   string
		renew  bool
		refuse bool
	}{
		"its process has ended":    {"desk of alice", false, false},
		"a process here renews it": {"desk of alice", true, true},
		"it is of another machine": {"desk of bob", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1", "n2")
				alice := operators(t, w, "alice")[0]
				res := shutDown(t, alice)
				w.nodes["n1"].down = false
				<-time.After(10 * time.Minute)
				lock, err := lease.Take(t.Context(), w.bucket, runLock+res.ID, lease.Holder{Run: res.ID, Caller: "up=alice", Host: tt.host, Nonce: "n"}, 30*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.renew {
					go lock.Keep(ctx)
				}
				began := time.Now()
				got, err := Settle(t.Context(), alice.context(), alice.stored(t))
				switch waited := time.Since(began); {
				case tt.refuse:
					if text := refusal(t, err); !strings.Contains(text, "is held by up=alice on "+tt.host) || waited > 15*time.Second {
						t.Errorf("after %s: %s", waited, text)
					}
				case err != nil || !slices.Equal(got.Answered, []string{"n1"}):
					t.Errorf("settled %+v, %v", got, err)
				case waited < 50*time.Second || waited > lockLife+10*time.Second:
					t.Errorf("it waited %s", waited)
				}
			})
		})
	}
}

// A shared record that brokers have lost a part of cannot be settled: nodes that only the lost part has down would leave the
// budget. Its nodes are forgotten by name, on the machine of the run and on others.
func TestTheBudgetForgetsNodesOfADamagedRecord(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2")
			ops := operators(t, w, "alice", "bob")
			alice, bob, b := ops[0], ops[1], w.shared.(*bucket)
			res := shutDown(t, alice)
			var last string
			b.set(func(b *bucket) {
				for key := range b.keys {
					if strings.HasPrefix(key, "run."+res.ID+".j.") {
						last = max(last, key)
					}
				}
				first := b.keys["run."+res.ID+".j.1"]
				if e, ok := b.keys[last]; !ok || last == "run."+res.ID+".j.1" {
					t.Fatalf("the record has one segment: %q", last)
				} else {
					e.Value = first.Value // another process's
					b.keys[last] = e
				}
				e := b.keys["run."+res.ID]
				var head lease.Head // as it was before it counted a segment
				if err := json.Unmarshal(e.Value, &head); err != nil {
					t.Fatal(err)
				}
				head.Segments, head.Bytes, head.Digest = 0, 0, ""
				e.Value, _ = json.Marshal(head)
				b.keys["run."+res.ID] = e
			})
			by, s := alice, alice.stored(t)
			if shared {
				by = bob
				if _, err := find(t, bob.world).Dead(t.Context()); !errors.Is(err, lease.ErrDamaged) {
					t.Fatal("read:", err)
				}
				var err error
				if s, err = find(t, bob.world).Known(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else if _, err := Settle(t.Context(), by.context(), s); !errors.Is(err, lease.ErrDamaged) {
				t.Error("settled:", err)
			} else if e, ok := errors.AsType[*SharedError](err); !ok || !strings.Contains(e.Hint, "runs forget RUN NODES") {
				t.Errorf("%v lacks a way out", err)
			}
			if n := counted(t, b, res.ID)[lease.All]; n != 1 {
				t.Errorf("%d nodes count as down, want 1", n)
			}
			gone, err := Forget(t.Context(), by.context(), s, []string{"n1"}, "I started it")
			if err != nil || !slices.Equal(gone, []string{"n1"}) || counted(t, b, res.ID) != nil {
				t.Errorf("shared %t: forgot %q, %v", shared, gone, err)
			}
		})
	}
}
