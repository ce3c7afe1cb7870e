// Package run is one run: what the operator asks for becomes checked inputs, nodes, a plan, guards, consent, a record
// and the engine's work, and later a resume or a retry of it.
//
// It decides; it prints nothing. What happens is reported as events to a Reporter, questions are put to an Asker, and
// the fleet stands behind the Fleet interface, so that a simulated fleet can take its place. It knows no flags, no
// streams, no environment and no exit codes: those belong to cmd.
//
// Invariants: nothing is sent before every guard has passed; a run that is recorded has its plan on disk before the
// first request leaves; no secret is in an event, an error or a record.
package run
