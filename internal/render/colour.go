package render

import (
	"strings"
	"unicode"
)

type colour string

const (
	red    colour = "\x1b[31m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	bold   colour = "\x1b[1m"
)

func (c colour) paint(on bool, s string) string {
	if !on || s == "" {
		return s
	}
	return string(c) + s + "\x1b[0m"
}

const hexDigits = "0123456789abcdef"

// clean makes control characters visible, so that a reply cannot move the cursor or repaint the screen. Newlines and
// tabs stay.
func clean(s string) string {
	if strings.IndexFunc(s, hostile) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !hostile(r):
			b.WriteRune(r)
		case r <= 0xff:
			b.WriteString(`\x` + string(hexDigits[r>>4]) + string(hexDigits[r&0xf]))
		default:
			b.WriteString(`\u` + string(hexDigits[r>>12&0xf]) + string(hexDigits[r>>8&0xf]) + string(hexDigits[r>>4&0xf]) + string(hexDigits[r&0xf]))
		}
	}
	return b.String()
}

// hostile names the runes that change how a terminal shows what follows: controls and bidirectional overrides.
func hostile(r rune) bool {
	if r == '\n' || r == '\t' {
		return false
	}
	return unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// oneLine is clean text without line breaks.
func oneLine(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }
