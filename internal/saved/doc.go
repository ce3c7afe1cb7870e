// Package saved keeps a plan in a file, so that one operator makes it, others read and approve it, and one applies it: the
// document, its digest, who signed it and who approved it (docs/adr/0040-saved-plans.md, 0041-approvals.md).
//
// It knows files and signatures. It asks no node, and executes nothing: whether nodes have drifted, and whether guards let
// the plan pass, is for the run that applies it.
//
// Invariants:
//
//   - A file has one way to be written, byte for byte but for white space: what says the same in another way is refused, so
//     that no reader sees another plan than fleetctl.
//   - The digest covers all of the plan. Signatures cover the digest, and with it the plan's id, which is applied once.
//   - A plan holds no secret.
//   - Writing never replaces a file; an approval is added to a file that has not changed meanwhile.
//   - An approval that cannot be verified does not count; it is never an error of the plan.
package saved
