package secret

import (
	"slices"
	"strings"
	"unicode"
)

// Secret names, as docs/configuration.md lists them. A part makes every word that holds it secret ("new_passwords",
// "authtoken"); a word has to stand alone, since "monkey" and "compass" are no secrets.
var (
	secretParts = []string{"token", "password", "passwd", "passphrase", "secret"}
	secretWords = []string{"key", "pass", "psk"}
	placeWords  = []string{"file", "path", "dir"} // last words of keys that name the place of a secret
	fileWords   = []string{"key", "token"}        // what is also kept in files, so that its value may be a path
)

// Name reports whether the value of an input, a configuration key or a variable of this name is a secret.
func Name(name string) bool {
	return slices.ContainsFunc(words(name), secretWord)
}

// Key is Name for a configuration key, whose value may be the place of the secret instead of the secret. That is so when the
// last word of the key is file, path or dir, or when the key names a key or a token and the value is a path: absolute, or
// beginning with ~, . or .. and a separator. Passwords and the like are secret whatever they look like.
func Key(key, value string) bool {
	all := words(key)
	if len(all) > 0 && slices.Contains(placeWords, all[len(all)-1]) {
		return false
	}
	path := isPath(value)
	return slices.ContainsFunc(all, func(w string) bool {
		return secretWord(w) && !(path && slices.Contains(fileWords, w))
	})
}

func secretWord(word string) bool {
	return slices.Contains(secretWords, word) ||
		slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(word, part) })
}

// words takes a name apart at everything that is neither a letter nor a digit, and where camel case begins a word:
// "plugin.nats.apiKey" is plugin, nats, api, key; "APIKey" is api, key. The words are in lower case.
func words(name string) []string {
	var all []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			all = append(all, strings.ToLower(string(word)))
		}
		word = word[:0]
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end()
			continue
		case unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			end()
		}
		word = append(word, r)
	}
	end()
	return all
}

// isPath reports whether a value can only be meant as a path. A random secret in base64 may begin with a slash: it has
// hardly a second one, or ends in what paths do not have.
func isPath(value string) bool {
	value = strings.TrimSpace(value)
	switch {
	case strings.ContainsAny(value, "=+\n"):
		return false
	case strings.HasPrefix(value, "~/"), strings.HasPrefix(value, "./"), strings.HasPrefix(value, "../"):
		return true
	case len(value) > 2 && value[1] == ':' && (value[2] == '\\' || value[2] == '/') && unicode.IsLetter(rune(value[0])):
		return true
	}
	return strings.HasPrefix(value, "/") && strings.Count(value, "/") > 1
}
