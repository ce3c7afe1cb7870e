// Package secret keeps secrets from being shown: the type of a secret value, the names that carry one, where its text may
// come from, and the scrubber that takes secrets out of the text of servers, signers and libraries.
//
// It does not know flags, agents' inputs or the environment: names and streams are handed in. Invariants: the
// name alone decides what is secret, in any case and with any separators; no error quotes what was read.
package secret
