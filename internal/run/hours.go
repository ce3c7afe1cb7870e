package run

import (
	"errors"
	"fmt"
	"time"

	"fleetctl/batch"
)

// validate refuses hours without a meaning.
func (h Hours) validate() error {
	if err := h.Within.Validate(); err != nil {
		return usage(fmt.Errorf("--within: %w", err), "such as 'Mon-Fri 01:00-05:00 Europe/Malta'; several with a semicolon; always for no limit")
	}
	switch h.Outside {
	case "":
		return nil
	case OutsideWait, OutsideStop:
		if h.Within == "" {
			return usage(errors.New("--outside without hours: the run is never outside of them"), "add --within HOURS")
		}
		return nil
	}
	return usage(fmt.Errorf("cannot behave as --outside %q", h.Outside), "use wait or stop")
}

// hoursSentence reports in the plan when batches may begin.
func hoursSentence(p batch.Pace, now time.Time) string {
	if p.Within == "" {
		return ""
	}
	text := "begins batches only within " + string(p.Within)
	next := p.Within.Next(now)
	switch {
	case p.StopOutside && next != "":
		return text + ": it is outside now, and stops at once"
	case p.StopOutside:
		return text + ", and stops outside"
	case next != "":
		return text + ": waits until " + next
	}
	return text + ", and waits outside"
}

// estimate is how long a plan takes from now on, the time outside of the run's hours included.
func (c noter) estimate(p batch.Plan) batch.Estimate {
	pace := c.pace()
	return p.Estimate(pace).Within(pace.Within, time.Now())
}

// estimates are the same in each mode.
func (c noter) estimates(p batch.Plan) batch.Estimates {
	pace, now := c.pace(), time.Now()
	e := p.Estimates(pace)
	return batch.Estimates{Barrier: e.Barrier.Within(pace.Within, now), Rolling: e.Rolling.Within(pace.Within, now)}
}
