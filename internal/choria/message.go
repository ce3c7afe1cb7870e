package choria

import "time"

// Message is one message that a subscription got.
type Message struct {
	Subject      string
	Data         []byte
	Arrived      time.Time // when the connection received it; windows close on this, not on when it was decoded
	NoResponders bool      // the broker's 503: the message published with Subject as its reply subject had no subscriber
}
