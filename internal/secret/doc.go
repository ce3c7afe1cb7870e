// Package secret keeps secrets from being shown: the type of a secret value, the names that carry one, where its text may
// come from, and the scrubber that takes secrets out of what servers, signers and libraries say.
//
// It knows nothing of flags, of agents' inputs or of the environment: names and streams are handed in. Invariants: a
// name decides alone, whatever its case and whatever separates its words; no error quotes what was read.
package secret
