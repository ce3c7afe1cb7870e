package batch

import (
	"fmt"
	"time"
)

// event is what happened. Every event carries the time at which it is handled,
// with a monotonic reading: the machine has no clock. The types below are all
// there are.
type event interface{ when() time.Time }

type (
	outcomeEvent struct {
		At time.Time
		Outcome
	}
	proofEvent struct { // from the Verifier
		At time.Time
		Proof
	}
	verifierEnd struct{ At time.Time }
	probeEvent  struct { // from the Prober
		At time.Time
		Proof
	}
	probeEnd      struct{ At time.Time }
	baselineEvent struct {
		At        time.Time
		Question  int // of the baselineCmd that it answers
		Baselines map[string]Baseline
		Err       error
	}
	sentEvent struct { // Act returned
		At    time.Time
		Batch int
		Err   error
	}
	timerEvent struct {
		At    time.Time
		Timer timerKind
		Batch int
	}
	confirmEvent struct {
		At  time.Time
		Yes bool
		Err error
	}
	interruptEvent struct { // the first signal
		At  time.Time
		Err error
	}
	linkEvent struct {
		At time.Time
		Link
	}
	gateEvent struct { // a round of the gates
		At       time.Time
		Question int // of the gateCmd that it answers
		Round    GateRound
	}
	gateEnd struct { // the Gatekeeper has ended
		At       time.Time
		Question int
		Err      error
	}
	admitEvent struct { // the Admitter waits, or has decided
		At       time.Time
		Question int // of the admitCmd that it answers
		Nodes    []string
		Waiting  string // what for; "": it has decided
		Err      error
	}
	controlEvent struct {
		At time.Time
		Control
	}
	abandonEvent struct { // the context of the run ended
		At  time.Time
		Err error
	}
	journalEvent struct { // the last records could not be kept
		At  time.Time
		Err error
	}
)

func (e *outcomeEvent) when() time.Time  { return e.At }
func (e proofEvent) when() time.Time     { return e.At }
func (e verifierEnd) when() time.Time    { return e.At }
func (e probeEvent) when() time.Time     { return e.At }
func (e probeEnd) when() time.Time       { return e.At }
func (e baselineEvent) when() time.Time  { return e.At }
func (e sentEvent) when() time.Time      { return e.At }
func (e timerEvent) when() time.Time     { return e.At }
func (e confirmEvent) when() time.Time   { return e.At }
func (e interruptEvent) when() time.Time { return e.At }
func (e linkEvent) when() time.Time      { return e.At }
func (e gateEvent) when() time.Time      { return e.At }
func (e gateEnd) when() time.Time        { return e.At }
func (e admitEvent) when() time.Time     { return e.At }
func (e controlEvent) when() time.Time   { return e.At }
func (e abandonEvent) when() time.Time   { return e.At }

// timerKind reports what a timer is for.
type timerKind uint8

const (
	timerReplies  timerKind = iota + 1 // the reply timeout of a batch
	timerSleep                         // the sleep after a batch is over
	timerLook                          // silent nodes are not waited for any longer
	timerAbsent                        // time to ask absent nodes of the next batch again
	timerMissing                       // time to ask nodes again that the request did not reach
	timerGrace                         // servers have had their time to connect again
	timerDeadline                      // of the run
	timerGather                        // freed slots are not gathered any longer
	timerSlot                          // slots that are kept for a time may be free
	timerHours                         // batches may begin again, or the clock was set
)

var timerWords = [...]string{"unset", "replies", "sleep", "look", "absent", "missing", "grace", "deadline", "gather", "slot", "hours"}

// String returns the timer's word; it works for every value.
func (k timerKind) String() string {
	if int(k) < len(timerWords) {
		return timerWords[k]
	}
	return fmt.Sprintf("timer(%d)", uint8(k))
}

// command is what the runner must do, in order: a record is durable before the
// command after it is done.
type command interface{ isCommand() }

type (
	recordCmd  struct{ Record }
	outcomeCmd struct{ *Outcome } // the record of one reply, which is the runner's again after the step
	actCmd     struct {
		Batch int
		Nodes []string
	}
	baselineCmd struct {
		Question int // numbered from 1
		Nodes    []string
	}
	verifyCmd  struct{ Targets []Target }
	probeCmd   struct{ Targets []Target }
	confirmCmd struct{ Step }
	gateCmd    struct {
		Question int // numbered from 1
		Moment
	}
	gateCancelCmd struct{} // the question in flight is not needed any more
	admitCmd      struct {
		Question int // numbered from 1
		Nodes    []string
	}
	dismissCmd struct { // the nodes are not sent to for now
		Question int // in flight, which is not needed any more; 0: none
		Nodes    []string
	}
	timerCmd struct {
		Timer timerKind
		Batch int
		At    time.Time
	}
	haltCmd struct{} // cut short what sends or prepares to send: act, baseline, probe, confirm, gate
	endCmd  struct{} // the run is over
)

func (recordCmd) isCommand()     {}
func (outcomeCmd) isCommand()    {}
func (actCmd) isCommand()        {}
func (baselineCmd) isCommand()   {}
func (verifyCmd) isCommand()     {}
func (probeCmd) isCommand()      {}
func (confirmCmd) isCommand()    {}
func (gateCmd) isCommand()       {}
func (gateCancelCmd) isCommand() {}
func (admitCmd) isCommand()      {}
func (dismissCmd) isCommand()    {}
func (timerCmd) isCommand()      {}
func (haltCmd) isCommand()       {}
func (endCmd) isCommand()        {}
