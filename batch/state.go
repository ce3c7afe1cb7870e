package batch

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// State is what is known of one node. The zero value means unset and never
// appears in a plan.
type State uint8

// The ten states. What each means for behavior:
const (
	Planned    State = iota + 1 // not sent yet; may be sent
	Sending                     // the intent is on disk; the request may or may not have left
	Accepted                    // replied with status 0; final when there is no proof to wait for
	Refused                     // replied with another status; it did not act
	Absent                      // not connected: nothing reached it
	NoReply                     // silent within the reply timeout; a late reply moves it on
	Verified                    // there is proof that it acted, with a reply or without
	Unverified                  // accepted, and no proof came in time
	Unknown                     // it may have got the request, without evidence; probed, never repeated blindly
	NotSent                     // the run ended before its turn; a resume may send it
	stateEnd
)

var stateWords = [stateEnd]string{"unset", "planned", "sending", "accepted", "refused", "absent", "no-reply",
	"verified", "unverified", "unknown", "not-sent"}

// States lists all ten states in their documented order.
func States() []State {
	all := make([]State, 0, stateEnd-1)
	for s := Planned; s < stateEnd; s++ {
		all = append(all, s)
	}
	return all
}

// String returns the state's word, for example "no-reply"; it works for every value.
func (s State) String() string {
	if s < stateEnd {
		return stateWords[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText returns the state's word. An unset or unknown state is an error.
func (s State) MarshalText() ([]byte, error) {
	if s == 0 || s >= stateEnd {
		return nil, fmt.Errorf("cannot encode %s: not one of the ten states", s)
	}
	return []byte(stateWords[s]), nil
}

// UnmarshalText reads a state's word.
func (s *State) UnmarshalText(text []byte) error {
	for i := Planned; i < stateEnd; i++ {
		if string(text) == stateWords[i] {
			*s = i
			return nil
		}
	}
	return fmt.Errorf("unknown state %q", text)
}

// Counts is how many nodes are in each state. It is comparable; the zero value
// counts nothing. In JSON it is an object that lists all ten, zeros included.
type Counts struct{ n [stateEnd]int }

// CountsOf builds counts from a map, for tests and for reading documents.
func CountsOf(m map[State]int) Counts {
	var c Counts
	for s, n := range m {
		c.n[s] += n
	}
	return c
}

// Of returns how many nodes are in state s.
func (c Counts) Of(s State) int {
	if s >= stateEnd {
		return 0
	}
	return c.n[s]
}

// Total returns the number of nodes in all states.
func (c Counts) Total() int {
	total := 0
	for _, n := range c.n {
		total += n
	}
	return total
}

// Succeeded reports whether the action succeeded on a node in this state. proved: the run proves its actions, so that an
// accepted node has not succeeded yet.
func (s State) Succeeded(proved bool) bool { return s == Verified || s == Accepted && !proved }

// Failed returns refused + unverified, the count the failure limits judge.
func (c Counts) Failed() int { return c.n[Refused] + c.n[Unverified] }

// MarshalJSON writes all ten states in their documented order.
func (c Counts) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for s := Planned; s < stateEnd; s++ {
		if s > Planned {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%d", stateWords[s], c.n[s])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads what MarshalJSON writes; missing states count zero.
func (c *Counts) UnmarshalJSON(text []byte) error {
	var m map[State]int
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	*c = CountsOf(m)
	return nil
}
