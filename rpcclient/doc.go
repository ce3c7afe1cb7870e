// Package rpcclient sends one request to Choria servers and collects their replies.
//
// It knows how a request is sealed, published and answered: direct requests (one publish a node, the same
// bytes and one signature for all of them), discovery broadcasts and service requests, and which replies are
// accepted. A reply counts when its request id is one that this client sent, its sender is a node that was asked
// and has not answered yet, its hash is right and, where the organization's issuer is known, its signature is
// that node's. All other messages are counted as strays and never reach the caller.
//
// It does not know flags, batches, agents' documents, NATS or keys: the connection and the identity are
// interfaces that it declares. It sets no deadlines: the caller's context ends every wait.
package rpcclient
