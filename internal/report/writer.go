package report

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/filter"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
	"fleetctl/rpcclient"
)

// Stream is where something is written, and what is known of it.
type Stream struct {
	io.Writer
	Terminal bool
	Width    int  // in columns; 80 where there is no terminal
	Color    bool // colors are welcome
	// Live is the terminal when lines may be redrawn on it; nil where that is not so, or not wanted. Writer goes through it.
	Live *Terminal
}

// fit is the width that a table has to fit into, 0 for any.
func (s Stream) fit() int {
	if !s.Terminal {
		return 0
	}
	return s.Width
}

// Options define what of a run is shown, and how.
type Options struct {
	Format        Format
	Verbose, Sort bool
	Display       string            // ok, failed, all, none; "" as in the agent's document
	Filter        *filter.ReplyExpr // nil shows every reply
	Out, Err      Stream
	File          *File // in place of Out; owned by the Writer
	PauseKey      bool  // the space bar pauses the run
	// Code is the exit code that documents show of a result.
	Code func(run.Result) int
}

// Writer gathers what a run brings and writes it in the chosen format. It is a run's Reporter. Everything but JSON lines
// is written at the end.
type Writer struct {
	o     Options
	out   io.Writer
	lines render.Lines
	held  *bytes.Buffer // JSON lines from before the run has a name; nil when it has
	call  run.Prepared

	method   string // of discovery
	took     time.Duration
	lineOpen bool // the count of discovered nodes is still to come on stderr's last line
	heard    gathered
	live     *Live          // what stderr shows
	progress batch.Progress // of the run that is followed
	start    time.Time
	links    time.Time // since when losses of the connection are ours to report
	flying   string    // the id of the run that is at work
	complete bool      // the whole result was written
	typed    []string  // secrets that stand on the command line
	err      error     // the first error of writing
}

// New returns a writer. The caller must call End.
func New(o Options) *Writer {
	w := &Writer{o: o, out: o.Out, start: time.Now(), live: NewLive(o.Err)}
	w.heard.o = &w.o
	if o.File != nil {
		w.out = bufio.NewWriter(o.File)
	}
	w.held = &bytes.Buffer{}
	w.lines = render.NewLines(w.held)
	return w
}

// End closes the output: a file is complete, or not there at all. err is how the run ended; it becomes a JSON line where
// those were asked for. It returns err, or else what went wrong in writing.
func (w *Writer) End(err error) error {
	w.live.End()
	w.release(nil)
	if w.o.Format == Lines && err != nil {
		w.keep(w.lines.Error(err))
	}
	if err == nil { // after the verdict; an error needs the operator's eyes first
		for _, key := range w.typed {
			w.live.say("hint: %s", SecretHint(key))
		}
	}
	written := w.err
	if w.o.File != nil {
		before := w.flush()
		if !w.complete {
			before = errors.Join(before, errIncomplete)
		}
		written = cmp.Or(written, w.o.File.Commit(before))
	}
	return cmp.Or(err, written)
}

// errIncomplete keeps half a result from taking a file's place.
var errIncomplete = errors.New("the result is not complete")

// flush writes out what a file's buffer holds.
func (w *Writer) flush() error {
	if buffer, ok := w.out.(*bufio.Writer); ok {
		return buffer.Flush()
	}
	return nil
}

func (w *Writer) keep(err error) {
	if w.err == nil && err != nil {
		w.err = fmt.Errorf("write the result: %w", err)
		if w.flying != "" {
			w.live.say("warning: the result cannot be written (%v): run %s continues without a reader", err, w.flying)
		}
	}
}

