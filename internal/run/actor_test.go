package run

import (
	"testing"
	"time"
)

func TestAnnouncedDelay(t *testing.T) {
	tests := map[string]time.Duration{
		`{"message":"Restarting Choria Server after 8s"}`:            8 * time.Second,
		`{"message":"Shutting Choria Server down after 0s"}`:         0,
		`{"message":"Restarting after 1m5s"}`:                        65 * time.Second,
		`{"message":"OK"}`:                                           0,
		`{"message":"after all"}`:                                    0,
		`{"message":"Restarting after 99999999999999999999999999s"}`: 0,
		``: 0,
	}
	for data, want := range tests {
		if got := announcedDelay([]byte(data)); got != want {
			t.Errorf("%s: got %v, want %v", data, got, want)
		}
	}
}
