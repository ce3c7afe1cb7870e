package report

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// glass is a terminal with endless scrollback. It knows what Terminal writes, and reports everything else.
type glass struct {
	t             *testing.T
	mu            sync.Mutex // guards what follows
	columns, rows int
	lines         []string
	wrapped       []bool // by line: it continues in the next one
	row, col      int
	rewraps       bool
	writes        int
	told          int // the columns that it says it has, where these are not yet the new ones
}

var sequence = regexp.MustCompile(`^\x1b\[(\d*)([AJK])`)

// Write implements io.Writer.
func (g *glass) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes++
	for s := string(p); s != ""; {
		if found := sequence.FindStringSubmatch(s); found != nil {
			s = s[len(found[0]):]
			n, _ := strconv.Atoi(found[1])
			switch found[2] {
			case "A":
				if g.row -= n; g.row < 0 {
					g.t.Errorf("%d lines up is above the first line", n)
					g.row = 0
				}
			case "J":
				g.at()
				g.lines, g.wrapped = g.lines[:g.row+1], g.wrapped[:g.row+1]
				fallthrough
			case "K":
				g.at()
				g.lines[g.row], g.wrapped[g.row] = cutAt(g.lines[g.row], g.col), false
			}
			continue
		}
		r := s[0]
		s = s[1:]
		switch {
		case r == '\r':
			g.col = 0
		case r == '\n':
			g.row, g.col = g.row+1, 0
			g.at()
		case r < ' ':
			g.t.Errorf("a control character %q", r)
		default:
			g.at()
			if g.rewraps && g.col == g.columns {
				g.wrapped[g.row] = true
				g.row, g.col = g.row+1, 0
				g.at()
			}
			line := g.lines[g.row] + strings.Repeat(" ", max(0, g.col-len(g.lines[g.row])))
			g.lines[g.row] = line[:g.col] + string(r) + line[min(len(line), g.col+1):]
			g.col++
		}
	}
	return len(p), nil
}

func (g *glass) at() {
	for len(g.lines) <= g.row {
		g.lines, g.wrapped = append(g.lines, ""), append(g.wrapped, false)
	}
}

func cutAt(s string, n int) string { return s[:min(len(s), n)] }

func (g *glass) size() (int, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.told > 0 {
		return g.told, g.rows
	}
	return g.columns, g.rows
}

// narrow gives the terminal another width. One that rewraps makes more lines of a long one, or fewer again.
func (g *glass) narrow(columns int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.columns = columns
	if !g.rewraps {
		return
	}
	var lines []string
	var wrapped []bool
	whole := ""
	for i, l := range g.lines {
		if whole += l; g.wrapped[i] {
			continue
		}
		for len(whole) > columns {
			lines, wrapped, whole = append(lines, whole[:columns]), append(wrapped, true), whole[columns:]
		}
		lines, wrapped, whole = append(lines, whole), append(wrapped, false), ""
	}
	g.lines, g.wrapped, g.row = lines, wrapped, len(lines)-1
	g.col = len(lines[g.row])
}

func (g *glass) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	lines := g.lines
	for len(lines)-1 > g.row && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return strings.Join(lines, "\n")
}

func (g *glass) terminal() *Terminal {
	return NewTerminal(TerminalOptions{Out: g, Size: g.size, Rewraps: g.rewraps})
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

// counting shows the second, in three lines.
func counting(began time.Time) frame {
	return func(now time.Time, columns, rows int) []string {
		s := int(now.Sub(began).Seconds())
		return []string{strings.Repeat("=", columns-1), fmt.Sprintf("second %d", s), "end"}[:min(3, max(1, rows-1))]
	}
}

// at is a test in virtual time with a terminal of 40 columns.
func at(t *testing.T, test func(g *glass, term *Terminal)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := &glass{t: t, columns: 40, rows: 24}
		test(g, g.terminal())
	})
}

const ruler = "=======================================" // 39

