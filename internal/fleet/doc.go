// Package fleet connects to the fleet: from the configuration to the identity, the connection and the client, and from
// targets to nodes. Each part is opened when it is first needed, and once per Fleet.
//
// It knows Choria's configuration, credentials, brokers, request signers and sources of nodes. It parses no
// flags, knows no streams and no exit codes, and makes no decision about a run.
package fleet
