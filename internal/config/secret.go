package config

import (
	"regexp"
	"sync"

	"fleetctl/internal/secret"
)

const redacted = secret.Redacted

var userInfo = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`://[^/@\s,]*@`) })

// display is a value as it may be shown: no part of a key that names a secret, and no user
// information of a URL.
func display(key, text string) string {
	if secret.Key(key, text) && text != "" {
		return redacted
	}
	return userInfo().ReplaceAllString(text, "://"+redacted+"@")
}
