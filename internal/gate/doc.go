// Package gate asks, between two batches, whether a run may send the next one: a command of the operator's, or a query to
// a Prometheus server. It knows how an answer becomes one of three verdicts, and how verdicts over time become a decision.
//
// It knows no records and no terminals: it gets a moment of the run, and reports rounds until one decides. The engine
// pauses, records and stops.
//
// Invariants:
//
//   - No answer is an answer: what cannot be judged is inconclusive, never a pass.
//   - A command and its children end with its time limit, and with the context.
//   - A command gets no variable that is secret by its name or by its value, and no handle of ours.
//   - What a gate says is bounded, scrubbed of secrets and harmless to show.
package gate
