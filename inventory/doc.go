// Package inventory takes an inventory of nodes: replies of rpcutil become typed nodes, and many nodes become a report on
// the fleet.
//
// It knows the payloads of rpcutil's inventory, daemon_stats, collective_info and get_fact (docs/protocol.md, utility
// agents), and rejects malformed ones. It does not know how a request is sent, how long to wait (the caller's context
// decides) or how anything is printed.
//
// Invariants: a value is what the node reported, or an error that names the action and the field; it is never a zero that
// looks like an answer. A report counts each node once, and does not depend on the order of the replies.
package inventory
