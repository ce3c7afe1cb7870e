package discovery

import (
	"fmt"
	"strings"
)

// anyCase rewrites a regex so that PuppetDB's database matches it in any case: a letter x becomes [xX] (docs/protocol.md,
// discovery, puppetdb). Choria does so to every letter, also to those of \d and of [a-z], which then mean
// something else; here escapes stay, and classes get the letters of the other case. What the database knows
// otherwise, or not at all, is refused.
func anyCase(flag, text, body string) (string, error) {
	r := caser{rest: strings.TrimPrefix(body, "(?i)")}
	for r.rest != "" {
		if why := r.next(); why != "" {
			return "", cannotAsk(flag, text, why)
		}
	}
	return r.out.String(), nil
}

type caser struct {
	rest string
	out  strings.Builder
}

// take moves n bytes to the output as they are.
func (r *caser) take(n int) {
	r.out.WriteString(r.rest[:n])
	r.rest = r.rest[n:]
}

// next rewrites one element; the result is why it cannot, or "".
func (r *caser) next() string {
	c := r.rest[0]
	switch {
	case c == '\\':
		return r.escape("dDwWsSntr")
	case c == '[':
		return r.class()
	case strings.HasPrefix(r.rest, "(?"):
		if !strings.HasPrefix(r.rest, "(?:") {
			return "groups with (? are not known there, except (?:"
		}
		r.take(3)
	case isLetter(c):
		fmt.Fprintf(&r.out, "[%c%c]", c|0x20, c&^0x20)
		r.rest = r.rest[1:]
	default:
		r.take(1)
	}
	return ""
}

// escape takes a backslash and what it escapes: punctuation, or one of the letters.
func (r *caser) escape(letters string) string {
	if len(r.rest) < 2 {
		return "it ends with a backslash"
	}
	c := r.rest[1]
	if (isLetter(c) || isDigit(c)) && !strings.Contains(letters, string(c)) {
		return fmt.Sprintf(`\%c means something else there`, c)
	}
	r.take(2)
	return ""
}

// class takes a bracket expression, and adds the other case of its letters and ranges.
func (r *caser) class() string {
	r.take(1)
	if strings.HasPrefix(r.rest, "^") {
		r.take(1)
	}
	for first := true; ; first = false {
		switch {
		case r.rest == "":
			return "a [ is not closed"
		case r.rest[0] == ']' && !first:
			r.take(1)
			return ""
		case strings.HasPrefix(r.rest, "[:"):
			end := strings.Index(r.rest, ":]")
			if end < 0 || strings.HasPrefix(r.rest, "[:^") {
				return "[: is not closed, or negated"
			}
			r.take(end + 2)
		case r.rest[0] == '[':
			return "write \\[ for a bracket between brackets"
		case r.rest[0] == '\\':
			if why := r.escape("dws"); why != "" {
				return why
			}
		default:
			if why := r.member(); why != "" {
				return why
			}
		}
	}
}

// member takes one character or one range of a bracket expression.
func (r *caser) member() string {
	from, to, size := r.rest[0], r.rest[0], 1
	if len(r.rest) > 2 && r.rest[1] == '-' && r.rest[2] != ']' {
		to, size = r.rest[2], 3
	}
	if to == '\\' || from >= 0x80 && size == 3 || to >= 0x80 && size == 3 {
		return "a range ends with something else than a plain character"
	}
	if !isLetter(from) && !isLetter(to) {
		if from < 'A' && to > 'A' || from < 'a' && to > 'a' {
			return "a range goes from signs to letters and beyond"
		}
		r.take(size)
		return ""
	}
	if !isLetter(from) || !isLetter(to) || from&0x20 != to&0x20 {
		return "a range mixes letters of both cases, or letters and signs"
	}
	if size == 1 {
		fmt.Fprintf(&r.out, "%c%c", from|0x20, from&^0x20)
	} else {
		fmt.Fprintf(&r.out, "%c-%c%c-%c", from|0x20, to|0x20, from&^0x20, to&^0x20)
	}
	r.rest = r.rest[size:]
	return ""
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
