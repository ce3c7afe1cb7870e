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
	// Known, when not nil, decides by which nodes have answered; Quiet is not looked at then.
	Known *Known
	// Quiet ends the window early, so long after the last new node arrived; zero does not.
	Quiet time.Duration
}

// Known are nodes that are expected to answer. They decide when the wait may end, and nothing else: others that answer
// count as well.
//
// The window ends early when every known node has answered, is absent, or is connected but does not match, and no
// reply has arrived for the larger of 100 ms and four times the longest gap between replies. If fewer than 99 % of
// the known nodes are accounted for at the timeout, the window stays open until Longest.
type Known struct {
	Nodes   []string
	Longest time.Duration
	// Missing is set when the window has closed: those of which nothing is known. Nil when there is none.
	Missing []string
}
