// Package lease is what several operators share on the fleet's own JetStream: locks with a holder, budgets of nodes that
// are down, and mirrors of runs.
//
// It knows keys and values in buckets, how a key is taken, renewed, lost and given back, and when a holder may still act. It
// does not know runs or nodes beyond what such a value shows. It sends nothing to nodes.
//
// Three facts rule it (docs/shared.md):
//   - A read may be old, and the refusal of a write is no evidence that another holds the key: only the nonce in the value,
//     read from the leader, is.
//   - A write without an answer may have landed.
//   - The time to live of a request is the fence: a request that was sealed cannot act later than that, so a holder that
//     seals only while its lease has so long to run cannot act beside the next holder.
package lease
