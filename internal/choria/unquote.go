package choria

import (
	"unicode/utf16"
	"unicode/utf8"
)

// simple maps the letter of a two byte escape to its meaning.
var simple = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unquote appends the value of a string that the scanner accepted to out: escapes
// undone, what is not UTF-8 replaced by U+FFFD, one for each wrong byte, as
// encoding/json does. What is UTF-8 does not get longer: out may be raw[:0].
func unquote(out, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		switch {
		case c == '\\' && raw[i+1] != 'u':
			out = append(out, simple[raw[i+1]])
			i += 2
		case c == '\\':
			r, n := codePoint(raw[i:])
			out = utf8.AppendRune(out, r)
			i += n
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			r, n := utf8.DecodeRune(raw[i:])
			out = utf8.AppendRune(out, r)
			i += n
		}
	}
	return out
}

// codePoint reads a \u escape, or two that form a surrogate pair, and returns
// its length. Half a pair becomes U+FFFD, and what follows it stands for itself.
func codePoint(raw []byte) (r rune, n int) {
	r = codeUnit(raw)
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if pair := utf16.DecodeRune(r, codeUnit(raw[6:])); pair != utf8.RuneError {
		return pair, 12
	}
	return utf8.RuneError, 6
}

// codeUnit returns the value of the \u escape that raw begins with, or -1.
func codeUnit(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range raw[2:6] {
		r = r<<4 | hexDigit(c)
	}
	return r
}
