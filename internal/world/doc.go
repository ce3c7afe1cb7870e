// Package world is the simulated fleet that judges the whole engine. It holds tests only.
//
// A case is the product's own engine, proof, client and journal over simulated brokers and nodes, in virtual time and
// without sockets. Each node keeps a log of what it really received and did, and of why each of its processes started
// and ended. One judge compares that truth with what the product recorded: no node acted twice, no proof is false, no
// stop rule was passed, and one resume and one retry settle every node once all faults have ended.
//
// A case is made from a seed, or written by hand for a fault that was seen on a real network. A failure prints the seed,
// the command that runs it again, and a timeline: a line an event, in virtual time.
//
// Limits. Goroutines that wake at the same virtual instant run in any order, so a seed fixes the schedule but not every
// interleaving; delays are made distinct to keep that rare. The monotonic and the wall
// clock of a case cannot be set apart: a suspended machine is one whose messages and journal writes wait until it wakes
// while both clocks run; the two readings of elapsed time are tested where they are made, in package batch.
package world
