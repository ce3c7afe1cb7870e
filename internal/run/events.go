package run

import (
	"time"

	"fleetctl/batch"
	"fleetctl/internal/ddl"
	"fleetctl/internal/proof"
	"fleetctl/rpcclient"
)

// Reporter gets the events of a run, in order, never from two goroutines at once. It must not block for long: the engine
// waits for it. An error of Planned, Forwarded, Answered and Finished means that the result was not written; errors of
// the others are kept for that.
type Reporter interface {
	Report(e Event) error
}

// Event is one thing that happened. The types below are all there are.
type Event interface{ event() }

type (
	// SecretTyped: a secret stands on the command line, where process lists and histories show it. Practice fleets have none.
	SecretTyped struct{ Key string }

	// Prepared: the request is checked, and the network comes next.
	Prepared struct {
		Agent     string
		Action    *ddl.Action
		Proves    proof.Action // 0: nothing
		Changes   bool         // the action changes something
		Dangerous bool         // the action stops, restarts or replaces servers
	}

	// Searching: nodes are looked for.
	Searching struct {
		Method string
		Piped  bool // they come from stdin, where another program may print too
	}

	// Found: the nodes are known, after limits; or Err says why not.
	Found struct {
		Method string
		Nodes  int
		Took   time.Duration
		Err    error
	}

	// Proposed: the operator is about to be asked about this plan.
	Proposed struct{ Proposal }

	// Planned: the dry run ends here.
	Planned struct{ Proposal }

	// Began: the engine takes over, at the beginning of a run or in its middle.
	Began struct {
		ID       string // of the run's record, "" without one
		Site     string // of the settings, "" for none
		Progress batch.Progress
		// Links is since when the engine reports the connection: what happened before was reported by the fleet.
		Links time.Time
	}

	// Recorded: the engine's record is durable. Progress includes it.
	Recorded struct {
		Record   batch.Record
		Progress batch.Progress
	}

	// Asking: the operator is about to be asked whether the next batch is sent.
	Asking struct {
		Step    batch.Step
		Details bool // every node of the last batch on which the action did not succeed
	}

	// Noted: something that the operator should know.
	Noted struct {
		Level Level
		Text  string
	}

	// Forwarded: the request was sent, and its replies go to another subject.
	Forwarded struct{ Request string }

	// Answered: a service replied.
	Answered struct {
		Reply rpcclient.Reply
		Start time.Time
	}

	// Finished: the run has ended, or there was nothing to resume.
	Finished struct{ Result }
)

// Level reports how a note begins.
type Level string

// The levels of Noted.
const (
	Warning Level = "warning"
	Hint    Level = "hint"
	Plain   Level = ""
)

// Proposal is a plan as the operator sees it.
type Proposal struct {
	Agent, Action string
	Plan          batch.Plan
	Estimate      batch.Estimate
	Modes         batch.Estimates // the same nodes in batches, and in a window
	Guards        []string        // what holds the run back, one sentence each
	Refusals      []Refusal       // in a dry run: the guards that would not let it pass
}

// Refusal is a guard's, with its reason.
type Refusal struct{ Guard, Reason string }

// Result is the result of a run.
type Result struct {
	Summary  batch.Summary
	ID       string           // of its record, "" without one
	Strays   rpcclient.Strays // replies that were rejected
	Signal   error            // the cause of the interruption, where there was one
	Unsigned error            // why the request signer did not sign, where it did not
	Fix      string           // what to do about that
	Publish  time.Duration    // how long all publishing took
	Behind   time.Duration    // how far this process was behind the network at most, when a wait for replies was over
	Dropped  int              // messages that arrived and did not fit: replies may be among them
	Next     Next             // the commands that are offered
	Lost     bool             // the run was shared, and this process has lost it: another operator may have adopted it
}

// NothingSent reports that no node was sent to because the request signer did not sign.
func (r Result) NothingSent() bool {
	return r.Unsigned != nil && r.Summary.States.Of(batch.NotSent) == r.Summary.Nodes
}

// Result is what a service's reply comes to.
func (a Answered) Result() Result {
	verdict := batch.Failed
	if a.Reply.OK() {
		verdict = batch.Done
	}
	return Result{Summary: batch.Summary{Verdict: verdict}}
}

func (SecretTyped) event() {}
func (Prepared) event()    {}
func (Searching) event()   {}
func (Found) event()       {}
func (Proposed) event()    {}
func (Planned) event()     {}
func (Began) event()       {}
func (Recorded) event()    {}
func (Asking) event()      {}
func (Noted) event()       {}
func (Forwarded) event()   {}
func (Answered) event()    {}
func (Finished) event()    {}
