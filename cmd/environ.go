package cmd

import (
	"slices"
	"strings"

	"fleetctl/internal/secret"
)

// childEnvironment is environ, of the form NAME=VALUE, without the variables that are secret by their names. Programs
// that are started for the operator (the site's login, gates) get it: they do not need our tokens.
func childEnvironment(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return secret.Name(name)
	})
}
