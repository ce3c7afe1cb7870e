// Package batch plans, decides, runs and resumes dangerous work on many nodes.
//
// It knows nodes by name and batches by number. It does not know Choria. Its callers
// implement the interfaces that it declares: an [Actor] sends the action, a [Verifier]
// and a [Prober] prove it, a [Gatekeeper] asks the gates between batches, a [Journal]
// keeps the records, an [Observer] prints them. The package never sees the inputs of
// the action, so no secret can reach a record.
//
// The parts, pure ones first:
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
//     (recovering, running, asking consent, ending, ended), and each batch in flight
//     is in one stage (asking, leaving, collecting, proving). In mode barrier one
//     batch is in flight; in mode rolling as many as the window has slots for. The
//     machine does no I/O and has no clock.
//   - [Runner] executes the commands in order, in one goroutine.
//
// Invariants:
//
//   - Every planned node is in exactly one of ten states; the counts add up.
//   - The intent of a batch is durable before the batch is handed to the Actor.
//   - An outcome reaches the Observer only after it is recorded.
//   - A node gets another request only when all earlier ones of the chain certainly
//     reached nothing: they never left, the broker had no subscriber for the node,
//     or a probe proved the node untouched.
//   - After a stop, while the run is paused and while the connection is lost no
//     batch is handed to the Actor. After the connection is back, the next batch is
//     handed over only when its baselines are in.
//   - A window never has more nodes in flight than slots, nor more with one value of
//     a fact than Policy.MaxPer allows. Nodes sent to before a resume count.
//   - Stop rules count what happened since the last start or resume.
//
// Batches are numbered from 1; 0 means none.
package batch
