package config

import (
	"fmt"
	"io"
	"regexp"

	"fleetctl/internal/secret"
)

const redacted = "[redacted]"

// Secret is text that must not be shown: every way of printing or encoding it gives "[redacted]".
// The zero value is the empty secret. It is immutable and safe for concurrent use.
type Secret struct {
	// text is behind a pointer so that fmt, which cannot call the methods of a value in an
	// unexported field of somebody else's struct, prints an address and not the secret.
	text *string
}

// NewSecret keeps text from being printed.
func NewSecret(text string) Secret { return Secret{text: new(text)} }

// Reveal returns the text itself, for the one place that has to send it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is nothing to hide.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// Equal compares the texts.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String returns "[redacted]", also for the empty secret.
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format prints "[redacted]" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON encodes "[redacted]".
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText encodes "[redacted]", for YAML, XML and slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

var userInfo = regexp.MustCompile(`://[^/@\s,]*@`)

// display is a value as it may be shown: nothing of a key that names a secret, and no user
// information of a URL.
func display(key, text string) string {
	if secret.Key(key, text) && text != "" {
		return redacted
	}
	return userInfo.ReplaceAllString(text, "://"+redacted+"@")
}
