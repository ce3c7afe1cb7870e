package rpcclient

import (
	"testing"
	"time"
)

func TestSkewIsWhatAReplyProves(t *testing.T) {
	sent := time.Date(2026, 11, 22, 12, 0, 0, 700_000_000, time.UTC)
	received := sent.Add(50 * time.Millisecond)
	for _, tt := range []struct {
		name  string
		clock time.Time
		want  time.Duration
	}{
		{"exact", sent.Add(20 * time.Millisecond), 0},
		{"the same second, cut short", sent.Truncate(time.Second), 0},
		{"ahead", received.Add(3 * time.Second), 3 * time.Second},
		{"behind", sent.Add(-3 * time.Second), -3 * time.Second},
		{"behind in whole seconds: at least so much", sent.Truncate(time.Second).Add(-3 * time.Second), -2700 * time.Millisecond},
	} {
		r := Reply{Time: tt.clock, Received: received}
		if got := r.Skew(sent); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
