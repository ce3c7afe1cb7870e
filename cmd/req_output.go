package cmd

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/ddl"
	"fleetctl/internal/render"
	"fleetctl/rpcclient"
)

// resultWriter gathers what a run brings and writes it in the chosen format; it is the engine's observer. Everything
// but JSON lines is written at the end.
type resultWriter struct {
	app   *app
	job   *job
	out   io.Writer
	file  *outputFile
	lines render.Lines

	run      string // the id of the run's record, "" without one
	actor    *actor
	replies  []render.Reply
	progress *render.Progress
	meter    meter
	start    time.Time
	strays   rpcclient.Strays
	signal   *signalError
	complete bool  // the whole result was written
	err      error // the first error of writing
}

func newResultWriter(a *app, j *job) (*resultWriter, error) {
	w := &resultWriter{app: a, job: j, out: a.out, start: time.Now(), progress: &render.Progress{}}
	if j.o.output.file != "" {
		f, err := createOutput(j.o.output.file)
		if err != nil {
			return nil, usage(fmt.Errorf("write the result: %w", err), "")
		}
		w.file, w.out = f, bufio.NewWriter(f)
	}
	w.lines = render.NewLines(w.out)
	return w, nil
}

// end closes the output file: complete, or not there at all. An error is a JSON line too, where those were asked for.
func (w *resultWriter) end(err error) error {
	w.progress.Close(w.meter.snapshot())
	if w.job.o.output.jsonl && err != nil {
		if e, ok := errors.AsType[*exitError](err); !ok || !e.quiet {
			w.keep(w.lines.Error(err))
		}
	}
	if w.file == nil {
		return cmp.Or(err, w.err)
	}
	flush, _ := w.out.(*bufio.Writer)
	before := flush.Flush()
	if !w.complete {
		before = errors.Join(before, errIncomplete)
	}
	return cmp.Or(err, w.err, w.file.commit(before))
}

func (w *resultWriter) keep(err error) {
	if w.err == nil && err != nil {
		w.err = fmt.Errorf("write the result: %w", err)
	}
}

// text tells whether people read along.
func (w *resultWriter) text() bool {
	o := w.job.o.output
	return !o.json && !o.jsonl && !o.senders
}

func (w *resultWriter) discovering(method string) {
	switch {
	case w.job.o.output.jsonl:
		w.keep(w.lines.Discovery(method))
	case w.text():
		fmt.Fprintf(w.app.err, "Discovering nodes using the %s method .... ", method)
	}
}

func (w *resultWriter) discovered(count int, took time.Duration) {
	switch {
	case w.job.o.output.jsonl:
		w.keep(w.lines.Discovered(count, took, w.job.o.methodName(w.job.network)))
	case w.text():
		fmt.Fprintln(w.app.err, count)
	}
}

func (w *resultWriter) plan(p batch.Plan, e batch.Estimate) error {
	w.complete = true
	if w.job.o.output.json || w.job.o.output.jsonl {
		return render.IndentedJSON(w.out, render.PlanDocument{
			SchemaVersion: render.SchemaVersion, Agent: w.job.o.agent, Action: w.job.o.action, Nodes: p.Nodes(), Plan: p, Estimate: e,
			Guards: w.job.guards(),
		})
	}
	return render.Plan(w.out, p, e, w.job.planOptions(w.out))
}

// begin is called when the run is about to start, or to go on.
func (w *resultWriter) begin(a *actor, from batch.Progress) {
	w.actor, w.start = a, time.Now()
	p := from.Plan()
	w.meter = newMeter(from.Summary())
	switch {
	case w.app.flags.noProgress:
	case w.app.terminal(w.app.err):
		w.progress = render.NewBar(w.app.err, p.Nodes(), w.app.width(w.app.err))
		w.progress.Update(w.meter.snapshot())
	case len(p.Batches) > 1:
		w.progress = render.NewPlain(w.app.err)
	}
}

