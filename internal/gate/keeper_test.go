package gate

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var moment = Moment{Run: "r1", Batch: 2, Batches: 3, Nodes: []Node{{"web1", "verified"}, {"web2", "refused"}}, States: map[string]int{"verified": 3, "refused": 1}}

// script gives a verdict at a time after the start; each look takes as long as it says.
type script struct {
	name  string
	began time.Time
	takes time.Duration
	at    func(since time.Duration) Verdict
	looks *atomic.Int32
}

func (s script) Name() string { return s.name }

func (s script) Look(ctx context.Context, _ Moment) (Look, error) {
	if s.looks != nil {
		s.looks.Add(1)
	}
	v := s.at(time.Since(s.began))
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return Look{}, context.Cause(ctx)
	}
	return Look{Gate: s.name, Verdict: v, Reason: "says " + v.String()}, nil
}

func always(v Verdict) func(time.Duration) Verdict { return func(time.Duration) Verdict { return v } }

// until gives one verdict before a time and another from then on.
func until(d time.Duration, before, after Verdict) func(time.Duration) Verdict {
	return func(since time.Duration) Verdict {
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
		at      func(time.Duration) Verdict
		verdict Verdict
		took    time.Duration
		rounds  int
		reason  string
	}{
		{"one look", Policy{0, every, wait}, 0, always(Passed), Passed, 0, 1, ""},
		{"fails", Policy{minutes(2), every, wait}, time.Second, always(Failed), Failed, time.Second, 1, `gate "g" failed: says failed`},
		{"passes for two minutes", Policy{minutes(2), every, wait}, 0, always(Passed), Passed, minutes(2), 13, ""},
		{"the last look is on time", Policy{25 * time.Second, every, wait}, 0, always(Passed), Passed, 25 * time.Second, 4, ""},
		{"fails within the time", Policy{minutes(2), every, wait}, 0, until(minutes(1), Passed, Failed), Failed, minutes(1), 7, "says failed"},
		{"data comes back", Policy{0, every, wait}, 0, until(minutes(3), Inconclusive, Passed), Passed, minutes(3), 19, ""},
		{"data comes back and is bad", Policy{0, every, wait}, 0, until(minutes(3), Inconclusive, Failed), Failed, minutes(3), 19, "says failed"},
		{"no data", Policy{0, every, wait}, 0, always(Inconclusive), Inconclusive, wait, 61, "says inconclusive, for 10m0s"},
		{"no data, and the looks take long", Policy{0, every, minutes(1)}, 25 * time.Second, always(Inconclusive), Inconclusive, minutes(1), 2, "for 1m0s"},
		{"the wait ends between two looks", Policy{0, every, 15 * time.Second}, 0, always(Inconclusive), Inconclusive, 15 * time.Second, 3, ""},
		{"no wait", Policy{0, every, 0}, 0, always(Inconclusive), Inconclusive, 0, 1, "says inconclusive"},
		{"an inconclusive look begins the time anew", Policy{minutes(2), every, wait}, 0, func(d time.Duration) Verdict {
			if d == 90*time.Second {
				return Inconclusive
			}
			return Passed
		}, Passed, 90*time.Second + every + minutes(2), 9 + 1 + 13, ""},
		{"one that comes and goes has an end", Policy{minutes(1), every, minutes(2)}, 0, func(d time.Duration) Verdict {
			if d%(30*time.Second) == 0 {
				return Inconclusive
			}
			return Passed
		}, Inconclusive, 6 * minutes(1), 37, "for 2m0s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			keeper := Keeper{Gates: []Gate{script{"g", began, tt.takes, tt.at, nil}}, Policy: tt.policy}
			rounds := 0
			got, err := keeper.Keep(t.Context(), Moment{}, func(r Round, n Next) error {
				rounds++
				if len(r.Looks) != 1 || r.Time != time.Now() {
					t.Errorf("%s: round %+v", tt.name, r)
				}
				if n.Verdict == 0 && (!n.At.After(r.Time) || n.Left <= 0 || n.Paused != (r.Verdict == Inconclusive)) {
					t.Errorf("%s: next %+v after %s", tt.name, n, r.Verdict)
				}
				return nil
			})
			if err != nil || got.Verdict != tt.verdict || got.Took != tt.took || got.Rounds != tt.rounds || rounds != tt.rounds || time.Since(began) != tt.took || !strings.HasSuffix(got.Reason, tt.reason) || (got.Reason == "") != (got.Verdict == Passed) {
				t.Errorf("%s: got %+v after %d rounds, %v", tt.name, got, rounds, err)
			}
		})
	}
}

func TestAllGatesMustPass(t *testing.T) {
	for _, tt := range []struct {
		gates []Verdict
		want  Verdict
		by    string
	}{
		{nil, Passed, ""},
		{[]Verdict{Passed, Passed}, Passed, ""},
		{[]Verdict{Passed, Inconclusive}, Inconclusive, "b"},
		{[]Verdict{Inconclusive, Failed}, Failed, "b"}, // what is known decides
		{[]Verdict{Failed, Failed}, Failed, "a"},
	} {
		synctest.Test(t, func(t *testing.T) {
			keeper := Keeper{Policy: Policy{Every: time.Second}}
			var looks atomic.Int32
			for i, v := range tt.gates {
				keeper.Gates = append(keeper.Gates, script{string(rune('a' + i)), time.Now(), time.Minute, always(v), &looks})
			}
			began := time.Now()
			got, err := keeper.Keep(t.Context(), Moment{}, func(Round, Next) error { return nil })
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
	over, broken := errors.New("the run is over"), errors.New("the record cannot be written")
	for _, takes := range []time.Duration{0, time.Hour} { // between two looks, and within one
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Minute, func() { cancel(over) })
			keeper := Keeper{Gates: []Gate{script{"g", time.Now(), takes, always(Inconclusive), nil}}, Policy: Policy{Every: time.Second * 7, Wait: time.Hour}}
			began := time.Now()
			if _, err := keeper.Keep(ctx, Moment{}, func(Round, Next) error { return nil }); !errors.Is(err, over) || time.Since(began) != time.Minute {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
			if takes > 0 {
				return
			}
			if _, err := keeper.Keep(t.Context(), Moment{}, func(Round, Next) error { return broken }); !errors.Is(err, broken) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestPoliciesThatMeanNothing(t *testing.T) {
	for _, tt := range []struct {
		p  Policy
		ok bool
	}{{Policy{Every: DefaultEvery, Wait: DefaultWait}, true}, {Policy{Every: 1}, true}, {Policy{}, false}, {Policy{-1, 1, 0}, false}, {Policy{0, -1, 0}, false}, {Policy{0, 1, -1}, false}} {
		if err := tt.p.Validate(); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.p, err)
		}
	}
}

func TestVerdictsHaveWords(t *testing.T) {
	seen := map[string]bool{}
	for v := range verdictEnd {
		word := v.String()
		var back Verdict
		if err := back.UnmarshalText([]byte(word)); word == "" || seen[word] || v > 0 && (err != nil || back != v) || v == 0 && err == nil {
			t.Errorf("verdict %d: %q, %v", v, word, err)
		}
		seen[word] = true
	}
	if got := verdictEnd.String(); got != "verdict(4)" {
		t.Error(got)
	}
}
