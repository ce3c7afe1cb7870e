package secret

import (
	"fmt"
	"io"
)

// Redacted is printed in the place of a secret.
const Redacted = "[redacted]"

// Value is text that must not be shown: every way of printing or encoding it gives [Redacted]. The zero value is the
// empty secret. It is immutable and safe for concurrent use.
type Value struct {
	// text is behind a pointer so that fmt, which cannot call the methods of a value in an unexported field of another
	// package's struct, prints an address and not the secret.
	text *string
}

// New keeps text from being printed.
func New(text string) Value { return Value{text: new(text)} }

// Reveal returns the text itself, for the one place that has to send it.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// Empty reports whether there is nothing to hide.
func (v Value) Empty() bool { return v.Reveal() == "" }

// Equal compares the texts.
func (v Value) Equal(other Value) bool { return v.Reveal() == other.Reveal() }

// String returns [Redacted], also for the empty secret.
func (v Value) String() string { return Redacted }

// GoString returns [Redacted].
func (v Value) GoString() string { return Redacted }

// Format prints [Redacted] for every verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// MarshalJSON encodes [Redacted].
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalText encodes [Redacted], for YAML, XML and slog.
func (v Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
