package config

import (
	"regexp"
	"strings"

	"fleetctl/internal/secret"
)

const redacted = secret.Redacted

// Secret is the type of values that must not be shown.
type Secret = secret.Value

var userInfo = regexp.MustCompile(`://[^/@\s,]*@`)

// display is a value as it may be shown: nothing of a key that names a password, and no user
// information of a URL.
func display(key, text string) string {
	if secretKey(key) && text != "" {
		return redacted
	}
	return userInfo.ReplaceAllString(text, "://"+redacted+"@")
}

// secretKey recognises keys whose value is a password, also ones that only servers and brokers use.
func secretKey(key string) bool {
	last := strings.ToLower(key[strings.LastIndexByte(key, '.')+1:])
	switch last {
	case "pass", "token", "secret":
		return true
	}
	return strings.Contains(last, "password") || strings.Contains(last, "passwd") || strings.HasSuffix(last, "_secret")
}