// Report implements run.Reporter.
func (w *Writer) Report(e run.Event) error {
	switch e := e.(type) {
	case run.SecretTyped:
		w.typed = append(w.typed, e.Key)
	case run.Noted:
		if e.Level == run.Plain {
			w.live.say("%s", e.Text)
		} else {
			w.live.say("%s: %s", e.Level, e.Text)
		}
	case run.Prepared:
		w.call, w.start = e, time.Now()
		w.heard.sums = e.Action.NewAggregator()
		w.heard.display, _ = render.ParseDisplay(w.o.Display, e.Action.Display)
		if w.foldsSuccesses() {
			w.heard.display = render.DisplayDocFailed
		}
	case run.Searching:
		w.searching(e)
	case run.Found:
		w.found(e)
	case run.Proposed:
		err := render.Plan(w.live.out, e.Plan, e.Estimate, w.planOptions(w.o.Err, e.Proposal))
		w.live.say("")
		return err
	case run.Planned:
		return w.planned(e.Proposal)
	case run.Began:
		w.began(e)
	case run.Recorded:
		w.recorded(e)
	case run.Asking:
		return render.BatchStep(w.live.out, e.Step, e.Details, w.o.Err.Width)
	case run.Forwarded:
		w.complete = true
		_, err := fmt.Fprintln(w.out, e.Request)
		return err
	case run.Answered:
		return w.answered(e)
	case run.Finished:
		return w.finished(e.Result)
	}
	return nil
}

const searchingText = "Discovering nodes using the %s method .... "

func (w *Writer) searching(e run.Searching) {
	w.method = e.Method
	switch {
	case w.o.Format == Lines:
		w.keep(w.lines.Discovery(e.Method))
	case w.o.Format.forPeople() && w.o.Err.Live != nil && !e.Piped:
		w.live.Wait(func() string { return fmt.Sprintf(searchingText, e.Method) })
	case w.o.Format.forPeople():
		// A line is left open only where no other program writes: in a pipeline the other one does, until it has ended.
		if w.lineOpen = w.o.Err.Terminal && !e.Piped; w.lineOpen {
			fmt.Fprintf(w.o.Err, searchingText, plain.Line(e.Method))
		}
	}
}

func (w *Writer) found(e run.Found) {
	w.took = e.Took
	w.live.End()
	switch {
	case e.Err != nil && w.lineOpen:
		w.live.say("")
	case e.Err != nil:
	case w.o.Format == Lines:
		w.keep(w.lines.Discovered(e.Nodes, e.Took, w.method))
	case w.o.Format.forPeople():
		if !w.lineOpen {
			fmt.Fprintf(w.live.out, searchingText, plain.Line(w.method))
		}
		w.live.say("%d", e.Nodes)
	}
}

// foldsSuccesses reports whether nodes on which the action succeeded are listed in one folded group, not one by one.
func (w *Writer) foldsSuccesses() bool {
	return w.call.Dangerous && w.o.Display == "" && !w.o.Verbose
}

// planOptions are how a plan is shown on a stream.
func (w *Writer) planOptions(s Stream, p run.Proposal) render.PlanOptions {
	o := render.PlanOptions{Guards: p.Guards, Modes: p.Modes, All: w.o.Verbose}
	if s.Terminal {
		o.Width = s.Width
	}
	return o
}

func (w *Writer) planned(p run.Proposal) error {
	w.release(nil)
	w.complete = true
	doc := render.PlanDocument{
		SchemaVersion: render.SchemaVersion, Agent: p.Agent, Action: p.Action, Nodes: p.Plan.Nodes(), Plan: p.Plan, Estimate: p.Estimate, Guards: p.Guards,
		Mode: "barrier", Estimates: p.Modes,
	}
	if p.Plan.Rolls() {
		doc.Mode = "rolling"
	}
	for _, r := range p.Refusals {
		doc.Refused = append(doc.Refused, render.Refusal(r))
	}
	switch w.o.Format {
	case JSON:
		return render.IndentedJSON(w.out, doc)
	case Lines:
		return w.lines.Plan(doc)
	case Markdown, HTML:
		return writePage(w.out, w.o.Format, planPage(p))
	}
	return render.Plan(w.out, p.Plan, p.Estimate, w.planOptions(w.o.Out, p))
}

