// Package config reads the configuration that an operator already has: Choria's own client
// configuration files, with the search order, line format, value types, drop-in directory,
// project files and environment overrides that the choria client uses (docs/protocol.md, client
// configuration), and fleetctl's own small settings file.
//
// It knows which keys matter to a client, their defaults, and where each value came from. It does
// not know what the values are for: credentials are not opened, hosts are not looked up, and the
// path and the variables are handed in, never read from the process.
//
// Invariants: the result is what the choria client would use for the same files, even when that
// client ignores a bad value; each such value is named in Config.Warnings. A password is a
// secret.Value and appears in no warning, error or printed form.
package config
