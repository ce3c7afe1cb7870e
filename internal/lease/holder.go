package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Holder is what a key shows of who holds it.
type Holder struct {
	Version int       `json:"v"`
	Run     string    `json:"run"`
	Caller  string    `json:"caller"`
	Host    string    `json:"host,omitempty"`
	Action  string    `json:"action,omitempty"`
	Nodes   int       `json:"nodes,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Nonce   string    `json:"nonce"` // of this hold alone
}

// CheckName returns what is wrong with the name of a lock, or nil.
func CheckName(name string) error {
	odd := func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("lock %q: a name has 1 to 64 letters, digits, _ and -", name)
	}
	return nil
}

// HeldError reports that another holds a key.
type HeldError struct {
	Name   string
	Holder Holder // its Caller is "" where it is not known
	// Renewed is how long ago the holder renewed it; 0: not known.
	Renewed time.Duration
	// Hidden: our token may not read who it is.
	Hidden bool
}

// Error implements error.
func (e *HeldError) Error() string {
	switch {
	case e.Hidden:
		return fmt.Sprintf("lock %s is held, by a holder that a token without streams_user cannot read", e.Name)
	case e.Holder.Caller == "":
		return fmt.Sprintf("lock %s is held", e.Name)
	}
	return fmt.Sprintf("lock %s is held by %s", e.Name, e.Holder)
}

// String describes a holder for people.
func (h Holder) String() string {
	text := h.Caller
	if h.Host != "" {
		text += " on " + h.Host
	}
	if h.Run != "" {
		text += ", run " + h.Run
	}
	if h.Action != "" {
		text += " (" + h.Action + ")"
	}
	if !h.Since.IsZero() {
		text += ", since " + h.Since.UTC().Format("15:04:05 UTC")
	}
	return text
}

// lostError reports that we do not hold a key any more: another took it, or an operator evicted us.
type lostError struct {
	Name    string
	Holder  Holder // the holder of now, Caller "" where there is none
	Evicted bool
	Expired bool // it was not renewed in time
}

// Error implements error.
func (e *lostError) Error() string {
	switch {
	case e.Expired:
		return fmt.Sprintf("lock %s has expired: the broker did not confirm it in time", e.Name)
	case e.Evicted:
		return fmt.Sprintf("lock %s was taken from this run by an eviction", e.Name)
	case e.Holder.Caller == "":
		return fmt.Sprintf("lock %s was lost", e.Name)
	}
	return fmt.Sprintf("lock %s was taken by %s", e.Name, e.Holder)
}

// StaleError reports that nothing may be sealed for now: the last renewal is too old, or an earlier holder's requests may
// still act.
type StaleError struct {
	Name string
	For  time.Duration // since the last renewal
	Wait time.Duration // until the requests of an evicted holder are over; 0: it is the renewal that is missing
}

// Error implements error.
func (e *StaleError) Error() string {
	if e.Wait > 0 {
		return fmt.Sprintf("lock %s: its last holder was evicted, and what that one has sent may act for %s more", e.Name, e.Wait.Round(time.Second))
	}
	return fmt.Sprintf("lock %s: the broker has not confirmed it for %s", e.Name, e.For.Round(time.Second))
}

// ShortError reports that a bucket's values do not live long enough for a fence.
type ShortError struct{ TTL, Need time.Duration }

// Error implements error.
func (e *ShortError) Error() string {
	return fmt.Sprintf("the bucket keeps a lock for %s: requests with this time to live need %s", e.TTL, e.Need)
}

// encode writes a holder's value, and leaves out what does not fit.
func encode(h Holder) ([]byte, error) {
	for _, cut := range []func(){func() {}, func() { h.Action = "" }, func() { h.Host = "" }, func() { h.Caller = h.Caller[:min(len(h.Caller), 200)] }} {
		cut()
		value, err := json.Marshal(h)
		if err != nil || len(value) <= valueMax {
			return value, err
		}
	}
	return nil, errors.New("the holder's name is too long for a lock")
}

// decode reads a holder. Other programs write other values, as a leader election does: they are its name.
func decode(value []byte) Holder {
	var h Holder
	if json.Unmarshal(value, &h) != nil || h.Nonce == "" {
		return Holder{Caller: string(value[:min(len(value), 100)])}
	}
	return h
}