// began is called when the engine takes over.
func (w *Writer) began(e run.Began) {
	w.start, w.links, w.flying = time.Now(), e.Links, e.ID
	w.name(e)
	if w.heard.keepsSuccesses() { // growing step by step copies the replies of large fleets several times
		w.heard.shown = slices.Grow(w.heard.shown, min(e.Progress.Counts().Total(), maxGrown))
	}
	w.progress = e.Progress
	w.live.begin(e.Progress, render.View{
		Run: e.ID, What: atSite(w.call.Action.Name, e.Site), Began: w.start, Keys: render.Keys{Pause: w.o.PauseKey && e.ID != ""}, Proves: w.call.Proves != 0,
	})
}

// name reports which run this is, before the first batch: the first of all JSON lines.
func (w *Writer) name(e run.Began) {
	if w.o.Format == Lines {
		w.release(func(l render.Lines) error { return l.Run(render.RunBegun(e.Progress.Header().Run)) })
		return
	}
	if e.ID != "" {
		w.live.say("run %s", e.ID)
	}
}

// release writes the JSON lines that were held back until the run has a name, behind the line that first writes.
func (w *Writer) release(first func(render.Lines) error) {
	if w.held == nil {
		return
	}
	held := w.held
	w.held, w.lines = nil, render.NewLines(w.out)
	if first != nil {
		w.keep(first(w.lines))
	}
	_, err := held.WriteTo(w.out)
	w.keep(err)
}

func (w *Writer) recorded(e run.Recorded) {
	r := e.Record
	for _, o := range r.Outcomes {
		if reply, ok := o.Reply.(*rpcclient.Reply); ok {
			w.hear(reply)
		}
	}
	if w.o.Format == Lines {
		w.stream(e)
	}
	if flying := e.Progress.Counts().Of(batch.Sending); r.Kind == batch.KindStopped && r.Stop.Kind == batch.StopSignal && flying > 0 {
		w.live.say("%s: nothing more is sent; replies that are waited for: %d (a second signal ends the process at once)", r.Stop.Reason, flying)
	}
	if !r.Time.Before(w.links) || r.Kind != batch.KindLink { // else it was reported when it happened
		w.live.tellRecord(r)
	}
	w.live.Observe(r)
}

// hear takes a reply.
func (w *Writer) hear(r *rpcclient.Reply) {
	if w.heard.hear(r) && w.o.Format == Lines {
		w.keep(w.lines.Result(r))
	}
}

// stream writes the JSON lines of a record: the proofs, the gates, and a batch that has ended.
func (w *Writer) stream(e run.Recorded) {
	for _, p := range e.Record.Proofs {
		w.keep(w.lines.Proof(render.Proof{Identity: p.Node, Found: p.Found, State: e.Progress.State(p.Node), Time: p.Time, Reason: p.Reason}))
	}
	if e.Record.Kind == batch.KindGate {
		w.keep(w.lines.Gate(render.NewGateLine(e.Record)))
	}
	if e.Record.Kind == batch.KindBatchEnd {
		w.keep(w.lines.Batch(e.Progress.Batch(e.Record.Batch)))
	}
}

// finished writes a finished run.
func (w *Writer) finished(r run.Result) error {
	w.live.End()
	w.release(nil)
	w.flying = ""
	if r.Signal != nil && w.o.Err.Terminal {
		w.live.say("") // the terminal has written ^C
	}
	verdict := render.Verdict(r.Summary)
	w.live.warnBehind(r)
	w.live.warnStrays(r.Strays)
	w.live.warnFilter(&w.heard)
	w.keep(w.write(w.account(r, verdict)))
	w.keep(w.flush())
	// The result of the nodes is reported in any case: stdout may be closed, or its disk full.
	if w.o.Format != Text || w.err != nil {
		w.live.say("%s", verdict)
	}
	w.live.printHint(r)
	if w.err != nil {
		if r.ID != "" {
			w.live.say("hint: the record has the result of every node: %s", r.Next.Command("report"))
		}
		return w.err
	}
	if r.NothingSent() && r.Fix != "" {
		w.live.say("hint: %s", r.Fix)
	}
	return nil
}
