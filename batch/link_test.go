package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestElapsedTimeHasTwoReadings(t *testing.T) {
	now := time.Now()
	slept := now.Add(time.Minute).Round(0).Add(time.Hour) // the wall went on for an hour more
	if got := Longest(now, now.Add(time.Minute)); got != time.Minute {
		t.Errorf("longest of a minute is %v", got)
	}
	if got := Shortest(now.Round(0), slept); got != 61*time.Minute {
		t.Errorf("without a monotonic reading the wall decides, got %v", got)
	}
}

// settling is an Actor whose replies wait to be decoded.
type settling struct {
	*fleet
	late    []Outcome
	settled []time.Time
}

func (s *settling) Settle(ctx context.Context, at time.Time) error {
	s.settled = append(s.settled, at)
	for _, o := range s.late {
		<-time.After(time.Second) // it takes its time to be checked
		s.outcomes <- o
	}
	return nil
}

// A reply that had arrived by the reply timeout counts, however long it takes to
// decode it.
func TestReplyTimeoutCountsWhatArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &settling{fleet: newFleet()}
		begin := time.Now()
		for _, n := range []string{"n1", "n2"} {
			f.replyIn[n] = -1
			f.late = append(f.late, Outcome{Batch: 1, Node: n, Time: begin.Add(19 * time.Second), OK: true})
		}
		f.replyIn["n3"] = -1
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Journal: &tape{}, Pace: calm}, fleetPlan(3, Policy{}))
		expect(t, s, Silent, map[State]int{Accepted: 2, NoReply: 1})
		if s.Late != 0 || len(f.settled) != 1 || f.settled[0].Sub(begin) != calm.ReplyTimeout {
			t.Errorf("%d replies counted late, settled at %v", s.Late, f.settled)
		}
	})
}

// The connection is lost for a while between two batches: that is on record, and
// nothing is sent before the baselines are in again.
func TestNothingIsSentWhileTheConnectionIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{}
		w := &watcher{tape: tp}
		news := make(chan Link)
		begin := time.Now()
		go func() {
			<-time.After(3 * time.Second)
			news <- Link{Err: errors.New("the broker closed it")}
			<-time.After(12 * time.Second)
			f.mu.Lock()
			f.gone["n2"] = true // it needs a moment more
			f.mu.Unlock()
			news <- Link{Up: true}
			<-time.After(5 * time.Second)
			f.mu.Lock()
			delete(f.gone, "n2")
			f.mu.Unlock()
		}()
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: tp, Observer: w, Pace: calm, Link: news}, fleetPlan(2, Policy{Sizes: Sizes{Number(1)}}))
		expect(t, s, Done, map[State]int{Verified: 2})
		if after := s.Batches[1].Sent.Sub(begin); after < 20*time.Second || after > 22*time.Second {
			t.Errorf("batch 2 was sent after %v", after)
		}
		var told []string
		for _, r := range w.seen {
			if r.Kind == KindLink {
				told = append(told, r.Reason)
			}
		}
		if want := "the connection was lost: the broker closed it; the connection is back after 12s"; strings.Join(told, "; ") != want {
			t.Errorf("on record: %q", told)
		}
	})
}

// What happened while nodes were looked for is news when the run begins: servers may still be on their way. It is
// reported with its own times.
func TestALossBeforeTheRunBeganKeepsItsTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{}
		w := &watcher{tape: tp}
		begin := time.Now()
		news := make(chan Link, 2)
		news <- Link{Time: begin.Add(-26 * time.Second)}
		news <- Link{Time: begin.Add(-20 * time.Second), Up: true}
		f.gone["n2"] = true // it is down, and was so before
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: tp, Observer: w, Pace: calm, Link: news}, fleetPlan(2, Policy{}))
		expect(t, s, Silent, map[State]int{Verified: 1, Absent: 1})
		var told []string
		for _, r := range w.seen {
			if r.Kind == KindLink {
				told = append(told, fmt.Sprint(begin.Sub(r.Time), " ", r.Reason))
			}
		}
		if want := "26s the connection was lost; 20s the connection is back after 6s"; strings.Join(told, "; ") != want {
			t.Errorf("on record: %q", told)
		}
		if after := s.Batches[0].Sent.Sub(begin); after < 10*time.Second || after > 13*time.Second {
			t.Errorf("sent after %v: servers have 30 s from the return to be back", after)
		}
	})
}

// The end of a run waits for the look at silent nodes for as long as the connection is lost, and a moment more: they may
// all have acted.
func TestTheEndLooksAtSilentNodesWhenTheConnectionIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.replyIn["n1"], f.replyIn["n2"], f.proofIn = -1, -1, 3*time.Minute
		news := make(chan Link, 2)
		go func() {
			<-time.After(time.Second)
			news <- Link{}
			<-time.After(3 * time.Minute)
			news <- Link{Up: true}
		}()
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: &tape{}, Pace: calm, Link: news}, fleetPlan(2, Policy{}))
		expect(t, s, Done, map[State]int{Verified: 2})
	})
}

