// Package security knows the operator's identity and the identities to trust. It
// opens the operator's certificate or token, signs requests ([Identity.Seal]),
// answers the broker's challenge, sets up TLS, and checks the signatures of
// replies. For the simulated fleet it also does the work of servers: it verifies
// requests, signs replies and issues tokens. The facts come from docs/protocol.md (signing and
// verification; TLS per security provider; provisioning JWT).
//
// It does not know where settings come from (internal/config does), nor how
// messages are sent. It opens no connection except HTTP to a configured request
// signer (in Seal) or login service (in LogIn).
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
