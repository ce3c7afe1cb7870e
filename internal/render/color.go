package render

import (
	"strings"

	"fleetctl/internal/plain"
)

type color string

const (
	red    color = "\x1b[31m"
	green  color = "\x1b[32m"
	yellow color = "\x1b[33m"
	bold   color = "\x1b[1m"
)

func (c color) paint(on bool, s string) string {
	if !on || s == "" {
		return s
	}
	return string(c) + s + "\x1b[0m"
}

// clean makes text from outside harmless: a reply cannot move the cursor or repaint the screen. Newlines and tabs stay.
func clean(s string) string { return plain.Text(s) }

// oneLine is clean text without line breaks.
func oneLine(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }
