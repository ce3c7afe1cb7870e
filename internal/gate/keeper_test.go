package gate

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
)

var moment = batch.Moment{Run: "r1", Batch: 2, Batches: 3, Nodes: []batch.MomentNode{{Identity: "web1", State: batch.Verified}, {Identity: "web2", State: batch.Refused}},
	Counts: batch.CountsOf(map[batch.State]int{batch.Verified: 3, batch.Refused: 1})}

// script gives a verdict at a time after the start; each look takes as long as it says.
type script struct {
	name  string
	began time.Time
	takes time.Duration
	at    func(since time.Duration) batch.GateVerdict
	looks *atomic.Int32
}

func (s script) Look(ctx context.Context, _ batch.Moment) (batch.GateLook, error) {
	if s.looks != nil {
		s.looks.Add(1)
	}
	v := s.at(time.Since(s.began))
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return batch.GateLook{}, context.Cause(ctx)
	}
	return batch.GateLook{Gate: s.name, Verdict: v, Reason: "says " + v.String()}, nil
}

func always(v batch.GateVerdict) func(time.Duration) batch.GateVerdict {
	return func(time.Duration) batch.GateVerdict { return v }
}

// until gives one verdict before a time and another from then on.
func until(d time.Duration, before, after batch.GateVerdict) func(time.Duration) batch.GateVerdict {
	return func(since time.Duration) batch.GateVerdict {
		if since < d {
			return before
		}
		return after
	}
}

func TestGatesOverTime(t *testing.T) {
	const every, wait = 10 * time.Second, 10 * time.Minute
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	for _, tt := range []struct {
		name    string
		policy  Policy
		takes   time.Duration
		at      func(time.Duration) batch.GateVerdict
		verdict batch.GateVerdict
		took    time.Duration
		rounds  int
		reason  string
	}{
		{"one look", Policy{0, every, wait}, 0, always(batch.GatePassed), batch.GatePassed, 0, 1, ""},
		{"fails", Policy{minutes(2), every, wait}, time.Second, always(batch.GateFailed), batch.GateFailed, time.Second, 1, `gate "g" failed: says failed`},
		{"passes for two minutes", Policy{minutes(2), every, wait}, 0, always(batch.GatePassed), batch.GatePassed, minutes(2), 13, ""},
		{"the last look is on time", Policy{25 * time.Second, every, wait}, 0, always(batch.GatePassed), batch.GatePassed, 25 * time.Second, 4, ""},
		{"fails within the time", Policy{minutes(2), every, wait}, 0, until(minutes(1), batch.GatePassed, batch.GateFailed), batch.GateFailed, minutes(1), 7, "says failed"},
		{"data comes back", Policy{0, every, wait}, 0, until(minutes(3), batch.GateInconclusive, batch.GatePassed), batch.GatePassed, minutes(3), 19, ""},
		{"data comes back and is bad", Policy{0, every, wait}, 0, until(minutes(3), batch.GateInconclusive, batch.GateFailed), batch.GateFailed, minutes(3), 19, "says failed"},
		{"no data", Policy{0, every, wait}, 0, always(batch.GateInconclusive), batch.GateInconclusive, wait, 61, "says inconclusive, for 10m0s"},
		{"no data, and the looks take long", Policy{0, every, minutes(1)}, 25 * time.Second, always(batch.GateInconclusive), batch.GateInconclusive, minutes(1), 2, "for 1m0s"},
		{"the wait ends between two looks", Policy{0, every, 15 * time.Second}, 0, always(batch.GateInconclusive), batch.GateInconclusive, 15 * time.Second, 3, ""},
		{"no wait", Policy{0, every, 0}, 0, always(batch.GateInconclusive), batch.GateInconclusive, 0, 1, "says inconclusive"},
		{"an inconclusive look begins the time anew", Policy{minutes(2), every, wait}, 0, func(d time.Duration) batch.GateVerdict {
			if d == 90*time.Second {
				return batch.GateInconclusive
			}
			return batch.GatePassed
		}, batch.GatePassed, 90*time.Second + every + minutes(2), 9 + 1 + 13, ""},
		{"one that comes and goes has an end", Policy{minutes(1), every, minutes(2)}, 0, func(d time.Duration) batch.GateVerdict {
			if d%(30*time.Second) == 0 {
				return batch.GateInconclusive
			}
			return batch.GatePassed
		}, batch.GateInconclusive, 6 * minutes(1), 37, "for 2m0s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			keeper := Keeper{Gates: []Gate{script{"g", began, tt.takes, tt.at, nil}}, Policy: tt.policy}
			rounds := 0
			var got batch.GateRound
			err := keeper.Keep(t.Context(), batch.Moment{}, func(r batch.GateRound) {
				rounds++
				if got = r; len(r.Looks) != 1 || r.Decided != r.Next.IsZero() || r.Decided != r.Until.IsZero() || !r.Decided && (!r.Next.After(time.Now()) || r.Until.Before(r.Next)) {
					t.Errorf("%s: round %+v", tt.name, r)
				}
			})
			if err != nil || !got.Decided || got.Verdict != tt.verdict || rounds != tt.rounds || time.Since(began) != tt.took || !strings.HasSuffix(got.Reason, tt.reason) || (got.Reason == "") != (got.Verdict == batch.GatePassed) {
				t.Errorf("%s: got %+v after %d rounds, %v", tt.name, got, rounds, err)
			}
		})
	}
}

