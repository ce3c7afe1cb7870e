package gate

import "strings"

// shellWord is a word of a command line, without its quotes, or an operator.
type shellWord struct {
	text       string
	operator   bool // ; & | ( ) or a line's end: another command follows
	redirected bool // a file that output goes to, no argument
}

// shellWords takes a command line apart as a shell does. Nothing is expanded: a word with a variable stays as it is.
func shellWords(line string) []shellWord {
	var words []shellWord
	var word strings.Builder
	open, redirected := false, false // a word has begun; output goes to the next one
	end := func() {
		if open {
			words = append(words, shellWord{text: word.String(), redirected: redirected})
			redirected = false
		}
		word.Reset()
		open = false
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t':
			end()
		case '\n', ';', '&', '|', '(', ')':
			end()
			if c == '&' && i > 0 && (line[i-1] == '>' || line[i-1] == '<') {
				continue // as in 2>&1: what follows names a stream
			}
			redirected = false
			words = append(words, shellWord{text: string(c), operator: true})
		case '<', '>':
			end()
			redirected = c == '>'
		case '\\':
			if i++; i < len(line) && line[i] != '\n' {
				word.WriteByte(line[i])
				open = true
			}
		case '\'', '"':
			open = true
			for i++; i < len(line) && line[i] != c; i++ {
				if c == '"' && line[i] == '\\' && i+1 < len(line) && strings.IndexByte("$`\"\\", line[i+1]) >= 0 {
					i++
				}
				word.WriteByte(line[i])
			}
		default:
			word.WriteByte(c)
			open = true
		}
	}
	end()
	return words
}
