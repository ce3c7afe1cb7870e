// Package lab is a practice fleet in one process: a real NATS server on loopback,
// throwaway credentials, and simulated Choria servers that speak the real protocol.
//
// It knows what a broker lets a client do, what a server checks before it answers, and
// what the agents of a stock server do, dangerous actions included. It does not depend
// on fleetctl's client code: it accepts what a real network accepts, and the real choria client
// works with it.
//
// Invariants: a request is checked in the order of a real server (docs/protocol.md,
// server receive pipeline) and a request that fails gets no reply. A node replies first and
// acts later. Every delay is a timer of package time, so that the lab runs in virtual
// time. A node has subscriptions at the broker exactly while it is connected, so that the
// broker reports absent nodes. Equal options make equal fleets. The caller of Start ends the lab with Close,
// which leaves no goroutine behind.
package lab
