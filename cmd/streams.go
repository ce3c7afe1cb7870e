package cmd

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/term"

	"fleetctl/internal/plain"
	"fleetctl/internal/report"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// stdout keeps the first write error: a command whose result is lost has failed.
type stdout struct {
	io.Writer
	mu   sync.Mutex // guards lost
	lost error
}

// Write implements io.Writer.
func (s *stdout) Write(p []byte) (int, error) {
	n, err := s.Writer.Write(p)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lost = cmp.Or(s.lost, err)
	}
	return n, err
}

func (s *stdout) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// bare is the stream itself: a program that is started must get the terminal, not a pipe.
func bare(w any) any {
	switch s := w.(type) {
	case *stdout:
		return bare(s.Writer)
	case above:
		return bare(s.stream)
	case renamer:
		return bare(s.Writer)
	}
	return w
}

// lend gives the streams to a program that is started.
func (s streams) lend(c *exec.Cmd) {
	c.Stdin = s.in
	c.Stdout, _ = bare(s.out).(io.Writer) // they are writers
	c.Stderr, _ = bare(s.err).(io.Writer)
}

// say writes one line on stderr. Text from outside in it is made harmless: it cannot make lines
// of its own; secrets are taken out.
func (a *app) say(format string, args ...any) {
	fmt.Fprintln(a.io.err, plain.Line(a.scrub.Text(fmt.Sprintf(format, args...))))
}

// isTerminal reports whether a stream is one.
func isTerminal(w any) bool {
	f, ok := bare(w).(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// widthUnknown is the width where there is no terminal, or one that does not tell.
const widthUnknown = 80

// widthOf is the terminal's width in columns, or 80 where there is none.
func widthOf(w any) int {
	if f, ok := bare(w).(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return widthUnknown
}

// fit is the width that tables on stdout have to fit into: the terminal's, 0 where there is none.
func (a *app) fit() int {
	if !isTerminal(a.io.out) {
		return 0
	}
	return widthOf(a.io.out)
}

// stream is a stream with what the printers need to know of it.
func (a *app) stream(w io.Writer) report.Stream {
	return report.Stream{Writer: w, Terminal: isTerminal(w), Width: widthOf(w), Color: a.color(w)}
}

// color reports whether a stream gets colors: only a terminal that knows them, and never when the operator turned colors off.
func (a *app) color(w io.Writer) bool {
	if _, set := a.env.getenv("NO_COLOR"); set || a.flags.noColor || a.colorless {
		return false
	}
	if kind, _ := a.env.getenv("TERM"); kind == "dumb" {
		return false
	}
	return isTerminal(w)
}
