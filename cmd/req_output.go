package cmd

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/render"
	"fleetctl/internal/security"
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

	method   string // of discovery
	lineOpen bool   // the count of discovered nodes is still to come on stderr's last line
	run      string // the id of the run's record, "" without one
	from     batch.Progress
	actor    *actor
	replies  []render.Reply // those to show
	heard    tally
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
	w.heard.sums = j.action.NewAggregator()
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
	if w.job.o.output.kind == formatLines && worthALine(err) {
		w.app.lined = true
		w.keep(w.lines.Error(err))
	}
	written := w.err
	if w.file != nil {
		before := w.flush()
		if !w.complete {
			before = errors.Join(before, errIncomplete)
		}
		written = cmp.Or(written, w.file.commit(before))
	}
	if e, ok := errors.AsType[*exitError](err); ok && e.quiet && written != nil {
		return written // a result that is lost outranks what it says
	}
	return cmp.Or(err, written)
}

// flush writes out what a file's buffer holds.
func (w *resultWriter) flush() error {
	if buffer, ok := w.out.(*bufio.Writer); ok {
		return buffer.Flush()
	}
	return nil
}

func (w *resultWriter) keep(err error) {
	if w.err == nil && err != nil {
		w.err = fmt.Errorf("write the result: %w", err)
	}
}

// text tells whether people read along.
func (w *resultWriter) text() bool { return w.job.o.output.kind.forPeople() }

func (w *resultWriter) discovering(method string) {
	w.method = method
	switch {
	case w.job.o.output.kind == formatLines:
		w.keep(w.lines.Discovery(method))
	case w.text():
		// A line is left open only where nobody else writes: in a pipeline the other program does, until it has ended.
		if w.lineOpen = w.app.terminal(w.app.err) && w.job.o.nodesFile != "-"; w.lineOpen {
			fmt.Fprintf(w.app.err, discoveringText, method)
		}
	}
}

const discoveringText = "Discovering nodes using the %s method .... "

// undiscovered ends the line of a discovery that gave an error.
func (w *resultWriter) undiscovered() {
	if w.lineOpen {
		fmt.Fprintln(w.app.err)
	}
}

func (w *resultWriter) discovered(count int, took time.Duration) {
	switch {
	case w.job.o.output.kind == formatLines:
		w.keep(w.lines.Discovered(count, took, w.method))
	case w.text():
		if !w.lineOpen {
			fmt.Fprintf(w.app.err, discoveringText, w.method)
		}
		fmt.Fprintln(w.app.err, count)
	}
}

func (w *resultWriter) plan(p batch.Plan, e batch.Estimate) error {
	w.complete = true
	doc := render.PlanDocument{
		SchemaVersion: render.SchemaVersion, Agent: w.job.o.agent, Action: w.job.o.action, Nodes: p.Nodes(), Plan: p, Estimate: e,
		Guards: w.job.guards(),
	}
	switch w.job.o.output.kind {
	case formatJSON:
		return render.IndentedJSON(w.out, doc)
	case formatLines:
		return w.lines.Plan(doc)
	}
	return render.Plan(w.out, p, e, w.job.planOptions(w.out))
}

// begin is called when the run is about to start, or to go on.
func (w *resultWriter) begin(a *actor, from batch.Progress) {
	w.actor, w.from, w.start = a, from, time.Now()
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
		if reply, ok := w.actor.take(o.Node); ok {
			w.hear(reply)
		}
	}
	if r.Kind == batch.KindBatchEnd && w.job.o.output.kind == formatLines {
		w.keep(w.lines.Batch(w.from.Batch(r.Batch)))
	}
	if flying := w.from.Counts().Of(batch.Sending); r.Kind == batch.KindStopped && r.Stop.Kind == batch.StopSignal && flying > 0 {
		w.progress.Clear()
		fmt.Fprintf(w.app.err, "%s: nothing more is sent; replies still to come: %d (a second signal ends it at once)\n", r.Stop.Reason, flying)
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
	if s.States.Of(batch.NotSent) == s.Nodes && w.actor != nil && w.actor.unsigned() != nil {
		return exitNetwork // the signer did not let us in: nothing was sent
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
	w.warnFilter()
	written := w.write(w.account(s, code, verdict))
	if written == nil {
		written = w.flush()
	}
	// What became of the fleet is told in any case: stdout may be closed, or its disk full.
	if w.job.o.output.kind != formatText || written != nil {
		fmt.Fprintln(w.app.err, verdict)
	}
	w.next(s)
	if written != nil {
		return fmt.Errorf("write the result: %w", written)
	}
	if code == exitNetwork {
		w.hintSigner()
	}
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
		fmt.Fprintf(w.app.err, "hint: to go on: fleetctl runs resume %s%s\n", w.run, w.secretsAgain())
	case s.States.Failed()+s.States.Of(batch.NoReply) > 0:
		fmt.Fprintf(w.app.err, "hint: to try these nodes again: fleetctl runs retry %s --failed --no-reply%s\n", w.run, w.secretsAgain())
	}
}

