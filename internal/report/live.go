package report

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

// Live shows a run on stderr while it happens: on a terminal in lines that are redrawn, elsewhere as a line with its time for
// each batch and for what went wrong, and a sign of life. What is said besides stands above. It is safe for concurrent use.
type Live struct {
	terminal *Terminal // nil: there are no lines to redraw
	out      io.Writer // of what is said
	color    bool
	gate     string // why the gates have not decided, as said last

	mu    sync.Mutex // guards everything below, and out
	meter *meter     // nil: no run is shown
	past  bool       // the records are of the time before this process watched
	lines bool       // each batch is worth a line
	wrote time.Time  // the last line of a run without a terminal
	stop  chan struct{}
	wait  sync.WaitGroup
}

// Of a run without a terminal: how often failures are gathered into lines, and how long it may say nothing.
const (
	gatherPace = time.Second
	heartbeat  = 30 * time.Second
)

// NewLive returns a view that shows nothing yet.
func NewLive(s Stream) *Live {
	l := &Live{terminal: s.Live, out: s.Writer, color: s.Color}
	if l.terminal != nil {
		l.out = l.terminal
	}
	return l
}

// begin shows a run from where it is. The view has what does not change: its name, its action, the keys.
func (l *Live) begin(p batch.Progress, view render.View) {
	m := newMeter(p, view)
	m.failures.fresh = nil // of an earlier process: they were reported
	l.mu.Lock()
	l.meter, l.wrote = m, time.Now()
	l.lines = p.Batches() > 1 || p.Plan().Rolls() || view.Proves
	l.mu.Unlock()
	if l.terminal != nil {
		l.terminal.show(l.frame)
		return
	}
	stop := make(chan struct{})
	l.stop = stop
	l.wait.Go(func() { l.beat(stop) })
}

// BeginStored shows a run of another process from the first record of it. Nothing stays of what was recorded before Seen.
func (l *Live) BeginStored(p batch.Progress, id string, first batch.Record) {
	view := render.View{Run: id, Began: first.Time, Keys: render.Keys{Watch: true}}
	var meta run.Meta
	if json.Unmarshal(p.Header().Meta, &meta) == nil {
		view.What = atSite(meta.Action, meta.Site)
	}
	if first.Begin != nil {
		view.Proves = first.Begin.Proved
	}
	l.past = true
	l.begin(p, view)
}

// atSite is an action with the site of its nodes, so that one fleet is not taken for another.
func atSite(action, site string) string {
	if site == "" {
		return action
	}
	return action + " at " + site
}

// Seen ends what BeginStored has passed over.
func (l *Live) Seen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.past && l.meter != nil {
		l.past, l.meter.failures.fresh = false, nil
	}
}

// frame is what a terminal shows now.
func (l *Live) frame(now time.Time, columns, rows int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.meter == nil {
		return nil
	}
	return l.meter.snapshot(now).Lines(columns, rows, l.color)
}

// Observe takes the next record of the run; the progress that begin was given includes it.
func (l *Live) Observe(r batch.Record) {
	l.mu.Lock()
	if l.meter == nil {
		l.mu.Unlock()
		return
	}
	m := l.meter
	m.observe(&r)
	if m.progress.Batches() > 1 {
		l.lines = true
	}
	line := l.stays(r)
	if l.past {
		line = ""
	}
	if l.terminal == nil && !l.past {
		if r.Kind == batch.KindSent && m.rolling == nil && l.lines {
			l.tell(r.Time, m.snapshot(r.Time).SentLine())
		}
		if line != "" || r.Kind == batch.KindStopped {
			l.tellFailures(r.Time)
		}
		if line != "" && l.lines {
			l.tell(r.Time, line)
		}
	}
	l.mu.Unlock()
	if l.terminal != nil { // it asks for the frame meanwhile
		if line != "" {
			fmt.Fprintln(l.terminal, line)
		}
		l.terminal.change()
	}
}

// stays is the line that stays after a record; "" for none.
func (l *Live) stays(r batch.Record) string {
	switch {
	case l.meter.rolling != nil:
		return l.meter.rolling.line(l.meter, r.Time, r.Kind == batch.KindRunEnd)
	case r.Kind == batch.KindBatchEnd:
		return render.BatchLine(l.meter.progress.Batch(r.Batch))
	}
	return ""
}

// tell writes a line with its time. The lock is held.
func (l *Live) tell(at time.Time, line string) {
	fmt.Fprintf(l.out, "%s %s\n", at.Local().Format(time.RFC3339), line)
	l.wrote = time.Now()
}

// tellFailures writes what went wrong since the last time. The lock is held.
func (l *Live) tellFailures(at time.Time) {
	for _, f := range l.meter.failures.take() {
		if l.lines {
			l.tell(at, "! "+f.FailureLine())
		}
	}
}

// beat writes failures soon, and a sign of life where nothing else was written.
func (l *Live) beat(stop <-chan struct{}) {
	every(gatherPace, stop, func(now time.Time) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.meter == nil || l.past {
			return
		}
		l.tellFailures(now)
		if now.Sub(l.wrote) >= heartbeat {
			l.tell(now, l.meter.snapshot(now).Plain())
		}
	})
}

// every does something at a pace until stop is closed.
func every(pace time.Duration, stop <-chan struct{}, do func(now time.Time)) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-ticker.C:
			do(now)
		}
	}
}

// say writes a line. Text from outside in it is made harmless. Errors of writing are ignored: it is stderr.
func (l *Live) say(format string, args ...any) {
	text := plain.Text(fmt.Sprintf(format, args...))
	if l.terminal != nil {
		fmt.Fprintln(l.terminal, text)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.out, text)
}

// Wait shows a line that ticks while something is waited for, at a terminal; elsewhere nothing. words are asked for at
// each look.
func (l *Live) Wait(words func() string) {
	if l.terminal == nil {
		return
	}
	began := time.Now()
	l.terminal.show(func(now time.Time, columns, _ int) []string {
		return []string{render.Waiting(words(), now.Sub(began), columns)}
	})
}

// End takes the view away.
func (l *Live) End() {
	if l.terminal != nil {
		l.terminal.hide()
	}
	l.mu.Lock()
	l.meter = nil
	stop := l.stop
	l.stop = nil
	l.mu.Unlock()
	if stop != nil {
		close(stop)
		l.wait.Wait()
	}
}
