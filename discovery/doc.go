// Package discovery turns a filter and a source into nodes: names that are sorted naturally, unique, and
// safe to use as subjects.
//
// It knows the sources (the network, PuppetDB, lists in files, inventories, programs of the site) and which of
// them a wish leads to, node sets (web[01-12].ams,db3), limits and exclusions. It does not know how a request
// is sent (see Broadcaster), where configuration and credentials come from, or what will be done to the nodes.
//
// Invariants: no list that leaves this package has a blank name, a name twice, or a name that is not a
// node's (white space, wildcards, control characters); no slice or map of a caller is changed; stdin is read
// only when "-" was asked for; no source but the network sends anything to a node.
package discovery
