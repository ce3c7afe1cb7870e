package batch

import (
	"strings"
	"time"
)

// Replies are written by strangers. What the journal could not keep word for
// word is made harmless here, so that the account and its replay agree.

func replied(o Outcome) outcomeEvent {
	now := time.Now()
	if o.Time.IsZero() {
		o.Time = now
	}
	o.Time = o.Time.Round(0)
	o.Stamp = sane(o.Stamp)
	o.Reason = strings.ToValidUTF8(o.Reason, "\uFFFD")
	if o.Absent {
		o.OK = false
	}
	return outcomeEvent{now, o}
}

func proved(p Proof) Proof {
	if p.Time.IsZero() {
		p.Time = time.Now()
	}
	p.Time = p.Time.Round(0)
	p.Reason = strings.ToValidUTF8(p.Reason, "\uFFFD")
	return p
}

// sane drops a time that nanoseconds since 1970 cannot hold.
func sane(t time.Time) time.Time {
	if y := t.Year(); y < 1700 || y > 2250 {
		return time.Time{}
	}
	return t.Round(0)
}
