package rpcclient

import "time"

// Skew is how far the server's clock is ahead of ours, negative when it is behind, as far as its reply to a request
// proves it: zero when the reply's time fits between sending and receiving. Whole seconds, which is what protocol v1
// sends, were cut short by up to a second.
func (r Reply) Skew(sent time.Time) time.Duration {
	latest := r.Time
	if r.Time.Nanosecond() == 0 {
		latest = latest.Add(time.Second)
	}
	switch {
	case r.Time.After(r.Received):
		return r.Time.Sub(r.Received)
	case latest.Before(sent):
		return latest.Sub(sent)
	}
	return 0
}
