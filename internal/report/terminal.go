package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fleetctl/internal/render"
)

// frame makes the lines that stand at the end of a terminal now. Each is narrower than columns.
type frame func(now time.Time, columns, rows int) []string

// TerminalOptions are what is known of a terminal.
type TerminalOptions struct {
	Out io.Writer
	// Size is how many columns and rows it has now.
	Size func() (columns, rows int)
	// Ours reports whether this process may draw now: it is in the foreground. nil: it always is.
	Ours func() bool
	// Rewraps reports that the terminal wraps lines anew when it becomes narrower. Where that is not known, lines that were
	// drawn before stay above: a line of others is never overwritten.
	Rewraps bool
}

// Terminal is a terminal whose last lines are redrawn, while text is written above them. It uses carriage returns, and the
// sequences to go up and to erase to the end of the line and of the screen, no others. It is safe for concurrent use. A write
// error ends the drawing and nothing else.
type Terminal struct {
	o TerminalOptions

	mu    sync.Mutex // guards everything below
	frame frame      // nil: nothing is shown
	dirty bool
	drawn []string  // the lines on the terminal now; the cursor is at the end of the last one
	at    time.Time // when they were drawn
	wide  int       // how many columns there were then
	size  int       // how many there were at the last look
	sized time.Time // since when
	held  int       // how many callers want no drawing
	open  bool      // a line was begun, and is not ended
	stop  chan struct{}
	wait  sync.WaitGroup

	over atomic.Bool // nothing is drawn any more
}

// drawPace is how often the terminal is looked after; it is drawn at most as often, and each second.
const drawPace = 250 * time.Millisecond

// settleTime is for how long a terminal must have had a new width before it is drawn. tmux reports sizes late while a window is
// dragged: what is drawn for a width that is not true any more cannot be taken away.
const settleTime = 2 * drawPace

// NewTerminal returns a terminal that shows nothing yet.
func NewTerminal(o TerminalOptions) *Terminal {
	if o.Ours == nil {
		o.Ours = func() bool { return true }
	}
	return &Terminal{o: o}
}

// Write writes text above the lines that are redrawn. Nothing is drawn before a line that it begins has ended.
func (t *Terminal) Write(p []byte) (int, error) { return t.above(t.o.Out, p) }

// Above returns a writer for another stream that shows at this terminal.
func (t *Terminal) Above(w io.Writer) io.Writer { return aboveWriter{t, w} }

type aboveWriter struct {
	t *Terminal
	w io.Writer
}

// Write implements io.Writer.
func (a aboveWriter) Write(p []byte) (int, error) { return a.t.above(a.w, p) }

func (t *Terminal) above(w io.Writer, p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	n, err := w.Write(p)
	if n > 0 {
		t.open = p[n-1] != '\n'
	}
	if now := time.Now(); now.Sub(t.at) >= drawPace { // a stream of lines is not drawn after each
		t.draw(now, true)
	}
	t.dirty = true
	return n, err
}

// show draws these lines from now on, first at the next look.
func (t *Terminal) show(f frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frame, t.dirty = f, true
	if t.stop == nil {
		stop := make(chan struct{})
		t.stop = stop
		t.wait.Go(func() { t.look(stop) })
	}
}

// change notes that the frame has something new to show.
func (t *Terminal) change() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty = true
}

// Abandon ends the drawing at once, and waits for nothing: the process is about to die, and the lines stay.
func (t *Terminal) Abandon() { t.over.Store(true) }

// hide takes the lines away, and waits for the end of the drawing.
func (t *Terminal) hide() {
	t.mu.Lock()
	t.erase()
	t.frame, t.at = nil, time.Time{}
	stop := t.stop
	t.stop = nil
	t.mu.Unlock()
	if stop != nil {
		close(stop)
		t.wait.Wait()
	}
}

// Hold takes the lines away until release is called: something else uses the terminal. The cursor is at the start of a line
// then.
func (t *Terminal) Hold() (release func()) {
	if t == nil {
		return func() {}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	t.held++
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.held--
		t.open = false
	})
}

func (t *Terminal) look(stop <-chan struct{}) {
	every(drawPace, stop, func(now time.Time) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.draw(now, false)
	})
}

// draw draws the frame, when something changed, or a second passed, or the terminal has another width.
func (t *Terminal) draw(now time.Time, again bool) {
	if t.over.Load() || t.frame == nil || t.held > 0 || t.open || again && t.at.IsZero() {
		return
	}
	if !t.o.Ours() {
		t.drawn = nil // a shell has written meanwhile
		return
	}
	columns, rows := t.o.Size()
	if columns != t.size {
		t.size, t.sized = columns, now
	}
	if t.drawn != nil && columns != t.wide && now.Sub(t.sized) < settleTime {
		return
	}
	if !again && !t.dirty && columns == t.wide && now.Unix() == t.at.Unix() && t.drawn != nil {
		return
	}
	lines := t.frame(now, columns, rows)
	if len(lines) == 0 {
		t.erase()
		return
	}
	// The cursor ends at the start of the last line: a terminal that shows a typed ^C behind a full line would begin another.
	t.write(t.back(columns) + strings.Join(lines, "\x1b[K\n") + "\x1b[J\r")
	t.drawn, t.at, t.wide, t.dirty = lines, now, columns, false
}

// erase takes the drawn lines away; the cursor is then where the first one began.
func (t *Terminal) erase() {
	if t.drawn == nil {
		return
	}
	columns, _ := t.o.Size()
	t.write("\r\x1b[K" + strings.Repeat("\x1b[1A\x1b[K", t.up(columns))) // tmux keeps what it erases to the end of the screen
	t.drawn = nil
}

// back goes to the start of the first drawn line.
func (t *Terminal) back(columns int) string {
	switch up := t.up(columns); {
	case t.drawn == nil:
		return ""
	case up == 0:
		return "\r"
	default:
		return fmt.Sprintf("\r\x1b[%dA", up)
	}
}

// up is how many rows the first drawn line is above the cursor.
func (t *Terminal) up(columns int) int {
	up := len(t.drawn) - 1
	if t.o.Rewraps && columns < t.wide {
		for _, l := range t.drawn {
			up += (max(render.Width(l), 1) - 1) / max(columns, 1)
		}
	}
	return up
}

func (t *Terminal) write(s string) {
	if _, err := io.WriteString(t.o.Out, s); err != nil {
		t.frame = nil
	}
}
