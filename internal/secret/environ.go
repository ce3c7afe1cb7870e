package secret

import (
	"slices"
	"strings"
)

// Environment is environ, of the form NAME=VALUE, without the variables that are secret by their names. Programs that are
// started for the operator (the site's login, --on-event, gates) get it: a token of ours is none of their business.
func Environment(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return Name(name)
	})
}
