package batch

import "fmt"

// phase is where a run is. The next phase follows from what is known, in
// machine.next; machine.enter is the one place where it changes, and does what
// begins with the new one. What goes on in any phase (late replies, proof, the
// deadline, the connection) is not part of it.
type phase uint8

const (
	phaseRecovering phase = iota + 1 // proof and probes of what an earlier process left open
	phasePreparing                   // before a batch: waits for the connection, the end of a pause or a sleep, open proofs
	phaseConsent                     // the operator is asked whether to go on
	phaseBaseline                    // the batch's nodes are asked how they are
	phaseSending                     // Act is at work
	phaseCollecting                  // replies are waited for
	phaseProving                     // replies are in: proof is waited for
	phaseSleeping                    // the batch is over: the rest of its sleep
	phaseEnding                      // nothing more is sent: what is in flight is waited for
	phaseEnded
	phaseEnd
)

var phaseWords = [phaseEnd]string{"unset", "recovering", "preparing", "asking consent", "baseline", "sending", "collecting",
	"proving", "sleeping", "ending", "ended"}

// String returns the phase's word; it is total.
func (p phase) String() string {
	if p < phaseEnd {
		return phaseWords[p]
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// follows lists the phases that may come after one.
var follows = [phaseEnd][]phase{
	0:               {phaseRecovering},
	phaseRecovering: {phasePreparing, phaseEnding},
	phasePreparing:  {phaseConsent, phaseBaseline, phaseSending, phaseEnding},
	phaseConsent:    {phasePreparing, phaseEnding},
	phaseBaseline:   {phasePreparing, phaseSending, phaseEnding},
	phaseSending:    {phaseCollecting},
	phaseCollecting: {phaseProving, phaseEnding},
	phaseProving:    {phaseSleeping, phaseEnding},
	phaseSleeping:   {phasePreparing, phaseEnding},
	phaseEnding:     {phaseEnded},
}