// secretsAgain are the inputs that the next command needs again, as they are not in the record.
func (w *resultWriter) secretsAgain() string {
	if _, set := w.app.getenv(tokenVariable); set && w.job.o.agent == provisionAgent {
		return ""
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.job.inputs.secret)) {
		out.WriteString(" " + name + "=@FILE")
	}
	return out.String()
}

// hintSigner says what to do about a request signer that did not sign.
func (w *resultWriter) hintSigner() {
	if r, ok := errors.AsType[*security.RemoteError](w.actor.unsigned()); ok && r.Hint != "" {
		fmt.Fprintln(w.app.err, "hint: "+r.Hint)
	}
}

// service writes the one reply of a service agent.
func (w *resultWriter) service(r rpcclient.Reply, reply render.Reply, ok bool) error {
	w.hear(reply)
	stats := render.Stats{
		RequestID: r.RequestID, Discovered: 1, Responses: 1, OK: w.heard.ok, Failed: w.heard.failed, Start: w.start, RequestTime: time.Since(w.start),
	}
	node := batch.Result{Identity: reply.Sender, State: batch.Accepted, Code: reply.StatusCode, Sent: w.start, Replied: r.Received}
	code := exitOK
	if !ok {
		node.State, node.Reason, code = batch.Refused, reply.StatusMsg, exitRefused
	}
	w.warnFilter()
	result := render.Result{Agent: w.job.o.agent, Action: w.job.o.action, Replies: w.replies, Stats: stats, Summaries: w.heard.sums.JSON()}
	if err := w.write(account{result: result, text: w.textOptions(batch.Summary{}, ""), nodes: []batch.Result{node}, code: code}); err != nil {
		return err
	}
	return ended(code)
}

func (w *resultWriter) runOf(s batch.Summary, code int) render.Run {
	strays := map[string]int{}
	for k, n := range w.strays.Count {
		strays[k.String()] = n
	}
	return render.NewRun(s, code, strays)
}

func (w *resultWriter) document(s batch.Summary, run render.Run) render.Result {
	if w.job.o.output.sort {
		slices.SortStableFunc(w.replies, func(a, b render.Reply) int { return strings.Compare(a.Sender, b.Sender) })
	}
	return render.Result{
		Agent: w.job.o.agent, Action: w.job.o.action, Replies: w.replies, Stats: w.stats(s), Summaries: w.heard.sums.JSON(), Run: run,
	}
}

func (w *resultWriter) stats(s batch.Summary) render.Stats {
	st := render.Stats{
		UnexpectedResponses: w.strays.Names(rpcclient.Stranger), Discovered: s.Nodes, Responses: w.heard.ok + w.heard.failed,
		OK: w.heard.ok, Failed: w.heard.failed,
		PublishTime: w.publishTime(), RequestTime: time.Since(w.start), DiscoverTime: w.job.found.Took, Start: w.start,
	}
	if len(s.Batches) > 0 {
		st.RequestID = s.Batches[0].Request
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

func (w *resultWriter) textOptions(s batch.Summary, verdict string) render.TextOptions {
	o := render.TextOptions{
		Display: w.display(), Verbose: w.job.o.output.verbose, Colour: w.app.color(w.out) && w.file == nil, Width: w.app.width(w.out),
		Outputs: w.outputs(), Summaries: w.heard.sums.Text(), Verdict: verdict,
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
