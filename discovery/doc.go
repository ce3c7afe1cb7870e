// Package discovery turns a filter and a source into nodes: names that are sorted naturally, unique, and
// safe to use as subjects.
//
// It knows node sets (web[01-12].ams,db3), lists of nodes in files, limits and exclusions, and how long to
// wait for the answers of a broadcast. It does not know how a request is sent (see Broadcaster), which
// source the operator wants, or what will be done to the nodes.
//
// Invariants: no list that leaves this package has a blank name, a name twice, or a name that is not a
// node's (white space, wildcards, control characters); no slice of a caller is changed.
package discovery
