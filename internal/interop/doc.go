// Package interop holds no product code, only tests: fleetctl against the real Choria.
//
// It knows how to bring up a small network of real brokers and servers on loopback, for protocol v1 (x509) and v2
// (organization issuer and tokens), and how to run the real client and ours side by side. It knows nothing of how
// fleetctl is built: it starts the finished binary and reads what it prints, as a script would.
//
// The tests run when a choria binary is on the PATH or is named in the variable CHORIA, and are skipped, saying so,
// when there is none. Every process has its own folder below the test's temporary directory, listens on a loopback
// port that was free, and is ended with the test.
package interop
