// Package plain prepares text for people. It makes text from outside harmless (from brokers, nodes, signers, files and
// configurations) before that text reaches a terminal, a document or a log. It also writes a number with its noun, and
// a command as a shell reads it.
//
// It knows the hostile characters: those that change how other text is displayed. It does not know where text comes from
// or where it goes. Invariants: the output is valid UTF-8 without hostile characters; harmless text is returned unchanged,
// without a copy; a JSON document keeps its meaning.
package plain

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Count writes a number with its noun: 1 node, 2 nodes, 3 replies, 4 batches. It knows the plurals of our own messages.
func Count(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "ly"):
		noun = strings.TrimSuffix(noun, "y") + "ies"
	case strings.HasSuffix(noun, "ch"):
		noun += "es"
	default:
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

// Text replaces every hostile character by its number, as in `\x1b` or `\u202e`, and every byte that is not UTF-8 by `\xNN`.
// Newlines and tabs stay.
func Text(s string) string { return replace(s, true) }

// Line is Text for one line: newlines and tabs, too, are shown as `\n` and `\t`.
func Line(s string) string { return replace(s, false) }

// JSON replaces every hostile character of a JSON document by its escape, as in `\u202e`, and what is not UTF-8 by `\ufffd`.
// A decoder reads the same document. Text that is not JSON comes out harmless anyway.
func JSON(doc []byte) []byte {
	first := hostileIn(doc)
	if first < 0 {
		return doc
	}
	out := append(make([]byte, 0, len(doc)+16), doc[:first]...)
	for i := first; i < len(doc); {
		r, n := utf8.DecodeRune(doc[i:])
		switch {
		case !Hostile(r) && (r != utf8.RuneError || n > 1), r == '\r':
			out = append(out, doc[i:i+n]...)
		default:
			out = append(out, escape(r, 4)...) // hostile runes are below U+10000, and U+FFFD is what decoders make of bad bytes
		}
		i += n
	}
	return out
}

// Log is a writer for a log of JSON lines, each of which is one write: they come out harmless.
type Log struct{ W io.Writer }

// Write implements io.Writer.
func (l Log) Write(line []byte) (int, error) {
	if _, err := l.W.Write(JSON(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// hostileIn finds the first byte that JSON has to look at; -1 when there is none.
func hostileIn(doc []byte) int {
	for i, c := range doc {
		if c >= 0x7f || c < ' ' && c != '\n' && c != '\t' && c != '\r' {
			return i
		}
	}
	return -1
}

// Hostile reports whether a character changes how a terminal or a viewer displays the text around it. These are the C0 and
// C1 controls except newline and tab, DEL, the marks and overrides of the bidirectional algorithm, and the line and
// paragraph separators.
func Hostile(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r < ' ' || r >= 0x7f && r <= 0x9f:
		return true
	case r == 0x061c || r == 0x200e || r == 0x200f: // directional marks
		return true
	}
	return r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

func replace(s string, lines bool) string {
	unfit := func(i int, r rune) (hostile bool, size int) {
		size = utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(s[i:])
		}
		return Hostile(r) || r == utf8.RuneError && size == 1 || !lines && (r == '\n' || r == '\t'), size
	}
	var b strings.Builder
	done := 0 // how much of s is in b
	for i, r := range s {
		hostile, size := unfit(i, r)
		if !hostile {
			continue
		}
		b.WriteString(s[done:i])
		done = i + size
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == utf8.RuneError:
			b.WriteString(escape(rune(s[i]), 2))
		case r < 0x80:
			b.WriteString(escape(r, 2))
		default:
			b.WriteString(escape(r, 4))
		}
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

const hexDigits = "0123456789abcdef"

// escape writes a number of so many hexadecimal digits, 2 or 4.
func escape(r rune, digits int) string {
	out := []byte(`\x`)
	if digits == 4 {
		out[1] = 'u'
	}
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		out = append(out, hexDigits[r>>shift&0xf])
	}
	return string(out)
}
