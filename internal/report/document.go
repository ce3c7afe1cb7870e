package report

import (
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
	"fleetctl/rpcclient"
)

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

func (w *Writer) account(r run.Result, verdict string) account {
	s := r.Summary
	doc := render.Run{ID: s.Run, ExitCode: w.o.Code(r), Verdict: s.Verdict.String()}
	if !w.o.Format.forPeople() { // every node: a large fleet's account is made only for readers of documents
		strays := map[string]int{}
		for k, n := range r.Strays.Count {
			strays[k.String()] = n
		}
		doc = render.NewRun(s, doc.ExitCode, strays)
	}
	if w.o.Sort {
		slices.SortStableFunc(w.heard.shown, func(a, b *rpcclient.Reply) int { return strings.Compare(a.Node, b.Node) })
	}
	return account{
		result: render.Result{
			Agent: w.call.Agent, Action: w.call.Action.Name, Replies: w.heard.shown, Stats: w.stats(r), Summaries: w.heard.summaries(), Run: doc,
		},
		text: w.textOptions(s, verdict), id: doc.ID, verdict: doc.Verdict, code: doc.ExitCode, run: &doc, nodes: doc.Nodes,
	}
}

func (w *Writer) stats(r run.Result) render.Stats {
	s := r.Summary
	st := render.Stats{
		UnexpectedResponses: r.Strays.Names(rpcclient.Stranger), Discovered: s.Nodes, Responses: w.heard.ok + w.heard.failed,
		OK: w.heard.ok, Failed: w.heard.failed,
		PublishTime: r.Publish, RequestTime: time.Since(w.start), DiscoverTime: w.took, Start: w.start,
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

func (w *Writer) textOptions(s batch.Summary, verdict string) render.TextOptions {
	o := render.TextOptions{
		Display: w.heard.display, Verbose: w.o.Verbose, Color: w.o.Out.Color && w.o.File == nil, Width: w.o.Out.Width,
		Outputs: make(map[string]render.Output, len(w.call.Action.Outputs)), Summaries: w.heard.sums.Text(), Verdict: verdict,
	}
	for name, out := range w.call.Action.Outputs {
		o.Outputs[name] = render.Output{DisplayAs: out.DisplayAs, Defaulted: out.Default != nil}
	}
	if s.Nodes > 0 {
		o.Groups = render.StateGroups(s)
		if w.foldsSuccesses() {
			o.Groups = append(o.Groups, render.SuccessGroups(s, w.call.Proves != 0)...)
		}
	}
	return o
}

// answered writes the one reply of a service agent.
func (w *Writer) answered(e run.Answered) error {
	r := &e.Reply
	w.release(nil)
	w.hear(r)
	stats := render.Stats{
		RequestID: r.RequestID, Discovered: 1, Responses: 1, OK: w.heard.ok, Failed: w.heard.failed, Start: e.Start, RequestTime: time.Since(e.Start),
	}
	node := batch.Result{Identity: r.Node, State: batch.Accepted, Code: int(r.Code), Sent: e.Start, Replied: r.Received}
	if !r.OK() {
		node.State, node.Reason = batch.Refused, r.Message
	}
	w.live.warnFilter(&w.heard)
	result := render.Result{Agent: w.call.Agent, Action: w.call.Action.Name, Replies: w.heard.shown, Stats: stats, Summaries: w.heard.summaries()}
	return w.write(account{result: result, text: w.textOptions(batch.Summary{}, ""), nodes: []batch.Result{node}, code: w.o.Code(e.Result())})
}

// write writes the result in the chosen format.
func (w *Writer) write(a account) error {
	err := w.print(a)
	w.complete = err == nil
	return err
}

func (w *Writer) print(a account) error {
	switch w.o.Format {
	case SendersJSON:
		return render.SendersJSON(w.out, a.result.Replies)
	case Senders:
		return render.Senders(w.out, a.result.Replies)
	case JSON:
		return render.JSON(w.out, a.result)
	case Lines:
		return w.tail(a)
	case Table:
		return render.OutputTable(w.out, a.result, a.text.Outputs)
	case CSV:
		return render.CSV(w.out, a.result, a.text.Outputs)
	case Nodeset:
		return render.Nodeset(w.out, w.succeeded(a.nodes))
	case Markdown, HTML:
		return writePage(w.out, w.o.Format, w.page(a))
	case JUnit:
		return render.JUnit(w.out, render.Suite{
			Agent: w.call.Agent, Action: w.call.Action.Name, Run: a.id, Verdict: a.verdict, ExitCode: a.code,
			Start: w.start, Took: time.Since(w.start), Nodes: a.nodes, Proved: a.run != nil && w.call.Proves != 0,
		})
	}
	return render.Text(w.out, a.result, a.text)
}

// succeeded returns the nodes that did what was asked, proved when something is proved. With --filter-replies only those whose reply
// it shows.
func (w *Writer) succeeded(nodes []batch.Result) []string {
	shown := map[string]bool{}
	for _, r := range w.heard.shown {
		shown[r.Node] = true
	}
	var names []string
	for _, n := range nodes {
		if succeeded(n, w.call.Proves != 0) && (w.o.Filter == nil || shown[n.Identity]) {
			names = append(names, n.Identity)
		}
	}
	return names
}

// succeeded reports whether a node did what was asked, proved when something is proved.
func succeeded(n batch.Result, proved bool) bool {
	return n.State.Succeeded(proved)
}

// tail writes the lines that end a stream of JSON lines: every node, the aggregates, the statistics, the run.
func (w *Writer) tail(a account) error {
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
