package batch

import (
	"testing"
	"time"
	"unsafe"
)

// apart moves the monotonic reading of a time and leaves the wall clock's: the
// machine slept (less), or its clock was set back (more). The monotonic reading
// is the second word of a time.Time that has one.
func apart(t time.Time, by time.Duration) time.Time {
	(*[2]int64)(unsafe.Pointer(&t))[1] += int64(by)
	return t
}

func TestElapsedTimeHasTwoReadings(t *testing.T) {
	since := time.Now()
	after := since.Add(10 * time.Second)
	for _, tt := range []struct {
		name              string
		now               time.Time
		longest, shortest time.Duration
	}{
		{"both agree", after, 10 * time.Second, 10 * time.Second},
		{"the machine slept for four seconds", apart(after, -4*time.Second), 10 * time.Second, 6 * time.Second},
		{"the clock was set back by an hour", apart(after, time.Hour), time.Hour + 10*time.Second, 10 * time.Second},
		{"from a record", after.Round(0), 10 * time.Second, 10 * time.Second},
	} {
		if got := Longest(since, tt.now); got != tt.longest {
			t.Errorf("%s: longest %v, want %v", tt.name, got, tt.longest)
		}
		if got := Shortest(since, tt.now); got != tt.shortest {
			t.Errorf("%s: shortest %v, want %v", tt.name, got, tt.shortest)
		}
	}
}
