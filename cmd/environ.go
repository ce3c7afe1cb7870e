package cmd

import (
	"slices"
	"strings"
)

// childEnvironment is environ, of the form NAME=VALUE, without the variables that are secret by their names. Programs
// that are started for the operator (the site's login, gates) get it: a token of ours is none of their business.
func childEnvironment(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return secretName(name)
	})
}

// secretName reports whether a name says that its value is a secret: it holds token, password, passphrase or secret,
// or has key, pass or psk as a word.
func secretName(name string) bool {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return slices.ContainsFunc(words, func(word string) bool {
		for _, part := range []string{"token", "password", "passwd", "passphrase", "secret"} {
			if strings.Contains(word, part) {
				return true
			}
		}
		return word == "key" || word == "pass" || word == "psk"
	})
}
