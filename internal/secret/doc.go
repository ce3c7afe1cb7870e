// Package secret keeps secrets from being shown: the type of a secret value, where its text may come from, and the
// scrubber that takes secrets out of what servers, signers and libraries say.
//
// It knows nothing of flags, of agents' inputs or of the environment: names and streams are handed in.
package secret
