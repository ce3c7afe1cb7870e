package cmd

import (
	"io"
	"os"

	"golang.org/x/term"

	"fleetctl/internal/report"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// isTerminal tells whether a stream is one.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// widthOf is the terminal's width in columns, or 80 where there is none.
func widthOf(w any) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}

// stream is a stream as the printers know it.
func (a *app) stream(w io.Writer) report.Stream {
	return report.Stream{Writer: w, Terminal: isTerminal(w), Width: widthOf(w), Color: a.color(w)}
}

// color tells whether a stream gets colors: only a terminal that knows them, and never against the operator's wish.
func (a *app) color(w io.Writer) bool {
	if _, set := a.env.getenv("NO_COLOR"); set || a.flags.noColor || a.colorless {
		return false
	}
	if kind, _ := a.env.getenv("TERM"); kind == "dumb" {
		return false
	}
	return isTerminal(w)
}
