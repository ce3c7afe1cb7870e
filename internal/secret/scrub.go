package secret

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Scrubber replaces the secrets that it was given by [Redacted] in text of others: a server's message may quote what it
// was sent. The zero value replaces nothing. Add before it is used; then it is safe for concurrent use.
type Scrubber struct{ texts [][]byte }

// shortest is the length in bytes below which a secret is not looked for: replacing every "a" would hide the message
// instead.
const shortest = 4

// Add makes the scrubber replace these secrets, as they are, and as JSON and Go write them between quotes.
func (s *Scrubber) Add(values ...Value) {
	for _, v := range values {
		text := v.Reveal()
		if len(text) < shortest {
			continue
		}
		s.add([]byte(text))
		if quoted, err := json.Marshal(text); err == nil {
			s.add(quoted[1 : len(quoted)-1])
		}
		quoted := strconv.Quote(text) // as log/slog writes it, in text and, except for what is rare, in JSON
		s.add([]byte(quoted[1 : len(quoted)-1]))
	}
}

func (s *Scrubber) add(text []byte) {
	if !slices.ContainsFunc(s.texts, func(known []byte) bool { return bytes.Equal(known, text) }) {
		s.texts = append(s.texts, text)
	}
}

// Bytes returns data without the secrets: data itself when it holds none.
func (s *Scrubber) Bytes(data []byte) []byte {
	for _, text := range s.texts {
		if bytes.Contains(data, text) {
			data = bytes.ReplaceAll(data, text, []byte(Redacted))
		}
	}
	return data
}

// Text returns message without the secrets.
func (s *Scrubber) Text(message string) string {
	for _, text := range s.texts {
		message = strings.ReplaceAll(message, string(text), Redacted)
	}
	return message
}

// Writer returns a writer that scrubs each write before it reaches w, for logs, whose writes are whole lines.
func (s *Scrubber) Writer(w io.Writer) io.Writer { return scrubWriter{w, s} }

type scrubWriter struct {
	w io.Writer
	s *Scrubber
}

// Write implements io.Writer.
func (w scrubWriter) Write(p []byte) (int, error) {
	if _, err := w.w.Write(w.s.Bytes(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
