// Package security knows our identity and which others to trust: it opens the
// operator's certificate or token, seals requests, answers the broker's
// challenge, sets TLS up, and checks the signatures of replies. For the
// simulated fleet it knows the other side too: verifying requests, signing
// replies, issuing tokens. The facts come from docs/protocol.md (signing and
// verification; TLS per security provider; provisioning JWT).
//
// It does not know where settings come from (that is config's), nor how messages
// are sent: it opens only HTTP connections to a configured request signer or
// login service, and only in Seal and LogIn.
//
// Invariants:
//
//   - Every fault of a credential is found by [Open], before any network, and
//     is a [CredentialError] that names the file and has a hint.
//   - No token, seed or key text is ever part of an error, a warning or a
//     String.
//   - The broker's certificate is verified, by the configured CA or the
//     system's roots, unless Options.InsecureBroker is set.
//   - One Seal makes one signature over exactly the given bytes, or gets a signed
//     request with the same meaning from the remote signer.
//   - The certificates of request signer and login service are verified, unless
//     Options.InsecureSigner is set.
//   - A login that fails leaves token and seed as they were.
//   - A token is accepted only for its purpose: a client's token signs no
//     reply, a server's token makes no request.
package security
