// Package inventory asks nodes what they are: rpcutil replies become a typed node, many of them become a report on the
// fleet.
//
// It knows the payloads of rpcutil's inventory, daemon_stats, collective_info and get_fact (docs/protocol.md, utility
// agents), and what a wrong one looks like. It does not know how a request travels, how long to wait (the caller's
// context says) or how anything is shown.
//
// Invariants: a value is either what the node said or an error that names the action and the field, never a zero that
// looks like an answer; reports count each node once, and do not depend on the order of the replies.
package inventory
