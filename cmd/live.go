package cmd

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"sync/atomic"

	"golang.org/x/term"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/plain"
	"fleetctl/internal/report"
)

// above is a stream of a terminal whose last lines are redrawn: what is written goes above them.
type above struct {
	io.Writer
	stream io.Writer
}

// terminal is the terminal of stderr, when lines may be redrawn on it; else nil. From then on stderr, and stdout where that is a
// terminal too, are written above these lines.
func (a *app) terminal() *report.Terminal {
	if t := a.screen.Load(); t != nil || !a.draws() {
		return t
	}
	file, ok := bare(a.io.err).(*os.File)
	if !ok {
		return nil
	}
	size := func() (columns, rows int) {
		columns, rows, err := term.GetSize(int(file.Fd()))
		if err != nil || columns < 1 {
			return widthUnknown, 0
		}
		return columns, rows
	}
	t := report.NewTerminal(report.TerminalOptions{Out: messages(a.name, file), Size: size, Ours: func() bool { return inForeground(file) }, Rewraps: a.env.rewraps()})
	a.screen.Store(t)
	a.io.err = above{t, a.io.err}
	if out, ok := a.io.out.(*stdout); ok && isTerminal(out) {
		out.Writer = above{t.Above(out.Writer), out.Writer}
	}
	a.stopNeatly()
	return t
}

// draws reports whether stderr is a terminal that knows how to redraw, and the operator wants that.
func (a *app) draws() bool {
	kind, _ := a.env.getenv("TERM")
	return isTerminal(a.io.err) && !a.flags.noProgress && kind != "dumb" && kind != ""
}

// rewrapping are variables of terminals that wrap their lines anew when they become narrower.
var rewrapping = []string{"TMUX", "VTE_VERSION", "KONSOLE_VERSION", "KITTY_WINDOW_ID", "WT_SESSION", "TERM_PROGRAM"}

func (e environment) rewraps() bool {
	for _, name := range rewrapping {
		if value, _ := e.getenv(name); value != "" {
			return true
		}
	}
	return false
}

// stopNeatly has the terminal as it was while this process is stopped by Ctrl-Z.
func (a *app) stopNeatly() {
	if !a.suspends.CompareAndSwap(false, true) {
		return
	}
	onSuspend(func(stop func()) { suspend(a.screen.Load(), a.holdKeys.Load(), stop) })
}

// suspend puts the terminal back, and holds it so until stop returns: a key would be waited for between here and the stop.
func suspend(screen *report.Terminal, hold *func() (release func()), stop func()) {
	defer screen.Hold()()
	if hold != nil {
		defer (*hold)()()
	}
	stop()
}

// waitLine is a line that shows at a terminal what a command waits for.
type waitLine struct {
	live  *report.Live
	words string
	asked int
	heard atomic.Int64
}

// wait shows what a command waits for, until end is called. asked is how many nodes are to answer, 0 for any number.
func (a *app) wait(asked int, format string, args ...any) *waitLine {
	w := &waitLine{live: report.NewLive(report.Stream{Writer: a.io.err, Live: a.terminal()}), words: plain.Line(fmt.Sprintf(format, args...)), asked: asked}
	w.live.Wait(w.text)
	return w
}

func (w *waitLine) text() string {
	switch n := w.heard.Load(); {
	case w.asked > 0:
		return fmt.Sprintf("%s: %d of %s answered", w.words, n, plain.Count(w.asked, "node"))
	case n > 0:
		return fmt.Sprintf("%s: %s answered", w.words, plain.Count(int(n), "node"))
	}
	return w.words
}

// one counts an answer.
func (w *waitLine) one() { w.heard.Add(1) }

// end takes the line away.
func (w *waitLine) end() { w.live.End() }

// counted counts the answers of a stream, and ends the line with it.
func counted[T any](w *waitLine, answers iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		defer w.end()
		for v, err := range answers {
			w.one()
			if !yield(v, err) {
				return
			}
		}
	}
}

// find looks for nodes, and shows that.
func (a *app) find(ctx context.Context, n *fleet.Fleet, t fleet.Targets, f filter.Filter) (discovery.Result, error) {
	defer a.wait(0, "looking for nodes with the %s method", n.MethodName(t, f)).end()
	return n.Find(ctx, t, f, discoveryFor)
}
