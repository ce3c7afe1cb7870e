package render

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"
)

// Snapshot is how far a run has come at one moment. Counts are nodes; they need not add up to Planned.
type Snapshot struct {
	// Batch is the batch that is being worked on, from 1; Batches is how many there are.
	Batch, Batches int
	// Window is how many nodes may be in flight; 0 for a run in batches. Batch then counts windows full of nodes that need
	// no more waiting.
	Window int
	// Planned is the size of the plan, Done how many nodes need no more waiting.
	Planned, Done int
	// Failed nodes refused or stayed unverified.
	Accepted, Verified, Failed, NoReply, Absent int
	// Left is the estimated time to the end; zero when there is no estimate.
	Left time.Duration
	// Held: no batch begins before, because of --within; zero: nothing is held back.
	Held time.Time
	// Paused: nothing new is sent until an operator continues the run.
	Paused bool
	// Waiting reports what the run waits for, such as "12 replies"; empty for nothing.
	Waiting string
}

// Progress shows how a run goes, on one line that is redrawn, or as a line per batch, or not at all. The zero value
// shows nothing. It is safe for concurrent use; a write error ends the showing and nothing else.
type Progress struct {
	mu    sync.Mutex // guards everything below
	w     io.Writer  // nil: show nothing
	width int
	bar   *progressbar.ProgressBar // nil: a line per batch
	drawn int                      // columns on the terminal now
	last  string                   // drawn, or the batch of the last line
	shown Snapshot

	written string // the last line, without a bar
}

// worthDrawing keeps a large run from spending its time on the bar: a change of less than a five-hundredth of the plan
// is not drawn, unless it is another batch. An Update without a change always draws: that is how a clock ticks.
func (p *Progress) worthDrawing(s Snapshot) bool {
	moved := func(s Snapshot) int { return s.Done + s.Accepted + s.Verified + s.Failed + s.NoReply + s.Absent }
	distance := moved(s) - moved(p.shown)
	return p.drawn == 0 || s.Batch != p.shown.Batch || distance <= 0 || distance*500 >= s.Planned || s.Done >= s.Planned
}

// The bar takes an eighth of the line, within bounds.
const (
	minBar, maxBar = 10, 30
	minWidth       = 10
)

// NewBar returns progress for a terminal of width columns, for a run over planned nodes. On a narrow terminal the bar
// gives way to words, and the less important words give way too. It uses carriage returns and
// blanks, no other control sequences, and never fills the last column. A width below 1 means 80.
func NewBar(w io.Writer, planned, width int) *Progress {
	if width < 1 {
		width = 80
	}
	p := &Progress{w: w, width: max(width, minWidth)}
	size := min(max(width/8, minBar), maxBar)
	p.bar = progressbar.NewOptions(max(planned, 1), progressbar.OptionSetWriter(io.Discard), progressbar.OptionSetWidth(size),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: "-", BarStart: "[", BarEnd: "]"}))
	return p
}

// NewPlain returns progress for pipes and logs: one plain line when a batch begins, and one at the end.
func NewPlain(w io.Writer) *Progress { return &Progress{w: w} }

// Update shows the snapshot.
func (p *Progress) Update(s Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.w == nil:
	case p.bar == nil:
		p.line(s, false)
	case p.worthDrawing(s):
		p.shown = s
		_ = p.bar.Set(min(s.Done, max(s.Planned, 1))) // a count past the plan is only drawn as full
		p.draw(p.compose(s))
	}
}

// Clear takes the line off the terminal, so that something else can be printed; the next Update draws it again.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// Close shows the last snapshot and ends: the terminal's line is taken away, a pipe gets a last line. Later calls do
// nothing.
func (p *Progress) Close(s Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && p.bar == nil {
		p.line(s, true)
	}
	p.clear()
	p.w = nil
}

func (p *Progress) clear() {
	if p.w != nil && p.drawn > 0 {
		p.write("\r" + strings.Repeat(" ", p.drawn) + "\r")
	}
	p.drawn, p.last = 0, ""
}

func (p *Progress) write(s string) {
	if _, err := io.WriteString(p.w, s); err != nil {
		p.w = nil
	}
}

func (p *Progress) draw(content string) {
	if content == p.last {
		return
	}
	width := text.StringWidthWithoutEscSequences(content)
	p.last = content
	blanks := max(p.drawn-width, 0)
	p.drawn = width
	p.write("\r" + content + strings.Repeat(" ", blanks))
}

// line writes a plain line when the batch is a new one, or at the end.
func (p *Progress) line(s Snapshot, end bool) {
	head := strconv.Itoa(s.Batch)
	if !end && (s.Batch == 0 || head == p.last) {
		return
	}
	words, _ := parts(s)
	text := strings.Join(words, ", ") + "\n"
	if text != p.written {
		p.write(text)
	}
	p.last, p.written = head, text
}

func batchOf(s Snapshot) string {
	if s.Window > 0 {
		return fmt.Sprintf("window of %d", s.Window)
	}
	return fmt.Sprintf("batch %d/%d", s.Batch, s.Batches)
}

// parts are the words of a snapshot, the most important ones first; the first few say where the run is and what it waits
// for. Zero counts of bad things are left out.
func parts(s Snapshot) (list []string, essential int) {
	list = []string{batchOf(s), fmt.Sprintf("%d/%d nodes", s.Done, s.Planned)}
	if !s.Held.IsZero() {
		list = append(list, "waits until "+s.Held.Local().Format("Mon 15:04"))
	}
	if s.Paused {
		list = append(list, "paused")
	}
	if s.Failed > 0 {
		list = append(list, strconv.Itoa(s.Failed)+" failed")
	}
	if s.NoReply > 0 {
		list = append(list, strconv.Itoa(s.NoReply)+" no reply")
	}
	if s.Absent > 0 {
		list = append(list, strconv.Itoa(s.Absent)+" absent")
	}
	if s.Waiting != "" {
		list = append(list, "waits for "+oneLine(s.Waiting))
	}
	essential = len(list)
	list = append(list, strconv.Itoa(s.Accepted)+" accepted")
	if s.Verified > 0 {
		list = append(list, strconv.Itoa(s.Verified)+" verified")
	}
	if left := s.Left.Round(time.Second); left > 0 {
		list = append(list, "ETA "+left.String())
	}
	return list, essential
}

// compose puts the bar before as many words as fit; it gives way to the essential ones.
func (p *Progress) compose(s Snapshot) string {
	room := p.width - 1 // the last column makes some terminals wrap
	words, essential := parts(s)
	out := strings.TrimSpace(p.bar.String()) + " "
	if text.StringWidthWithoutEscSequences(out+strings.Join(words[:essential], ", ")) > room {
		out = ""
	}
	out = text.Trim(out+words[0], room)
	for _, word := range words[1:] {
		if text.StringWidthWithoutEscSequences(out+", "+word) <= room { // a later, shorter one may still fit
			out += ", " + word
		}
	}
	return out
}
