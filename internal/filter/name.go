package filter

import (
	"fmt"
	"regexp"
	"strings"
)

// NameFault reports why text cannot be the name of a node, and is "" when it can. A name has only ASCII letters,
// digits, dots, hyphens and underscores (docs/protocol.md, discovery, flatfile; the underscore is ours), does not
// begin with a hyphen, which would be a flag, and has no empty part between its dots.
func NameFault(text string) string {
	if strings.TrimSpace(text) == "" {
		return "it is blank"
	}
	for _, c := range text {
		if !isNameRune(c) {
			return fmt.Sprintf("%q cannot be in the name of a node, which has only letters, digits, dots, hyphens and underscores", c)
		}
	}
	switch {
	case text[0] == '-':
		return "the name of a node does not begin with a hyphen"
	case text[0] == '.', strings.HasSuffix(text, "."), strings.Contains(text, ".."):
		return "it has an empty part between dots"
	}
	return ""
}

func isNameRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
}

// identityInstead proposes a filter for an identity that cannot be a name.
func identityInstead(text string) string {
	if fact := factInstead(text); fact != "" {
		return fact
	}
	if trimmed := strings.Trim(text, " \t\r\n.'\"`,;"); NameFault(trimmed) == "" {
		return "-I " + shellQuote(trimmed)
	}
	names := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;", r) })
	for i, n := range names {
		if NameFault(n) != "" {
			return "-I " + shellQuote("/^"+regexp.QuoteMeta(text)+"$/")
		}
		names[i] = regexp.QuoteMeta(n)
	}
	return "-I " + shellQuote("/^("+strings.Join(names, "|")+")$/")
}
