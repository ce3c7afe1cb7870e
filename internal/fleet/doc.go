// Package fleet is the way to the fleet: configuration to identity to connection to client, each opened when it is
// first needed and once a process, and from targets to nodes.
//
// It knows Choria's configuration, credentials, brokers, request signers and sources of nodes. It does not know flags,
// streams or exit codes, and it decides nothing about a run.
package fleet
