package cmd

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"fleetctl/internal/run"
)

// seconds is a flag's duration: 30, 30s and 5m are all understood; a bare number means seconds.
type seconds struct {
	d   time.Duration
	set bool
}

// Set implements pflag.Value.
func (s *seconds) Set(text string) error {
	d, err := parseSeconds(text)
	if err != nil {
		return err
	}
	s.d, s.set = d, true
	return nil
}

// String implements pflag.Value.
func (s *seconds) String() string {
	if !s.set && s.d == 0 {
		return ""
	}
	return s.d.String()
}

// Type implements pflag.Value; it is what the help shows.
func (s *seconds) Type() string { return "DURATION" }

// or is the given value, or the fallback when none was given.
func (s *seconds) or(d time.Duration) time.Duration {
	if s.set {
		return s.d
	}
	return d
}

func parseSeconds(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if n, nerr := strconv.ParseFloat(text, 64); nerr == nil {
		if n *= float64(time.Second); math.IsNaN(n) || n >= math.MaxInt64 {
			return 0, fmt.Errorf("%q is not a time to wait", text)
		}
		d, err = time.Duration(n), nil
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write 30, 30s or 5m", text)
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative", text)
	}
	return d, nil
}

// wait is the flag as a run knows it.
func (s *seconds) wait() run.Wait { return run.Wait{D: s.d, Set: s.set} }
