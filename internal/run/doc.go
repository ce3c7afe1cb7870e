// Package run is one run, from the operator's request to the result: checked inputs, nodes, a plan, guards, consent, a
// record and the engine's work. It also resumes and retries recorded runs.
//
// It prints nothing. A Reporter gets the events, an Asker asks the questions, and Fleet is the interface to the fleet, so
// that a test can replace it. It does not know flags, streams, the environment or exit codes: those belong to cmd.
//
// Invariants: nothing is sent before every guard has passed; a recorded run has its plan on disk before the
// first request is sent; no secret is in an event, an error or a record.
package run