// Nodes that could not be asked for proof are looked at when the connection is back and the run has not ended.
func TestUnaskedNodesAreLookedAtWhenTheConnectionIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.unasked["n1"], f.proofIn = true, 3*time.Second
		news := make(chan Link, 2)
		go func() {
			<-time.After(2 * time.Second)
			news <- Link{}
			<-time.After(time.Minute)
			f.mu.Lock()
			delete(f.unasked, "n1")
			f.mu.Unlock()
			news <- Link{Up: true}
		}()
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: &tape{}, Pace: calm, Link: news}, fleetPlan(2, Policy{Sizes: Sizes{Number(1)}}))
		expect(t, s, Done, map[State]int{Verified: 2})
	})
}

// Nodes that could not be asked stay accepted, the verdict names the connection,
// and a resume proves them.
func TestUnaskedNodesAreProvedByAResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{}
		f.unasked["n1"], f.unasked["n2"] = true, true
		r := Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Prober: f, Journal: tp, Pace: calm}
		s := run(t, r, fleetPlan(3, Policy{}))
		expect(t, s, Uncertain, map[State]int{Accepted: 2, Verified: 1})
		if s.Open != 2 || s.Reason != "2 nodes could not be asked for proof: the connection was lost" {
			t.Errorf("open %d, reason %q", s.Open, s.Reason)
		}
		if n, _ := resultOf(s.progress, "n1"); !strings.Contains(n.Reason, "connection") {
			t.Errorf("n1: %+v", n)
		}
		clear(f.unasked)
		from, err := Replay(tp.all())
		if err != nil {
			t.Fatal(err)
		}
		expect(t, run(t, r, from), Done, map[State]int{Verified: 3})
	})
}

func TestConnectionLostForGoodKeepsAcceptedNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.proofIn = time.Minute
		news := make(chan Link, 1)
		time.AfterFunc(time.Second, func() { news <- Link{Gone: true, Err: errors.New("the token has expired")} })
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: &tape{}, Pace: calm, Link: news}, fleetPlan(2, Policy{}))
		expect(t, s, Uncertain, map[State]int{Accepted: 2})
		if s.Open != 2 || s.Stop.Kind != StopLost || !strings.Contains(s.Reason, "the token has expired") {
			t.Errorf("open %d, %+v", s.Open, s.Stop)
		}
	})
}

func TestPauseHoldsTheNextBatchBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{}
		control := make(chan Control)
		begin := time.Now()
		go func() {
			<-time.After(time.Second)
			control <- Control{Pause: true, By: "ann"}
			control <- Control{Toggle: true, By: "bob"} // whatever is so now
			control <- Control{Toggle: true, Pause: true, By: "ann"}
			<-time.After(time.Hour)
			if p, err := Follow(tp.all()); err != nil || !p.Summary().Paused {
				t.Errorf("the record does not say that the run is paused: %v", err)
			}
			control <- Control{By: "bob"}
		}()
		s := run(t, Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: tp, Pace: calm, Control: control}, fleetPlan(2, Policy{Sizes: Sizes{Number(1)}}))
		expect(t, s, Done, map[State]int{Verified: 2})
		if after := s.Batches[1].Sent.Sub(begin); after != time.Hour+time.Second {
			t.Errorf("batch 2 was sent after %v", after)
		}
		if s.Paused {
			t.Error("the run has ended, and is paused")
		}
		paused := 0
		for line := range tp.all() {
			paused += bytes.Count(line, []byte(`"k":"paused"`))
		}
		if paused != 2 {
			t.Errorf("paused %d times, want 2", paused)
		}
	})
}

// What the caller hangs on an outcome reaches the observer, and no record.
func TestReplyReachesTheObserverOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{}
		w := &watcher{tape: tp}
		in := make(chan Outcome, 1)
		f.replyIn["n1"] = -1
		in <- Outcome{Batch: 1, Node: "n1", OK: true, Reply: "what it said"}
		s := run(t, Runner{Actor: f, Outcomes: in, Journal: tp, Observer: w, Pace: calm}, fleetPlan(1, Policy{}))
		expect(t, s, Done, map[State]int{Accepted: 1})
		seen := false
		for _, r := range w.seen {
			for _, o := range r.Outcomes {
				seen = seen || o.Reply == "what it said"
			}
		}
		if !seen {
			t.Error("the observer did not see the reply")
		}
		for _, l := range tp.lines {
			if strings.Contains(string(l), "what it said") {
				t.Errorf("on record: %s", l)
			}
		}
	})
}
