// Package choria knows the bytes of the Choria protocol, versions 1 and 2, in
// both directions: the layers of a message (transport, secure request or reply,
// request or reply, RPC body), the wire form of filters, subjects, identifiers
// and lifecycle events. The facts come from docs/protocol.md.
//
// It does no I/O, knows no keys and checks no signature: it returns the exact
// bytes that were signed, and package security checks them. Only the hash of a
// reply is checked here, because it is part of the format.
//
// Invariants:
//
//   - A real server accepts what is encoded here: requests are checked by the
//     rules of its schemas, because it drops others without an answer.
//   - Requests are decoded strictly, as a server does; everything else only as
//     strictly as its meaning needs. Unknown keys are tolerated everywhere.
//   - Keys match exactly, the last of repeated keys wins, null is the same as
//     an absent key (unless a server refuses it).
//   - Decoded byte slices may share memory with the input, which must not be
//     changed as long as they are in use.
//   - Everything is safe for concurrent use: there is no state.
package choria
