package batch

import "time"

// Elapsed time has two readings: the monotonic clock stands still while the
// machine sleeps, and the wall clock can be set. A time that comes from a record
// has only the second.

// Longest is the larger of the monotonic and the wall difference: for what must
// not last too long.
func Longest(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// Shortest is the smaller of the two: for what must have lasted long enough.
func Shortest(since, now time.Time) time.Duration {
	return min(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}
