package plain

import "strings"

// Words writes a command as it can be typed: each word is quoted for a POSIX shell where it needs that.
func Words(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Word(w)
	}
	return strings.Join(quoted, " ")
}

// Word is a text as one word of a POSIX shell. The mark of a secret that is not shown, as in token=[redacted], stays as it
// is: it has to be replaced anyway.
func Word(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./,:+=@%", r)
	}
	if s != "" && strings.IndexFunc(strings.TrimSuffix(s, "[redacted]"), func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
