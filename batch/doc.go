// Package batch plans, decides, runs and resumes dangerous work on many nodes.
//
// It knows nodes by name, batches by number, and nothing of Choria: what an
// action is, how it is sent and how it is proved done stand behind [Actor],
// [Verifier] and [Prober]; where records are kept behind [Journal]; who looks
// on behind [Observer]. It never sees the inputs of the action, so no secret
// can reach a record.
//
// The parts, from pure to not:
//
//   - [NewPlan] and [Retry] split nodes into batches. Pure.
//   - [Decide] is the one place where stop rules are judged. Pure.
//   - the ledger holds the state of every node. Only its apply method changes a
//     state, from a [Record]; a running run and a replayed one go the same way.
//   - the machine turns events into commands. No I/O and no clock of its own.
//   - [Runner] does the commands in order, in one goroutine.
//
// Invariants:
//
//   - Every planned node is in exactly one of nine states; the counts add up.
//   - The intent of a batch is durable before the batch is handed to the Actor.
//   - An outcome is observed only after it is recorded.
//   - A node is in one batch. It moves to another only when a probe proved that
//     the first request never touched it.
//   - After a stop no batch is handed to the Actor.
//
// Batches are numbered from 1; 0 means none.
package batch
