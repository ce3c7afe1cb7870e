package batch

import "time"

// Elapsed time has two readings: the monotonic clock stops while the
// machine sleeps, and the wall clock may be set. A time without a monotonic
// reading, such as one of a record, has the wall's alone.

// Longest is the larger reading of now - since, for what must not take longer
// than a limit.
func Longest(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// Shortest is the smaller reading of now - since, for what must have lasted at
// least a limit.
func Shortest(since, now time.Time) time.Duration {
	return min(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
