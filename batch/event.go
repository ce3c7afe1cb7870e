package batch

import "time"

// event is what happened. Every event carries its time: the machine has no
// clock. The types below are all there are.
type event interface{ when() time.Time }

type (
	outcomeEvent  struct{ Outcome } // Time is set
	proofEvent    struct{ Proof }   // from the Verifier; Time is set
	verifierEnd   struct{ At time.Time }
	probeEvent    struct{ Proof } // from the Prober; Time is set
	probeEnd      struct{ At time.Time }
	baselineEvent struct {
		At        time.Time
		Batch     int
		Baselines map[string]string
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
	lostEvent struct { // the connection, for good
		At  time.Time
		Err error
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

func (e outcomeEvent) when() time.Time   { return e.Time }
func (e proofEvent) when() time.Time     { return e.Time }
func (e verifierEnd) when() time.Time    { return e.At }
func (e probeEvent) when() time.Time     { return e.Time }
func (e probeEnd) when() time.Time       { return e.At }
func (e baselineEvent) when() time.Time  { return e.At }
func (e sentEvent) when() time.Time      { return e.At }
func (e timerEvent) when() time.Time     { return e.At }
func (e confirmEvent) when() time.Time   { return e.At }
func (e interruptEvent) when() time.Time { return e.At }
func (e lostEvent) when() time.Time      { return e.At }
func (e abandonEvent) when() time.Time   { return e.At }

// timerKind says what a timer is for.
type timerKind uint8

const (
	timerReplies  timerKind = iota + 1 // the reply timeout of a batch
	timerPrepare                       // time for the next batch's baseline
	timerSleep                         // the sleep after a batch is over
	timerDeadline                      // of the run
)

// command is what the runner must do, in order: a record is durable before the
// command after it is done.
type command interface{ isCommand() }

type (
	recordCmd struct{ Record }
	actCmd    struct {
		Batch int
		Nodes []string
	}
	baselineCmd struct {
		Batch int
		Nodes []string
	}
	verifyCmd  struct{ Targets []Target }
	probeCmd   struct{ Targets []Target }
	confirmCmd struct{ Pause }
	timerCmd   struct {
		Timer timerKind
		Batch int
		At    time.Time
	}
	haltCmd struct{} // cut short what sends or prepares to send: act, baseline, probe, confirm
	endCmd  struct{} // the run is over
)

func (recordCmd) isCommand()   {}
func (actCmd) isCommand()      {}
func (baselineCmd) isCommand() {}
func (verifyCmd) isCommand()   {}
func (probeCmd) isCommand()    {}
func (confirmCmd) isCommand()  {}
func (timerCmd) isCommand()    {}
func (haltCmd) isCommand()     {}
func (endCmd) isCommand()      {}
