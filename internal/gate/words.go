package gate

import (
	"strings"
	"unicode/utf8"

	"fleetctl/internal/plain"
)

// maxReason is how many characters of what a gate says are kept.
const maxReason = 300

// Scrub takes secrets out of text; nil takes none out.
type Scrub func(text string) string

// words makes what a gate says fit to be shown: without secrets, on one line, harmless, and not too long. It must get
// the text whole: a secret that was cut is not found any more.
func (s Scrub) words(text string) string {
	if s != nil {
		text = s(text)
	}
	text = plain.Line(strings.TrimSpace(text))
	if utf8.RuneCountInString(text) > maxReason {
		text = string([]rune(text)[:maxReason-3]) + "..."
	}
	return text
}