// Observe implements batch.Observer: what it is told is durable.
func (w *resultWriter) Observe(r batch.Record) {
	for _, o := range r.Outcomes {
		reply, ok := w.actor.take(o.Node)
		if !ok {
			continue
		}
		w.replies = append(w.replies, reply)
		if w.job.o.output.jsonl {
			w.keep(w.lines.Result(reply))
			w.replies[len(w.replies)-1].Protocol = nil
		}
	}
	w.meter.observe(r)
	w.progress.Update(w.meter.snapshot())
}

// ran is called when the engine has ended.
func (w *resultWriter) ran(strays rpcclient.Strays, s batch.Summary, cause error) {
	w.strays = strays
	w.progress.Close(w.meter.snapshot())
	w.progress = &render.Progress{}
	if e, ok := errors.AsType[signalError](cause); ok && s.Verdict == batch.Interrupted {
		w.signal = &e
		if w.app.terminal(w.app.err) {
			fmt.Fprintln(w.app.err) // the terminal has written ^C
		}
	}
}

// codes are the exit codes of the verdicts.
var codes = map[batch.Verdict]int{
	batch.Fault: exitFault, batch.Stopped: exitStopped, batch.Uncertain: exitUnknown, batch.Failed: exitRefused,
	batch.Silent: exitNoReply, batch.Done: exitOK,
}

func (w *resultWriter) code(s batch.Summary) int {
	if s.Verdict == batch.Interrupted {
		if w.signal != nil {
			return signalCode(w.signal.signal)
		}
		return signalCode(syscall.SIGINT)
	}
	code, ok := codes[s.Verdict]
	if !ok {
		return exitFault
	}
	return code
}

// result writes a finished run and ends with its exit code.
func (w *resultWriter) result(s batch.Summary) error {
	code := w.code(s)
	verdict := render.Verdict(s)
	w.warnStrays()
	if err := w.write(w.document(s, code), w.textOptions(s, verdict)); err != nil {
		return err
	}
	if !w.text() || w.job.o.output.table {
		fmt.Fprintln(w.app.err, verdict)
	}
	w.next(s)
	return ended(code)
}

// next prints the run's id and the command to type next.
func (w *resultWriter) next(s batch.Summary) {
	if w.run == "" {
		return
	}
	fmt.Fprintf(w.app.err, "run %s\n", w.run)
	switch {
	case s.Open > 0:
		fmt.Fprintf(w.app.err, "hint: to go on: fleetctl runs resume %s\n", w.run)
	case s.States.Failed()+s.States.Of(batch.NoReply) > 0:
		fmt.Fprintf(w.app.err, "hint: to try these nodes again: fleetctl runs retry %s --failed --no-reply\n", w.run)
	}
}

// service writes the one reply of a service agent.
func (w *resultWriter) service(r rpcclient.Reply, reply render.Reply, ok bool) error {
	w.replies = []render.Reply{reply}
	stats := render.Stats{
		RequestID: r.RequestID, Discovered: 1, Responses: 1, OK: 1, Start: w.start, RequestTime: time.Since(w.start),
	}
	code := exitOK
	if !ok {
		stats.OK, stats.Failed, code = 0, 1, exitRefused
	}
	if w.job.o.output.jsonl {
		w.keep(w.lines.Result(reply))
	}
	result := render.Result{Agent: w.job.o.agent, Action: w.job.o.action, Replies: w.replies, Stats: stats, Summaries: w.aggregate().JSON()}
	if err := w.write(result, w.textOptions(batch.Summary{}, "")); err != nil {
		return err
	}
	return ended(code)
}

func (w *resultWriter) document(s batch.Summary, code int) render.Result {
	if w.job.o.output.sort {
		slices.SortStableFunc(w.replies, func(a, b render.Reply) int { return strings.Compare(a.Sender, b.Sender) })
	}
	strays := map[string]int{}
	for k, n := range w.strays.Count {
		strays[k.String()] = n
	}
	return render.Result{
		Agent: w.job.o.agent, Action: w.job.o.action, Replies: w.replies, Stats: w.stats(s),
		Summaries: w.aggregate().JSON(), Run: render.NewRun(s, code, strays),
	}
}

