// Package fleet connects to the fleet: from the configuration to the identity, the connection and the client, and from
// targets to nodes. Each part is opened when it is first needed, once in a process.
//
// It knows Choria's configuration, credentials, brokers, request signers and sources of nodes. It does not know flags,
// streams or exit codes, and it decides nothing about a run.
package fleet
