// Package run executes one run, from the operator's request to the result. It checks the inputs, finds the nodes, plans,
// passes the guards, asks for consent, records, and hands the plan to the engine (package batch). It also resumes and
// retries recorded runs, and saves and applies plans.
//
// It prints nothing: a Reporter gets the events, and an Asker asks the questions. Fleet is the interface to the fleet, so
// that a test can replace it. The package parses no flags and knows no streams, no environment and no exit codes: these
// belong to cmd. Its refusals name flags, because the operator must know which one to type.
//
// Invariants: nothing is sent before every guard has passed; a recorded run has its plan on disk before the
// first request is sent; no secret is in an event, an error or a record.
package run
