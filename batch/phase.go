package batch

import "fmt"

// phase is where a run is. The next phase follows from what is known, in
// machine.next; machine.enter is the one place where it changes, and does what
// begins with the new one. What happens in every phase (batches on their way, late
// replies, proof, the deadline, the connection) is not part of it.
type phase uint8

const (
	phaseRecovering phase = iota + 1 // proof and probes of what an earlier process left open
	phaseRunning                     // batches are begun as there is room for them
	phaseConsent                     // the operator is asked whether to go on
	phaseEnding                      // nothing more is sent: what is in flight is waited for
	phaseEnded
	phaseEnd
)

var phaseWords = [phaseEnd]string{"unset", "recovering", "running", "asking consent", "ending", "ended"}

// String returns the phase's word; it works for every value.
func (p phase) String() string {
	if p < phaseEnd {
		return phaseWords[p]
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// follows lists the phases that may come after one.
var follows = [phaseEnd][]phase{
	0:               {phaseRecovering},
	phaseRecovering: {phaseRunning, phaseEnding},
	phaseRunning:    {phaseConsent, phaseEnding},
	phaseConsent:    {phaseRunning, phaseEnding},
	phaseEnding:     {phaseEnded},
}

// stage is where one batch is on its way. machine.advanceFlight leads from one to
// the next.
type stage uint8

const (
	stageAsking     stage = iota + 1 // its nodes are asked how they are; then it waits for its turn
	stageLeaving                     // Act is at work
	stageCollecting                  // replies are waited for
	stageProving                     // replies are in: proof is waited for
	stageEnd
)

var stageWords = [stageEnd]string{"unset", "asking", "leaving", "collecting", "proving"}

// String returns the stage's word; it works for every value.
func (s stage) String() string {
	if s < stageEnd {
		return stageWords[s]
	}
	return fmt.Sprintf("stage(%d)", uint8(s))
}
