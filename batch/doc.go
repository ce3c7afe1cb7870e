// Package batch plans, decides, runs and resumes dangerous work on many nodes.
//
// It knows nodes by name and batches by number. It does not know Choria: [Actor]
// sends the action, [Verifier] and [Prober] prove it, [Journal] keeps the records,
// [Observer] prints them. It never sees the inputs of the action, so no secret can
// reach a record.
//
// The parts, from pure to not:
//
//   - [NewPlan] and [Retry] split nodes into batches, or make the pool of a rolling
//     window. Pure.
//   - decide judges every stop rule that counts nodes. Pure. The rule about expiring
//     tokens is in machine_tokens.go.
//   - the ledger holds the state of every node, and its attempts: each request to
//     it, of this run or of an earlier one of the chain, with its baseline, its
//     reply, and what proves that it reached the node or did not. A node is judged
//     by its own attempts, never by its batch. Only apply changes the ledger, from
//     a [Record]; a running run and a replayed one use the same code.
//   - the machine turns events into commands. It is in one phase at a time
//     (recovering, running, asking consent, ending, ended), and each batch on its
//     way in one stage (asking, leaving, collecting, proving). A barrier has one
//     batch on its way; a window as many as it has slots for. No I/O and no clock
//     of its own.
//   - [Runner] executes the commands in order, in one goroutine.
//
// Invariants:
//
//   - Every planned node is in exactly one of ten states; the counts add up.
//   - The intent of a batch is durable before the batch is handed to the Actor.
//   - An outcome is observed only after it is recorded.
//   - A node gets another request only when all earlier ones of the chain certainly
//     reached nothing: they never left, the broker had no subscriber for the node,
//     or a probe proved the node untouched.
//   - After a stop, while the run is paused and while the connection is lost no
//     batch is handed to the Actor; after the connection is back, not before the
//     batch's baselines are in.
//   - A window never has more nodes in flight than slots, nor more with one value of
//     a fact than Policy.MaxPer allows, nodes sent to before a resume included.
//   - Stop rules count what happened since the last start or resume.
//
// Batches are numbered from 1; 0 means none.
package batch
