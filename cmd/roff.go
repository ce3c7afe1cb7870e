package cmd

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"fleetctl/internal/render"
)

// roff is a man page, in the macros of man(7).
type roff struct{ strings.Builder }

// manWidth is the width of lines that a man page does not fill: they fit a terminal of 80 columns.
const manWidth = 68

// roffText is a text whose every character shows as itself: quotes, hyphens and carets too, which roff typesets.
func roffText(text string) string {
	var out strings.Builder
	for _, r := range text {
		switch escape := roffEscapes[r]; {
		case escape != "":
			out.WriteString(escape)
		case r > '~':
			fmt.Fprintf(&out, `\[u%04X]`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

var roffEscapes = map[rune]string{'\\': `\e`, '-': `\-`, '\'': `\(aq`, '`': `\(ga`, '^': `\(ha`, '~': `\(ti`}

func bold(text string) string   { return `\fB` + roffText(text) + `\fR` }
func italic(text string) string { return `\fI` + roffText(text) + `\fR` }

var backquoted = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("`[^`]+`") })

// prose is a text with what stands between backquotes in bold.
func prose(text string) string {
	var out strings.Builder
	for {
		at := backquoted().FindStringIndex(text)
		if at == nil {
			return out.String() + roffText(text)
		}
		out.WriteString(roffText(text[:at[0]]) + bold(text[at[0]+1:at[1]-1]))
		text = text[at[1]:]
	}
}

// line writes a line of text, which is never a macro.
func (r *roff) line(text string) {
	if strings.HasPrefix(text, ".") {
		r.WriteString(`\&`)
	}
	r.WriteString(text + "\n")
}

func (r *roff) section(title string)    { fmt.Fprintf(r, ".SH %s\n", roffText(strings.ToUpper(title))) }
func (r *roff) subsection(title string) { fmt.Fprintf(r, ".SS %s\n", roffText(title)) }

// entry is a name, which is roff already, and below it a text.
func (r *roff) entry(name, text string) {
	r.WriteString(".TP\n")
	r.line(name)
	r.line(prose(text))
}

// text writes paragraphs, which are filled, and indented lines, which stay as they are.
func (r *roff) text(text string) {
	inside, fresh := false, false
	end := func() {
		if inside {
			r.WriteString(".fi\n.RE\n")
		}
		inside = false
	}
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case line == "":
			end()
			fresh = true
		case strings.HasPrefix(line, indent):
			if !inside {
				r.WriteString(".PP\n.RS 2\n.nf\n")
				inside = true
			}
			for l := range strings.SplitSeq(render.Reflow(line, manWidth), "\n") {
				r.line(prose(strings.TrimPrefix(l, indent)))
			}
		default:
			end()
			if fresh {
				r.WriteString(".PP\n")
			}
			fresh = false
			r.line(prose(line))
		}
	}
	end()
}
