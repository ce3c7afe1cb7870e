package lab

import (
	"fmt"
	"slices"
	"time"
)

// Deed is what an entry of a node's log is about.
type Deed uint8

// The deeds.
const (
	Received     Deed = iota + 1 // a request reached the node's connection
	Dropped                      // a request was not answered; Text reports why
	Replied                      // a reply was handed to the connection; Text is its status and message
	Acted                        // a request made the node act just now, after its delay; Text reports how
	Started                      // a process began; Text reports why
	Ended                        // the process ended; Text reports why
	Connected                    // the broker knows the node's subscriptions
	Disconnected                 // it does not any more; Text reports why
	Froze                        // the process stands still
	Thawed                       // it runs again
	ClockStepped                 // Text is by how much
)

// String returns the deed's name.
func (d Deed) String() string {
	names := [...]string{
		Received: "received", Dropped: "dropped", Replied: "replied", Acted: "acted", Started: "started", Ended: "ended",
		Connected: "connected", Disconnected: "disconnected", Froze: "froze", Thawed: "thawed", ClockStepped: "clock-stepped",
	}
	if d == 0 || int(d) >= len(names) {
		return fmt.Sprintf("deed(%d)", uint8(d))
	}
	return names[d]
}

// Entry is one line of a node's log. The fields from RequestID to Caller are those of the
// request that the entry is about, and empty where there is none.
type Entry struct {
	// Time is the moment by the machine's clock, whatever the node's own clock shows.
	Time      time.Time
	Deed      Deed
	RequestID string
	Agent     string
	Action    string
	Caller    string
	Text      string
}

// String is one line for a test's log.
func (e Entry) String() string {
	line := e.Time.UTC().Format("15:04:05.000000 ") + e.Deed.String()
	if e.Agent != "" {
		line += fmt.Sprintf(" %s#%s %s of %s", e.Agent, e.Action, e.RequestID, e.Caller)
	}
	if e.Text != "" {
		line += ": " + e.Text
	}
	return line
}

// asked is a request in a log. Many entries share one.
type asked struct{ id, agent, action, caller string }

// written is an entry as it is kept.
type written struct {
	at    time.Time
	deed  Deed
	about *asked // nil: no request
	text  string
}

// note writes into the node's log, if the lab keeps one. The caller holds mu.
func (n *node) note(deed Deed, about *asked, text string) {
	if n.lab.options.KeepLog {
		n.log = append(n.log, written{time.Now(), deed, about, text})
	}
}

// Log returns what a node received and did, oldest first. It is empty unless the options
// say KeepLog, and for a node that the lab does not have.
func (l *Lab) Log(identity string) []Entry {
	n, ok := l.byName[identity]
	if !ok {
		return nil
	}
	n.mu.Lock()
	log := slices.Clip(n.log)
	n.mu.Unlock()
	entries := make([]Entry, len(log))
	for i, w := range log {
		entries[i] = Entry{Time: w.at, Deed: w.deed, Text: w.text}
		if w.about != nil {
			e := &entries[i]
			e.RequestID, e.Agent, e.Action, e.Caller = w.about.id, w.about.agent, w.about.action, w.about.caller
		}
	}
	return entries
}
