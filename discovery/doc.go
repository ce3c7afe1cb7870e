// Package discovery turns a filter and a source into nodes: names that are sorted naturally, unique, and
// safe to use as subjects.
//
// It knows the sources (the network, PuppetDB, lists in files, inventory files, external programs) and which of
// them flags and configuration choose. It also knows node sets (web[01-12].ams,db3), limits and exclusions. It does not know how a request
// is sent (see Broadcaster), where configuration and credentials come from, or what the nodes are for.
//
// Invariants: no returned list has a blank name, a repeated name, or a name that a node cannot have (white space,
// wildcards, control characters); no slice or map of a caller is changed; stdin is read only when "-" was given;
// only the network source sends anything to a node.
package discovery
