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
	o          *Options
	display    render.Display // the operator's choice of replies, else that of the agent's document
	ok, failed int
	shown      []*rpcclient.Reply
	sums       *ddl.Aggregator
	unfit      int   // replies that the expression of --filter-replies cannot be evaluated on
	why        error // of the first of them
}

// keepsSuccesses reports whether replies without an error are kept until the end.
func (g *gathered) keepsSuccesses() bool {
	switch g.o.Format {
	case Lines, JUnit, Markdown, HTML:
		return false
	case Text:
		return g.display.Shows(0, g.o.Verbose)
	}
	return true
}

// maxGrown is the number of replies for which memory is allocated at once.
const maxGrown = 100_000

// hear counts a reply, and keeps one that is to be shown at the end. It reports whether the reply is to be shown.
func (g *gathered) hear(r *rpcclient.Reply) bool {
	if r.OK() {
		g.ok++
	} else {
		g.failed++
	}
	if !g.shows(r) {
		return false
	}
	g.sums.Add(r.Data)
	switch g.o.Format {
	case Lines, JUnit, Markdown, HTML: // the former are written at once, the others count nodes, not replies
	case Text:
		if g.display.Shows(int(r.Code), g.o.Verbose) {
			g.shown = append(g.shown, r)
		}
	default:
		g.shown = append(g.shown, r)
	}
	return true
}

// shows asks --filter-replies. A reply that it cannot be evaluated on is not shown, as upstream has it, but that is
// reported.
func (g *gathered) shows(r *rpcclient.Reply) bool {
	if g.o.Filter == nil {
		return true
	}
	ok, err := g.o.Filter.Match(filter.ReplyEnv{Sender: r.Node, Message: r.Message, Code: int(r.Code), Data: r.Data, Time: r.Time.UTC()})
	if err != nil {
		if g.unfit++; g.why == nil {
			g.why = fmt.Errorf("%s: %w", r.Node, err)
		}
		return false
	}
	return ok
}

// summaries are the aggregates as the formats write them.
func (g *gathered) summaries() json.RawMessage { return g.sums.JSON() }