func (w *resultWriter) stats(s batch.Summary) render.Stats {
	st := render.Stats{
		UnexpectedResponses: w.strays.Names(rpcclient.Stranger), Discovered: s.Nodes, Responses: len(w.replies),
		PublishTime: w.publishTime(), RequestTime: time.Since(w.start), DiscoverTime: w.job.found.Took, Start: w.start,
	}
	if len(s.Batches) > 0 {
		st.RequestID = s.Batches[0].Request
	}
	for _, r := range w.replies {
		if r.StatusCode == 0 {
			st.OK++
		} else {
			st.Failed++
		}
	}
	for n := range s.Results() {
		if n.Replied.IsZero() && n.State != batch.NotSent && n.State != batch.Planned {
			st.NoResponses = append(st.NoResponses, n.Identity)
		}
	}
	return st
}

func (w *resultWriter) publishTime() time.Duration {
	if w.actor == nil {
		return 0
	}
	return w.actor.publishTime()
}

func (w *resultWriter) aggregate() *ddl.Aggregator {
	g := w.job.action.NewAggregator()
	for _, r := range w.replies {
		g.Add(r.Data)
	}
	return g
}

func (w *resultWriter) textOptions(s batch.Summary, verdict string) render.TextOptions {
	display, _ := render.ParseDisplay(w.job.o.output.display, w.job.action.Display)
	o := render.TextOptions{
		Display: display, Verbose: w.job.o.output.verbose, Colour: w.app.color(w.out) && w.file == nil, Width: w.app.width(w.out),
		Outputs: w.outputs(), Summaries: w.aggregate().Text(), Verdict: verdict,
	}
	if s.Nodes > 0 {
		o.Groups = render.StateGroups(s)
	}
	return o
}

func (w *resultWriter) outputs() map[string]render.Output {
	out := make(map[string]render.Output, len(w.job.action.Outputs))
	for name, o := range w.job.action.Outputs {
		out[name] = render.Output{DisplayAs: o.DisplayAs, Defaulted: o.Default != nil}
	}
	return out
}

// errIncomplete keeps half a result from taking a file's place.
var errIncomplete = errors.New("the result is not complete")

// write writes the result in the chosen format.
func (w *resultWriter) write(r render.Result, text render.TextOptions) error {
	err := w.format(r, text)
	w.complete = err == nil
	return err
}

// format has upstream's precedence.
func (w *resultWriter) format(r render.Result, text render.TextOptions) error {
	o := w.job.o.output
	switch {
	case o.senders && o.json:
		return render.SendersJSON(w.out, r.Replies)
	case o.senders:
		return render.Senders(w.out, r.Replies)
	case o.json:
		return render.JSON(w.out, r)
	case o.jsonl:
		return w.tail(r)
	case o.table:
		return render.OutputTable(w.out, r, text.Outputs)
	}
	return render.Text(w.out, r, text)
}

// tail writes the lines that end a stream of JSON lines.
func (w *resultWriter) tail(r render.Result) error {
	w.keep(w.lines.Summaries(r.Summaries))
	w.keep(w.lines.Stats(r.Stats))
	if r.Run != nil {
		w.keep(w.lines.Run(r.Run))
	}
	return w.err
}

func (w *resultWriter) warnStrays() {
	if w.strays.Total() == 0 {
		return
	}
	var parts []string
	for k := range w.strays.Count {
		parts = append(parts, fmt.Sprintf("%d %s (%s)", w.strays.Count[k], k, discovery.Fold(w.strays.Names(k))))
	}
	slices.Sort(parts)
	fmt.Fprintln(w.app.err, "warning: replies that were not believed: "+strings.Join(parts, "; "))
}
