package choria

import "time"

// Message is one message that a subscription got.
type Message struct {
	Subject      string
	Data         []byte
	Arrived      time.Time // when the connection received it; windows close on this, not on when it was decoded
	NoResponders bool      // the broker's 503: the message published with Subject as its reply subject had no subscriber
}

// Window is how long the answers to a question that goes to any number of nodes are waited for. What arrived within it
// counts, however long its check takes.
type Window struct {
	// Timeout is counted from the moment when the request has left; it must be positive.
	Timeout time.Duration
	// Quiet ends the window early, so long after the last new node arrived; zero does not.
	Quiet time.Duration
}
