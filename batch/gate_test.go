package batch

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// keeper answers each question with rounds, one a second; after the last it waits for the end of its context.
type keeper struct {
	rounds  func(question int, m Moment) ([]GateRound, error)
	moments []Moment
	ended   []error // the cause of each context that ended a question
}

func (k *keeper) Keep(ctx context.Context, m Moment, report func(GateRound)) error {
	k.moments = append(k.moments, m)
	rounds, err := k.rounds(len(k.moments), m)
	for _, r := range rounds {
		select {
		case <-time.After(time.Second):
			report(r)
		case <-ctx.Done():
			k.ended = append(k.ended, context.Cause(ctx))
			return context.Cause(ctx)
		}
	}
	if n := len(rounds); err != nil || n > 0 && rounds[n-1].Decided {
		return err
	}
	<-ctx.Done()
	k.ended = append(k.ended, context.Cause(ctx))
	return context.Cause(ctx)
}

var (
	gatePasses = GateRound{Verdict: GatePassed, Decided: true, Looks: []GateLook{{Gate: "check", Verdict: GatePassed, Took: time.Second}}}
	gateFails  = GateRound{Verdict: GateFailed, Decided: true, Reason: "3 of 4"}
	gateWaits  = GateRound{Verdict: GateInconclusive, Reason: "no data"}
)

func gated(f *fleet, k *keeper, j Journal) Runner {
	return Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Journal: j, Pace: calm, Gates: Gates{Commands: []string{"check"}}, Gatekeeper: k}
}

func TestAFailedGateStopsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tp := newFleet(), &tape{}
		k := &keeper{rounds: func(q int, _ Moment) ([]GateRound, error) {
			return [][]GateRound{{gatePasses}, {gateWaits, gateWaits, gatePasses}, {gateFails}}[q-1], nil
		}}
		s := run(t, gated(f, k, tp), fleetPlan(6, Policy{Sizes: Sizes{Number(2)}}))
		expect(t, s, Stopped, map[State]int{Verified: 4, NotSent: 2})
		if s.Stop.Kind != StopGate || s.Reason != "3 of 4" || s.Stop.Batch != 2 {
			t.Errorf("stop %+v", s.Stop)
		}
		if len(k.moments) != 3 || k.moments[2].Batch != 2 || k.moments[2].Counts.Of(Verified) != 4 || len(k.moments[0].Nodes) != 0 {
			t.Errorf("asked %+v", k.moments)
		}
		again, err := Replay(tp.all())
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Gates) != 3 || s.Gates[1].Rounds != 3 || s.Gates[1].Batch != 1 || s.Gates[1].Time.Sub(s.Gates[1].Began) != 2*time.Second {
			t.Errorf("gates %+v", s.Gates)
		}
		if diff := cmp.Diff(s.Gates, again.Summary().Gates, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("gates (-run +replayed):\n%s", diff)
		}
	})
}

// Whatever else ends the run ends the question, and a gate that cannot be asked stops the run.
func TestAQuestionEndsWithItsRun(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(r *Runner, k *keeper)
		verdict Verdict
		stop    StopKind
		reason  string
		took    time.Duration
	}{
		{"interrupt", func(r *Runner, _ *keeper) {
			c := make(chan error, 1)
			time.AfterFunc(time.Minute, func() { c <- errors.New("interrupt") })
			r.Interrupt = c
		}, Interrupted, StopSignal, "interrupt", time.Minute},
		{"deadline", func(r *Runner, _ *keeper) { r.Pace.Deadline = time.Hour }, Stopped, StopDeadline, "the deadline of 1h0m0s passed", time.Hour},
		{"error", func(_ *Runner, k *keeper) {
			k.rounds = func(int, Moment) ([]GateRound, error) { return nil, errors.New("no shell") }
		}, Stopped, StopGate, "the gates could not be asked: no shell", 0},
		{"leaves", func(r *Runner, _ *keeper) { r.Gatekeeper = leaver{} }, Stopped, StopGate, "the gates could not be asked: it ended without a decision", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet()
			k := &keeper{rounds: func(int, Moment) ([]GateRound, error) { return []GateRound{gateWaits}, nil }}
			r := gated(f, k, &tape{})
			tt.change(&r, k)
			began := time.Now()
			s := run(t, r, fleetPlan(2, Policy{}))
			if s.Verdict != tt.verdict || s.Stop.Kind != tt.stop || s.Reason != tt.reason || s.States.Of(NotSent) != 2 || time.Since(began) != tt.took {
				t.Errorf("%s: %+v after %v", tt.name, s, time.Since(began))
			}
			if tt.took > 0 && len(k.ended) != 1 {
				t.Errorf("%s: the question did not end: %v", tt.name, k.ended)
			}
		})
	}
}

type leaver struct{}

func (leaver) Keep(context.Context, Moment, func(GateRound)) error { return nil }

// A program from before there were gates reads runs that have none.
func TestOnlyRunsWithGatesHaveNewerRecords(t *testing.T) {
	for _, want := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, tp := newFleet(), &tape{}
			r := gated(f, &keeper{rounds: func(int, Moment) ([]GateRound, error) { return []GateRound{gatePasses}, nil }}, tp)
			if !want {
				r.Gates, r.Gatekeeper = Gates{}, nil
			}
			run(t, r, fleetPlan(2, Policy{}))
			if got := bytes.Contains(tp.lines[0], []byte(`"v":3`)); got != want {
				t.Errorf("with gates %v: %s", want, tp.lines[0])
			}
		})
	}
	if err := (Runner{Actor: newFleet(), Pace: calm, Gates: Gates{Commands: []string{"check"}}}).Validate(); err == nil {
		t.Error("gates without a keeper are accepted")
	}
}

func TestGateVerdictsHaveWords(t *testing.T) {
	seen := map[string]bool{}
	for v := range gateVerdictEnd {
		word := v.String()
		var back GateVerdict
		if err := back.UnmarshalText([]byte(word)); word == "" || seen[word] || v > 0 && (err != nil || back != v) || v == 0 && err == nil {
			t.Errorf("verdict %d: %q, %v", v, word, err)
		}
		seen[word] = true
	}
	if got := gateVerdictEnd.String(); got != "verdict(4)" {
		t.Error(got)
	}
	if got := (GateLook{Gate: "check", Verdict: GateFailed, Reason: "3 of 4"}).String(); got != `gate "check" failed: 3 of 4` {
		t.Error(got)
	}
}

// The oldest places at which gates passed are forgotten; what failed is not.
func TestManyPlacesAreForgotten(t *testing.T) {
	l := fleetPlan(1, Policy{}).l
	for i := range maxGateResults + 5 {
		r := gatePasses
		if i == 0 {
			r = gateFails
		}
		if err := l.applyGate(&Record{Gate: &r, Reason: strings.Repeat("x", i%2)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.gates) != maxGateResults || l.gates[0].Verdict != GateFailed {
		t.Errorf("%d places, the first %s", len(l.gates), l.gates[0].Verdict)
	}
}