func TestTerminalTicksBelowWhatIsWritten(t *testing.T) {
	at(t, func(g *glass, term *Terminal) {
		fmt.Fprintln(term, "before")
		term.show(counting(time.Now()))
		if got := g.text(); got != "before\n" {
			t.Errorf("drawn at once: %q", got)
		}
		pass(drawPace)
		synctest.Wait()
		if got, want := g.text(), "before\n"+ruler+"\nsecond 0\nend"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		pass(3 * time.Second)
		synctest.Wait()
		fmt.Fprintln(term, "above")
		fmt.Fprintln(term.Above(g), "of another stream")
		pass(drawPace)
		synctest.Wait()
		if got, want := g.text(), "before\nabove\nof another stream\n"+ruler+"\nsecond 3\nend"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		term.hide()
		if got, want := g.text(), "before\nabove\nof another stream\n"; got != want {
			t.Errorf("hidden: %q, want %q", got, want)
		}
	})
}

// Without a change it is drawn once a second; a stream of lines is not followed by as many drawings.
func TestTerminalIsNotDrawnTooOften(t *testing.T) {
	at(t, func(g *glass, term *Terminal) {
		term.show(counting(time.Now()))
		pass(10*time.Second + drawPace/2)
		synctest.Wait()
		if g.writes < 10 || g.writes > 12 {
			t.Errorf("%d drawings in 10 s", g.writes)
		}
		before := g.writes
		for range 1000 {
			fmt.Fprintln(term, "a line")
		}
		if n := g.writes - before - 1000; n > 3 {
			t.Errorf("%d drawings for 1000 lines", n)
		}
		before = g.writes
		for range 100 {
			term.change()
			pass(10 * time.Millisecond)
		}
		if n := g.writes - before; n < 3 || n > 5 {
			t.Errorf("%d drawings for 100 changes in a second", n)
		}
		term.hide()
	})
}

// Nothing is drawn into a line that is not ended, nor while a question is asked.
func TestTerminalLeavesALineToOthers(t *testing.T) {
	at(t, func(g *glass, term *Terminal) {
		term.show(counting(time.Now()))
		pass(drawPace)
		synctest.Wait()
		fmt.Fprint(term, "half ")
		pass(2 * time.Second)
		synctest.Wait()
		if got := strings.TrimRight(g.text(), "\n"); got != "half " {
			t.Errorf("a line that is not ended: %q", got)
		}
		fmt.Fprintln(term, "and half")
		pass(drawPace)
		synctest.Wait()
		release := term.Hold()
		fmt.Fprint(term, "Go on? ")
		pass(time.Minute)
		synctest.Wait()
		if got := strings.TrimRight(g.text(), "\n"); got != "half and half\nGo on? " {
			t.Errorf("at a question: %q", got)
		}
		fmt.Fprintln(g, "y") // as the terminal echoes it
		release()
		pass(drawPace)
		synctest.Wait()
		if got, want := g.text(), "half and half\nGo on? y\n"+ruler+"\nsecond 62\nend"; got != want {
			t.Errorf("after it: %q, want %q", got, want)
		}
		term.hide()
	})
}

// A terminal becomes narrower and wider. Only lines of ours are taken away, whether it rewraps them or not.
func TestTerminalFollowsTheWidth(t *testing.T) {
	for _, tt := range []struct {
		name          string
		rewraps, told bool
		want          string // above the new lines
	}{
		{"it rewraps", true, true, "a line of another program"}, {"it does not", false, false, "a line of another program"},
		{"it rewraps, and that is not known", true, false, "a line of another p\nrogram\n===================\n="},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &glass{t: t, columns: 40, rows: 24, rewraps: tt.rewraps}
			term := NewTerminal(TerminalOptions{Out: g, Size: g.size, Rewraps: tt.told})
			fmt.Fprintln(term, "a line of another program")
			term.show(counting(time.Now()))
			pass(drawPace)
			synctest.Wait()
			g.narrow(20)
			pass(settleTime + drawPace)
			synctest.Wait()
			got := g.text()
			above, ok := strings.CutSuffix(got, "\n===================\nsecond 1\nend")
			if !ok || !strings.HasPrefix(strings.ReplaceAll(above, "\n", ""), "a line of another program") {
				t.Errorf("%s: %q", tt.name, got)
			}
			if tt.told == tt.rewraps && strings.ReplaceAll(above, "\n", "") != tt.want {
				t.Errorf("%s: %q is above", tt.name, above)
			}
			g.narrow(60)
			pass(settleTime + drawPace)
			synctest.Wait()
			if got := g.text(); !strings.HasSuffix(got, "\n"+strings.Repeat("=", 59)+"\nsecond 1\nend") || strings.Count(got, "second") != 1 {
				t.Errorf("%s, wider: %q", tt.name, got)
			}
			term.hide()
		})
	}
}

