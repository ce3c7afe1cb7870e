// Package world is the simulated fleet that judges the whole engine. It holds tests only.
//
// A case is the product's own engine, proof, client and journal over simulated brokers and nodes, in virtual time and
// without sockets. Each node keeps a log of what it really received and did, and of why each of its processes started
// and ended. One judge compares that log with what the product recorded: no node acted twice, no proof is false, nothing
// was sent after a stop rule, and one resume and one retry settle every node once all faults have ended.
//
// A case of several operators runs their commands, package run with its guards, locks, budget and shared records, over one
// fleet and the brokers' streams. Its judge looks at the nodes and at the ledger at every change: never more is down because
// of requests than the limits allow, a slot is freed by proof alone, two processes never send for one run or one lock at
// overlapping times, and no node acts twice for one run and its adoptions.
//
// A case is made from a seed, or written by hand for a fault that was seen on a real network. A failure prints the seed,
// the command that runs the case again, and a timeline with one line per event, in virtual time.
//
// Limits:
//
//   - Goroutines that wake at the same virtual instant run in any order. So a seed fixes the schedule, but not every
//     interleaving. Delays are made distinct to keep that rare.
//   - The monotonic clock and the wall clock of a case always show the same. The world simulates a suspended machine by
//     holding back its messages and journal writes until it wakes, while both clocks run. Package batch tests what happens
//     when the two clocks differ.
package world
