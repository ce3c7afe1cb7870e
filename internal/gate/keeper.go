package gate

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Policy says how verdicts over time become a decision.
type Policy struct {
	For   time.Duration `json:"for,omitempty"` // must pass at every look for this long; 0: at one
	Every time.Duration `json:"every"`         // between two looks
	Wait  time.Duration `json:"wait"`          // how long it may be inconclusive, in all; 0: not at all
}

// The policy when nothing else is asked for.
const (
	DefaultEvery = 10 * time.Second
	DefaultWait  = 10 * time.Minute
)

// Validate refuses times that mean nothing.
func (p Policy) Validate() error {
	switch {
	case p.For < 0, p.Wait < 0, p.Every < 0:
		return fmt.Errorf("cannot keep a gate for a time below zero")
	case p.Every == 0:
		return fmt.Errorf("cannot ask a gate again after no time")
	}
	return nil
}

// Gate is what can be asked. Both kinds are: Command and PromQL.
type Gate interface {
	// Name is the gate as it may be shown.
	Name() string
	// Look asks it once. An error is the context's cause, or a fault of ours: there is no verdict.
	Look(ctx context.Context, m Moment) (Look, error)
}

// Decision is what gates came to at one place of a run.
type Decision struct {
	// Verdict is Passed, Failed, or Inconclusive when it was so for all of Policy.Wait: the run stops.
	Verdict Verdict
	Reason  string // for people; "" when they passed
	Rounds  int
	Took    time.Duration // from the first question to the decision
}

// Keeper asks gates until they decide. It does not change, and is safe for concurrent use.
type Keeper struct {
	Gates  []Gate
	Policy Policy
}

// Keep asks all gates, at once and then again and again, until they decide. report gets every round, with what is to
// come, in the goroutine of the caller; its error ends the keeping. The error is report's, a gate's, or the cause of ctx.
func (k Keeper) Keep(ctx context.Context, m Moment, report func(Round, Next) error) (Decision, error) {
	began := time.Now()
	watch := newStreak(k.Policy, began)
	for rounds := 1; ; rounds++ {
		round, err := k.round(ctx, m)
		if err != nil {
			return Decision{}, err
		}
		next := watch.take(round)
		if err := report(round, next); err != nil {
			return Decision{}, err
		}
		if next.Verdict != 0 {
			return Decision{Verdict: next.Verdict, Reason: next.Reason, Rounds: rounds, Took: round.Time.Sub(began)}, nil
		}
		if err := sleep(ctx, time.Until(next.At)); err != nil {
			return Decision{}, err
		}
	}
}

// round asks every gate, side by side.
func (k Keeper) round(ctx context.Context, m Moment) (Round, error) {
	looks, faults := make([]Look, len(k.Gates)), make([]error, len(k.Gates))
	var all sync.WaitGroup
	for i, g := range k.Gates {
		all.Go(func() { looks[i], faults[i] = g.Look(ctx, m) })
	}
	all.Wait()
	for _, err := range faults {
		if err != nil {
			return Round{}, err
		}
	}
	return newRound(time.Now(), looks), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Next is what follows a round.
type Next struct {
	Verdict Verdict   // of the whole; unset while nothing is decided
	Reason  string    // for people
	At      time.Time // of the next look; zero when it is decided
	Paused  bool      // the run waits for a gate that is inconclusive
	Left    time.Duration
}

// streak follows the verdicts of one place of a run.
type streak struct {
	policy  Policy
	last    time.Time     // of the last round, or when the first was asked
	since   time.Time     // when the gates began to pass without a break; zero: they do not
	unclear time.Duration // how long they were inconclusive, in all: gates that come and go must end, too
}

func newStreak(p Policy, asked time.Time) *streak { return &streak{policy: p, last: asked} }

// take decides after a round.
func (s *streak) take(r Round) Next {
	since := r.Time.Sub(s.last)
	s.last = r.Time
	switch r.Verdict {
	case Passed:
		if s.since.IsZero() {
			s.since = r.Time
		}
		left := s.policy.For - r.Time.Sub(s.since)
		if left <= 0 {
			return Next{Verdict: Passed}
		}
		return Next{Reason: fmt.Sprintf("passes; %s left", left.Round(time.Second)), At: r.Time.Add(min(s.policy.Every, left)), Left: left}
	case Failed:
		return Next{Verdict: Failed, Reason: r.Reason}
	}
	s.since = time.Time{}
	s.unclear += since
	left := s.policy.Wait - s.unclear
	if left <= 0 {
		reason := r.Reason
		if s.policy.Wait > 0 {
			reason = fmt.Sprintf("%s, for %s", reason, s.unclear.Round(time.Second))
		}
		return Next{Verdict: Inconclusive, Reason: reason}
	}
	return Next{Reason: r.Reason, At: r.Time.Add(min(s.policy.Every, left)), Paused: true, Left: left}
}