func TestAllGatesMustPass(t *testing.T) {
	for _, tt := range []struct {
		gates []batch.GateVerdict
		want  batch.GateVerdict
		by    string
	}{
		{nil, batch.GatePassed, ""},
		{[]batch.GateVerdict{batch.GatePassed, batch.GatePassed}, batch.GatePassed, ""},
		{[]batch.GateVerdict{batch.GatePassed, batch.GateInconclusive}, batch.GateInconclusive, "b"},
		{[]batch.GateVerdict{batch.GateInconclusive, batch.GateFailed}, batch.GateFailed, "b"}, // what is known decides
		{[]batch.GateVerdict{batch.GateFailed, batch.GateFailed}, batch.GateFailed, "a"},
	} {
		synctest.Test(t, func(t *testing.T) {
			keeper := Keeper{Policy: Policy{Every: time.Second}}
			var looks atomic.Int32
			for i, v := range tt.gates {
				keeper.Gates = append(keeper.Gates, script{string(rune('a' + i)), time.Now(), time.Minute, always(v), &looks})
			}
			began := time.Now()
			var got batch.GateRound
			err := keeper.Keep(t.Context(), batch.Moment{}, func(r batch.GateRound) { got = r })
			if err != nil || got.Verdict != tt.want || tt.by != "" && !strings.HasPrefix(got.Reason, `gate "`+tt.by+`"`) {
				t.Errorf("%v: %+v, %v", tt.gates, got, err)
			}
			if int(looks.Load()) != len(tt.gates) || len(tt.gates) > 0 && time.Since(began) != time.Minute {
				t.Errorf("%v: %d looks in %s: they are asked side by side, once", tt.gates, looks.Load(), time.Since(began))
			}
		})
	}
}

func TestTheEndOfTheRunEndsTheKeeping(t *testing.T) {
	over := errors.New("the run is over")
	for _, takes := range []time.Duration{0, time.Hour} { // between two looks, and within one
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Minute, func() { cancel(over) })
			keeper := Keeper{Gates: []Gate{script{"g", time.Now(), takes, always(batch.GateInconclusive), nil}}, Policy: Policy{Every: time.Second * 7, Wait: time.Hour}}
			began := time.Now()
			if err := keeper.Keep(ctx, batch.Moment{}, func(batch.GateRound) {}); !errors.Is(err, over) || time.Since(began) != time.Minute {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		})
	}
}

func TestPoliciesThatMeanNothing(t *testing.T) {
	for _, tt := range []struct {
		p  Policy
		ok bool
	}{{Policy{Every: DefaultEvery, Wait: DefaultWait}, true}, {Policy{Every: time.Second}, true}, {Policy{Every: 1}, false}, {Policy{}, false}, {Policy{-1, 1, 0}, false}, {Policy{0, -1, 0}, false}, {Policy{0, 1, -1}, false}} {
		if err := tt.p.Validate(); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.p, err)
		}
	}
}
