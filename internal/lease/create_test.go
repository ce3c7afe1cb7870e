package lease

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/bus"
)

// placing answers as brokers of which too few are online until a time, or which do not answer until then.
type placing struct {
	until time.Time
	mute  bool
}

func (p placing) Request(ctx context.Context, subject string, _ map[string]string, _ []byte) (bus.Answer, error) {
	text := `{}`
	switch {
	case strings.HasPrefix(subject, "$JS.API.STREAM.INFO."):
		text = `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`
	case time.Now().Before(p.until) && p.mute:
		<-ctx.Done()
		return bus.Answer{}, ctx.Err()
	case time.Now().Before(p.until):
		text = `{"error":{"code":400,"err_code":10005,"description":"no suitable peers for placement, peer offline"}}`
	}
	return bus.Answer{Data: []byte(text)}, nil
}

// Peers that are offline for a moment are waited for, others are not waited for long.
func TestABucketIsMadeWhenPeersAreBack(t *testing.T) {
	for away, made := range map[time.Duration]bool{0: true, 8 * time.Second: true, time.Minute: false} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			got, err := Open(placing{until: began.Add(away)}, Shared).Create(t.Context(), 3)
			if got != made || made != (err == nil) || err != nil && !errors.Is(err, ErrNoPeers) {
				t.Errorf("away for %s: made %t, %v", away, got, err)
			}
			if took := time.Since(began); took < min(away, placeTime) || took > min(away, placeTime)+time.Second {
				t.Errorf("away for %s: it took %s", away, took)
			}
		})
	}
}

// An answer that does not come is asked for again, but not for long.
func TestABucketIsMadeByBrokersThatAreSlow(t *testing.T) {
	for slow, made := range map[time.Duration]bool{2 * askTimeout: true, time.Minute: false} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			got, err := Open(placing{began.Add(slow), true}, Shared).Create(t.Context(), 3)
			if got != made || made != (err == nil) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("slow for %s: made %t, %v", slow, got, err)
			}
			if took := time.Since(began); took > placeTime+askTimeout+time.Second {
				t.Errorf("slow for %s: it took %s", slow, took)
			}
		})
	}
}
