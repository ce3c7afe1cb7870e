// Package gate implements gates: checks between two batches that decide whether a run may send the next one. A gate is a
// command of the operator, or a query to a Prometheus server.
//
// The package knows how an answer becomes one of three verdicts (passed, failed, inconclusive), and how verdicts over time
// become a decision. A [Keeper] gets a batch.Moment, which describes the state of the run, and reports one batch.GateRound
// for each look at all gates, until a round decides. The package does not know records or terminals: the engine (package
// batch) pauses, records and stops the run.
//
// Invariants:
//
//   - An answer that is missing or cannot be judged is inconclusive. It never passes.
//   - A command and its children are killed when its time limit is over or the context ends.
//   - A command gets no environment variable that is secret by its name or by its value, and no open file of this process.
//   - The output of a gate is bounded in length, without secrets, and harmless to print.
package gate
