package cmd

import (
	"errors"
	"fmt"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/render"
)

// tally counts every reply, shown or not; it sums up those that are shown, as upstream does.
type tally struct {
	ok, failed int
	sums       *ddl.Aggregator
	unfit      int   // replies that the expression of --filter-replies cannot be evaluated on
	why        error // of the first of them
}

// hear counts a reply, and keeps it or writes it when it is to be shown.
func (w *resultWriter) hear(r render.Reply) {
	if r.StatusCode == 0 {
		w.heard.ok++
	} else {
		w.heard.failed++
	}
	if !w.shows(r) {
		return
	}
	w.heard.sums.Add(r.Data)
	switch w.job.o.output.kind {
	case formatLines:
		w.keep(w.lines.Result(r))
	case formatJUnit: // counts nodes, not replies
	case formatText:
		if w.display().Shows(r.StatusCode, w.job.o.output.verbose) {
			w.replies = append(w.replies, r)
		}
	default:
		w.replies = append(w.replies, r)
	}
}

// display is what the operator wants to see, else what the agent's document says.
func (w *resultWriter) display() render.Display {
	d, _ := render.ParseDisplay(w.job.o.output.display, w.job.action.Display)
	return d
}

// shows asks --filter-replies. A reply that it cannot be evaluated on is not shown, as upstream has it, but that is said.
func (w *resultWriter) shows(r render.Reply) bool {
	e := w.job.o.output.expr
	if e == nil {
		return true
	}
	ok, err := e.Match(filter.ReplyEnv{Sender: r.Sender, Message: r.StatusMsg, Code: r.StatusCode, Data: r.Data, Time: r.Time})
	if err != nil {
		if w.heard.unfit++; w.heard.why == nil {
			w.heard.why = fmt.Errorf("%s: %w", r.Sender, err)
		}
		return false
	}
	return ok
}

// warnFilter tells what the expression could not judge.
func (w *resultWriter) warnFilter() {
	if w.heard.unfit > 0 {
		fmt.Fprintf(w.app.err, "warning: --filter-replies hides %d replies that it cannot be evaluated on: %v\n", w.heard.unfit, w.heard.why)
	}
}

// account is a finished request, with what each format needs of it.
type account struct {
	result  render.Result
	text    render.TextOptions
	id      string // the run's; "" for a service
	verdict string
	code    int
	run     *render.Run // nil for a service: no node was chosen
	nodes   []batch.Result
}

func (w *resultWriter) account(s batch.Summary, code int, verdict string) account {
	run := render.Run{ID: s.Run, ExitCode: code, Verdict: s.Verdict.String()}
	if !w.text() {
		run = w.runOf(s, code) // every node: a large fleet's account is made only for who reads it
	}
	return account{
		result: w.document(s, run), text: w.textOptions(s, verdict), id: run.ID, verdict: run.Verdict, code: code, run: &run, nodes: run.Nodes,
	}
}

// errIncomplete keeps half a result from taking a file's place.
var errIncomplete = errors.New("the result is not complete")

// write writes the result in the chosen format.
func (w *resultWriter) write(a account) error {
	err := w.format(a)
	w.complete = err == nil
	return err
}

func (w *resultWriter) format(a account) error {
	switch w.job.o.output.kind {
	case formatSendersJSON:
		return render.SendersJSON(w.out, a.result.Replies)
	case formatSenders:
		return render.Senders(w.out, a.result.Replies)
	case formatJSON:
		return render.JSON(w.out, a.result)
	case formatLines:
		return w.tail(a)
	case formatTable:
		return render.OutputTable(w.out, a.result, a.text.Outputs)
	case formatCSV:
		return render.CSV(w.out, a.result, a.text.Outputs)
	case formatNodeset:
		return render.Nodeset(w.out, w.succeeded(a.nodes))
	case formatJUnit:
		return render.JUnit(w.out, render.Suite{
			Agent: w.job.o.agent, Action: w.job.o.action, Run: a.id, Verdict: a.verdict, ExitCode: a.code,
			Start: w.start, Took: time.Since(w.start), Nodes: a.nodes, Proved: a.run != nil && w.job.proves() != 0,
		})
	}
	return render.Text(w.out, a.result, a.text)
}

// succeeded are the nodes that did it: proved, where something is proved. With --filter-replies only those whose reply
// it shows.
func (w *resultWriter) succeeded(nodes []batch.Result) []string {
	shown := map[string]bool{}
	for _, r := range w.replies {
		shown[r.Sender] = true
	}
	var names []string
	for _, n := range nodes {
		did := n.State == batch.Verified || n.State == batch.Accepted && w.job.proves() == 0
		if did && (w.job.o.output.expr == nil || shown[n.Identity]) {
			names = append(names, n.Identity)
		}
	}
	return names
}

// tail writes the lines that end a stream of JSON lines: every node, the aggregates, the statistics, the run.
func (w *resultWriter) tail(a account) error {
	if a.run != nil {
		for _, n := range a.nodes {
			w.keep(w.lines.Node(n))
		}
	}
	w.keep(w.lines.Summaries(a.result.Summaries))
	w.keep(w.lines.Stats(a.result.Stats))
	if a.run != nil {
		w.keep(w.lines.Run(a.run.Line()))
	}
	return w.err
}

// worthALine tells whether an error is said: a verdict was already.
func worthALine(err error) bool {
	if err == nil {
		return false
	}
	e, ok := errors.AsType[*exitError](err)
	return !ok || !e.quiet
}

// orLine writes an error that came before anything else as a JSON line, where those were asked for: an error is a line
// and an exit code.
func (a *app) orLine(o *reqOptions, err error) error {
	if o.output.kind == formatLines && o.output.file == "" && worthALine(err) && !a.lined {
		a.lined = true
		return errors.Join(err, render.NewLines(a.out).Error(err))
	}
	return err
}
