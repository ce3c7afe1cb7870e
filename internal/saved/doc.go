// Package saved keeps a plan in a file. One operator makes the plan, others read and approve it, and one operator applies
// it. The file has the plan, its digest, the owner's signature and the approvals (docs/adr/0040-saved-plans.md,
// 0041-approvals.md).
//
// It knows files and signatures. It asks no node and executes nothing. The run that applies the plan decides whether nodes
// have drifted, and whether the guards pass.
//
// Invariants:
//
//   - A plan has exactly one text, apart from white space between tokens. A file with any other text is refused, even when
//     it means the same: no reader may see a plan that differs from the one that fleetctl applies.
//   - The digest covers all of the plan. Signatures cover the digest, and with it the plan's id, which is applied once.
//   - A plan holds no secret.
//   - Write never replaces a file. An approval is added only while the file still holds the plan that was approved.
//   - An approval that cannot be verified does not count. It does not make the plan invalid.
package saved