// A window that is dragged becomes narrower several times, and tmux says so late: it sends a size at most every quarter of
// a second, and wraps the lines anew at once. Nothing is drawn for a size that is not true any more.
func TestTerminalWhoseWindowIsDragged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &glass{t: t, columns: 40, rows: 24, rewraps: true}
		term := g.terminal()
		fmt.Fprintln(term, "a line of another program")
		term.show(counting(time.Now()))
		pass(drawPace)
		synctest.Wait()
		g.narrow(30) // and it says so
		pass(drawPace)
		synctest.Wait()
		for _, columns := range []int{28, 24, 20} {
			g.mu.Lock()
			g.told = g.columns
			g.mu.Unlock()
			g.narrow(columns)
			pass(drawPace)
			synctest.Wait()
			g.mu.Lock()
			g.told = 0
			g.mu.Unlock()
			pass(drawPace / 5)
		}
		pass(settleTime + time.Second)
		synctest.Wait()
		if got, want := strings.Replace(g.text(), "a line of another pr\nogram", "a line of another program", 1), "a line of another program\n===================\nsecond "; !strings.HasPrefix(got, want) || strings.Count(got, "end") != 1 {
			t.Errorf("got %q, want %q and so on", got, want)
		}
		term.hide()
	})
}

// A process in the background draws nothing, and takes nothing away that a shell has written since.
func TestTerminalInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &glass{t: t, columns: 40, rows: 24}
		var mu sync.Mutex
		ours := true
		term := NewTerminal(TerminalOptions{Out: g, Size: g.size, Ours: func() bool {
			mu.Lock()
			defer mu.Unlock()
			return ours
		}})
		term.show(counting(time.Now()))
		pass(drawPace)
		synctest.Wait()
		mu.Lock()
		ours = false
		mu.Unlock()
		fmt.Fprint(g, "\n$ ls\nfile\n$ ")
		pass(5 * time.Second)
		synctest.Wait()
		if got, want := g.text(), ruler+"\nsecond 0\nend\n$ ls\nfile\n$ "; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		term.hide()
		if got := g.text(); !strings.HasSuffix(got, "$ ls\nfile\n$ ") {
			t.Errorf("hidden: %q", got)
		}
	})
}

func TestTerminalEnds(t *testing.T) {
	at(t, func(g *glass, term *Terminal) {
		term.show(counting(time.Now()))
		pass(drawPace)
		synctest.Wait()
		term.Abandon() // the process is about to die
		fmt.Fprint(g, "\nrun x is interrupted\n")
		pass(3 * time.Second)
		synctest.Wait()
		if got := g.text(); !strings.HasSuffix(got, "end\nrun x is interrupted\n") {
			t.Errorf("got %q", got)
		}
		term.hide()
	})
	synctest.Test(t, func(t *testing.T) { // a write error ends the drawing
		term := NewTerminal(TerminalOptions{Out: brokenTerminal{}, Size: func() (int, int) { return 40, 24 }})
		drawn := 0
		term.show(func(time.Time, int, int) []string { drawn++; return []string{"x"} })
		pass(10 * time.Second)
		term.hide()
		if drawn != 1 {
			t.Errorf("drawn %d times", drawn)
		}
	})
	var none *Terminal
	none.Hold()()
}

type brokenTerminal struct{}

// Write implements io.Writer.
func (brokenTerminal) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestTerminalIsSafeForConcurrentUse(t *testing.T) {
	at(t, func(g *glass, term *Terminal) {
		term.show(counting(time.Now()))
		var wait sync.WaitGroup
		for i := range 4 {
			wait.Go(func() {
				for n := range 50 {
					fmt.Fprintf(term, "%d %d\n", i, n)
					term.change()
					pass(time.Duration(i+1) * 7 * time.Millisecond)
				}
			})
		}
		wait.Wait()
		term.hide()
		lines := strings.Split(strings.TrimSuffix(g.text(), "\n"), "\n")
		slices.Sort(lines)
		if len(slices.Compact(lines)) != 200 {
			t.Errorf("%d lines of 200 are left", len(lines))
		}
	})
}
