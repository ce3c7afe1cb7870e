package gate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fleetctl/batch"
)

// Policy defines how verdicts over time become a decision.
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

// leastEvery is the shortest time between two looks: each is a record.
const leastEvery = time.Second

// Validate refuses times without a meaning.
func (p Policy) Validate() error {
	switch {
	case p.For < 0, p.Wait < 0, p.Every < 0:
		return fmt.Errorf("cannot keep a gate for a time below zero")
	case p.Every < leastEvery:
		return fmt.Errorf("cannot ask a gate again after %s: %s is the shortest time", p.Every, leastEvery)
	}
	return nil
}

// Gate is what can be asked. Both kinds are: Command and PromQL.
type Gate interface {
	// Look asks it once. An error is the context's cause, or a fault of ours: there is no verdict.
	Look(ctx context.Context, m batch.Moment) (batch.GateLook, error)
}

// Keeper asks gates until they decide; it is a batch.Gatekeeper. It does not change, and is safe for concurrent use.
type Keeper struct {
	Gates  []Gate
	Policy Policy
}

// Keep implements batch.Gatekeeper. report runs in the goroutine of the caller. The error is a gate's, or the cause of ctx.
func (k Keeper) Keep(ctx context.Context, m batch.Moment, report func(batch.GateRound)) error {
	watch := streak{policy: k.Policy, last: time.Now()}
	for {
		round, err := k.round(ctx, m)
		if err != nil {
			return err
		}
		round = watch.take(time.Now(), round)
		if report(round); round.Decided {
			return nil
		}
		if err := sleep(ctx, time.Until(round.Next)); err != nil {
			return err
		}
	}
}

// round asks every gate, side by side. Without a gate the round passes.
func (k Keeper) round(ctx context.Context, m batch.Moment) (batch.GateRound, error) {
	r := batch.GateRound{Looks: make([]batch.GateLook, len(k.Gates)), Verdict: batch.GatePassed}
	faults := make([]error, len(k.Gates))
	var all sync.WaitGroup
	for i, g := range k.Gates {
		all.Go(func() { r.Looks[i], faults[i] = g.Look(ctx, m) })
	}
	all.Wait()
	for _, err := range faults {
		if err != nil {
			return r, err
		}
	}
	for _, worst := range []batch.GateVerdict{batch.GateFailed, batch.GateInconclusive} {
		for _, l := range r.Looks {
			if l.Verdict == worst {
				r.Verdict, r.Reason = worst, l.String()
				return r, nil
			}
		}
	}
	return r, nil
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

// streak follows the verdicts of one place of a run.
type streak struct {
	policy  Policy
	last    time.Time     // of the last round, or when the first was asked
	since   time.Time     // when the gates began to pass without a break; zero: they do not
	unclear time.Duration // how long they were inconclusive, in all: gates that come and go must end, too
}

// take decides after a round, whose last answer came in at a time.
func (s *streak) take(at time.Time, r batch.GateRound) batch.GateRound {
	since := at.Sub(s.last)
	s.last = at
	left := time.Duration(0)
	switch r.Verdict {
	case batch.GatePassed:
		if s.since.IsZero() {
			s.since = at
		}
		if left = s.policy.For - at.Sub(s.since); left > 0 {
			r.Reason = fmt.Sprintf("passes; %s left", left.Round(time.Second))
		}
	case batch.GateInconclusive:
		s.since = time.Time{}
		s.unclear += since
		if left = s.policy.Wait - s.unclear; left <= 0 && s.policy.Wait > 0 {
			r.Reason = fmt.Sprintf("%s, for %s", r.Reason, s.unclear.Round(time.Second))
		}
	}
	if left <= 0 {
		r.Decided = true
		return r
	}
	r.Next, r.Until = at.Add(min(s.policy.Every, left)).Round(0), at.Add(left).Round(0)
	return r
}
