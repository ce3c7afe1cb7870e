package report

import (
	"encoding/json"
	"fmt"

	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/render"
	"fleetctl/rpcclient"
)

// gathered collects the replies of a request: every reply is counted; replies to show are kept and aggregated.
type gathered struct {
	ok, failed int
	shown      []rpcclient.Reply
	sums       *ddl.Aggregator
	unfit      int   // replies that the expression of --filter-replies cannot be evaluated on
	why        error // of the first of them
}

// keepsSuccesses reports whether replies without an error are kept until the end.
func (w *Writer) keepsSuccesses() bool {
	switch w.o.Format {
	case Lines, JUnit, Markdown, HTML:
		return false
	case Text:
		return w.display().Shows(0, w.o.Verbose)
	}
	return true
}

// maxGrown is the number of replies for which memory is allocated at once.
const maxGrown = 100_000

// hear counts a reply. It keeps or writes a reply that is to be shown.
func (w *Writer) hear(r rpcclient.Reply) {
	if r.OK() {
		w.heard.ok++
	} else {
		w.heard.failed++
	}
	if !w.shows(r) {
		return
	}
	w.heard.sums.Add(r.Data)
	switch w.o.Format {
	case Lines:
		w.keep(w.lines.Result(r))
	case JUnit, Markdown, HTML: // count nodes, not replies
	case Text:
		if w.display().Shows(int(r.Code), w.o.Verbose) {
			w.heard.shown = append(w.heard.shown, r)
		}
	default:
		w.heard.shown = append(w.heard.shown, r)
	}
}

// display is the operator's choice of replies, else that of the agent's document.
func (w *Writer) display() render.Display {
	d, _ := render.ParseDisplay(w.o.Display, w.call.Action.Display)
	return d
}

// shows asks --filter-replies. A reply that it cannot be evaluated on is not shown, as upstream has it, but that is
// reported.
func (w *Writer) shows(r rpcclient.Reply) bool {
	if w.o.Filter == nil {
		return true
	}
	ok, err := w.o.Filter.Match(filter.ReplyEnv{Sender: r.Node, Message: r.Message, Code: int(r.Code), Data: r.Data, Time: r.Time.UTC()})
	if err != nil {
		if w.heard.unfit++; w.heard.why == nil {
			w.heard.why = fmt.Errorf("%s: %w", r.Node, err)
		}
		return false
	}
	return ok
}

// summaries are the aggregates as the formats write them.
func (g *gathered) summaries() json.RawMessage { return g.sums.JSON() }
