package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/page"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

func writePage(w io.Writer, f Format, d page.Document) error {
	if f == Markdown {
		return page.Markdown(w, d)
	}
	return page.HTML(w, d)
}

// tone is what a state means for the operator. proved reports that acceptance is not the end.
func tone(s batch.State, proved bool) page.Tone {
	switch s {
	case batch.Verified:
		return page.Good
	case batch.Refused, batch.Unverified:
		return page.Bad
	case batch.Absent, batch.NoReply:
		return page.Warn
	case batch.NotSent, batch.Planned:
		return page.Idle
	case batch.Accepted:
		if !proved {
			return page.Good
		}
	}
	return page.Open
}

// stateKey is the column of the state in the table of nodes.
const stateKey = "state"

// runPage describes a run: what was done, when, and to which effect. facts are values of the nodes in the order of the
// plan.
func runPage(r run.Stored, facts map[string][]string) page.Document {
	s, m, proved := r.Progress.Summary(), r.Meta, r.Proves()
	d := page.Document{Title: m.Agent + "#" + m.Action, Verdict: render.Verdict(s), Tone: page.Bad, Notes: r.Progress.Plan().Notes}
	switch {
	case s.Ended.IsZero():
		d.Verdict, d.Tone = fmt.Sprintf("Not finished (%s): %s of %s", r.Status(), stateCounts(s.States), plain.Count(s.Nodes, "node")), page.Open
	case s.Verdict == batch.Done:
		d.Tone = page.Good
	case s.Verdict == batch.Uncertain:
		d.Tone = page.Open
	case s.Verdict == batch.Silent:
		d.Tone = page.Warn
	}
	d.Facts = runFacts(r, s)
	for _, state := range batch.States() {
		if n := s.States.Of(state); n > 0 {
			d.Counts = append(d.Counts, page.Count{Name: state.String(), N: n, Tone: tone(state, proved)})
		}
	}
	for _, g := range render.RunGroups(s) {
		if t := tone(g.Like.State, proved); t != page.Good && g.Like.State != batch.Planned {
			d.Groups = append(d.Groups, page.Group{Cause: g.Cause, N: len(g.Nodes), Nodes: discovery.Fold(g.Nodes), Tone: t,
				Where: []page.Pair{{Name: stateKey, Value: g.Like.State.String()}, {Name: "reason", Value: g.Like.Reason}}})
		}
	}
	nodes := slices.Collect(s.Results())
	d.Spans, d.Checks = spans(s, nodes, proved), checks(s)
	var replies, proofs []time.Duration
	for _, n := range nodes {
		if took := after(n, n.Replied); took != nil {
			replies = append(replies, took.(time.Duration))
		}
		if took := after(n, n.Proved); took != nil && n.State == batch.Verified {
			proofs = append(proofs, took.(time.Duration))
		}
	}
	for _, h := range []page.Bars{page.Histogram("From request to reply", replies), page.Histogram("From request to proof", proofs)} {
		if len(h.Items) > 0 {
			d.Bars = append(d.Bars, h)
		}
	}
	d.Nodes = runTable(nodes, proved, s.Started, facts)
	return d
}

func runFacts(r run.Stored, s batch.Summary) []page.Pair {
	m := r.Meta
	how := plain.Count(len(s.Batches), "batch")
	if s.Rolling {
		how = fmt.Sprintf("a rolling window of %s (%s)", r.Progress.Plan().Policy.Sizes, plain.Count(len(s.Batches), "request"))
	}
	took, resumed, torn, approved := "", "", "", ""
	if !s.Ended.IsZero() {
		took = s.Ended.Sub(s.Started).Round(time.Second / 10).String()
	}
	if s.Resumes > 0 {
		resumed = plain.Count(s.Resumes, "time")
	}
	if r.Torn > 0 {
		torn = fmt.Sprintf("%d bytes at its end are not whole", r.Torn)
	}
	if m.Approved > 0 {
		approved = strconv.Itoa(m.Approved)
	}
	facts := []page.Pair{
		{Name: "Run", Value: r.ID}, {Name: "Retry of", Value: s.Parent}, {Name: "Command", Value: plain.Words(m.Command)},
		{Name: "Caller", Value: m.Caller}, {Name: "By", Value: strings.Trim(m.User+"@"+m.Host, "@")}, {Name: "Site", Value: m.Site},
		{Name: "Collective", Value: m.Collective}, {Name: "Saved plan", Value: m.Plan}, {Name: "Approvals", Value: approved},
		{Name: "Started", Value: render.When(s.Started)}, {Name: "Ended", Value: render.When(s.Ended)}, {Name: "Took", Value: took},
		{Name: "Nodes", Value: fmt.Sprintf("%d in %s", s.Nodes, how)}, {Name: "Resumed", Value: resumed},
		{Name: "Reason", Value: cmp.Or(s.Stop.Reason, s.Reason)}, {Name: "Record", Value: torn}, {Name: "fleetctl", Value: m.Version},
	}
	return append(facts, limits(r)...)
}

func stateCounts(c batch.Counts) string {
	var parts []string
	for _, s := range batch.States() {
		if n := c.Of(s); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}

// after is how long after its own request a thing happened to a node; nil when it did not, or when no request was sent.
func after(n batch.Result, at time.Time) any {
	if n.Sent.IsZero() || at.Before(n.Sent) {
		return nil
	}
	return at.Sub(n.Sent)
}

// maxSpans is how many lines a timeline has; more batches, as the requests of a window, share lines.
const maxSpans = 40

// spans makes the timeline, a line for each batch or for some consecutive ones.
func spans(s batch.Summary, nodes []batch.Result, proved bool) []page.Span {
	word, each := "batch", (len(s.Batches)+maxSpans-1)/maxSpans
	if s.Rolling {
		word = "request"
	}
	since := func(t time.Time) time.Duration {
		if t.IsZero() {
			return -1
		}
		return max(t.Sub(s.Started), 0)
	}
	var lines []page.Span
	counts := map[int]map[batch.State]int{}
	for i, b := range s.Batches {
		if i%each == 0 {
			name := fmt.Sprintf("%s %d", word, b.Batch)
			if last := min(b.Batch+each-1, len(s.Batches)); last > b.Batch {
				name = fmt.Sprintf("%s %d – %d", word, b.Batch, last)
			} else if b.Canary {
				name += " (canary)"
			}
			lines = append(lines, page.Span{Name: name, Note: b.Reason, Sent: since(b.Sent), Answered: -1, Ended: -1})
			counts[len(lines)-1] = map[batch.State]int{}
		}
	}
	for _, n := range nodes {
		if n.Batch == 0 {
			continue // it waits in the pool
		}
		at := (n.Batch - 1) / each
		l := &lines[at]
		l.Nodes++
		l.Answered = max(l.Answered, since(n.Replied))
		l.Ended = max(l.Ended, since(n.Replied), since(n.Proved))
		counts[at][n.State]++
	}
	for i := range lines {
		c := batch.CountsOf(counts[i])
		lines[i].Result, lines[i].Tone = stateCounts(c), worst(c, proved)
	}
	return lines
}

// worst is the tone of the state that matters most.
func worst(c batch.Counts, proved bool) page.Tone {
	rank := []page.Tone{page.Bad, page.Open, page.Warn, page.Idle, page.Good}
	at := len(rank) - 1
	for _, s := range batch.States() {
		if c.Of(s) > 0 {
			at = min(at, slices.Index(rank, tone(s, proved)))
		}
	}
	return rank[at]
}

// runTable is a row for each node.
func runTable(nodes []batch.Result, proved bool, started time.Time, facts map[string][]string) page.Table {
	t := page.Table{By: stateKey, Tones: map[string]page.Tone{}, Columns: []page.Column{
		{Key: "node", Title: "Node", Kind: page.Text}, {Key: "batch", Title: "Batch", Kind: page.Number},
		{Key: stateKey, Title: "State", Kind: page.Choice}, {Key: "reason", Title: "Proof or reason", Kind: page.Text},
		{Key: "sent", Title: "Sent at", Kind: page.Seconds}, {Key: "replied", Title: "Reply after", Kind: page.Seconds},
		{Key: "proved", Title: "Proof after", Kind: page.Seconds},
	}}
	for _, s := range batch.States() {
		t.Tones[s.String()] = tone(s, proved)
	}
	extra := places(nodes)
	for _, fact := range sortedKeys(facts) {
		extra = append(extra, place{page.Column{Key: "fact:" + fact, Title: fact, Kind: page.Choice, Map: true}, facts[fact]})
	}
	for _, e := range extra {
		t.Columns = append(t.Columns, e.column)
	}
	for i, n := range nodes {
		row := []any{n.Identity, n.Batch, n.State.String(), n.Reason, nil, after(n, n.Replied), nil}
		if !n.Sent.IsZero() {
			row[4] = max(n.Sent.Sub(started), 0)
		}
		if n.State == batch.Verified {
			row[6] = after(n, n.Proved)
		}
		for _, e := range extra {
			row = append(row, e.values[i])
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// place is a column that groups nodes, with a value for each node.
type place struct {
	column page.Column
	values []string
}

// maxPlaces is how many values a part of the names may have to be worth a heat map.
const maxPlaces = 60

// places groups nodes by their names, where these show groups: by the letters that they begin with, and by their domain.
func places(nodes []batch.Result) []place {
	kinds := place{page.Column{Key: "begins", Title: "name prefix", Kind: page.Choice, Map: true, Aside: true}, nil}
	domains := place{page.Column{Key: "domain", Title: "domain", Kind: page.Choice, Map: true, Aside: true}, nil}
	for _, n := range nodes {
		host, domain, _ := strings.Cut(n.Identity, ".")
		if digit := strings.IndexAny(host, "0123456789"); digit >= 0 {
			host = host[:digit]
		}
		kinds.values, domains.values = append(kinds.values, strings.TrimRight(host, "-_")), append(domains.values, domain)
	}
	var useful []place
	for _, p := range []place{kinds, domains} {
		different := map[string]bool{}
		for _, v := range p.values {
			different[v] = true
		}
		if n := len(different); n > 1 && n <= min(maxPlaces, len(nodes)/2) {
			useful = append(useful, p)
		}
	}
	return useful
}

// page describes the run that the writer has followed.
func (w *Writer) page(a account) page.Document {
	if a.run == nil { // a service answered: there is no run
		proved := false
		d := page.Document{Title: w.call.Agent + "#" + w.call.Action.Name, Nodes: runTable(a.nodes, proved, w.start, nil)}
		for _, n := range a.nodes {
			d.Verdict, d.Tone = render.Cause(n), tone(n.State, proved)
		}
		return d
	}
	r := run.Stored{ID: a.id, Progress: w.progress}
	_ = json.Unmarshal(r.Progress.Header().Meta, &r.Meta) // this process has written it
	r.Meta.Agent, r.Meta.Action = w.call.Agent, w.call.Action.Name
	return runPage(r, r.Facts())
}

// planPage describes what a run would do.
func planPage(p run.Proposal) page.Document {
	d := page.Document{
		Title: "Plan: " + p.Agent + "#" + p.Action, Tone: page.Idle, Notes: slices.Concat(p.Plan.Notes, p.Guards),
		Verdict: fmt.Sprintf("Nothing was sent. The plan has %s in %s.", plain.Count(p.Plan.Nodes(), "node"), plain.Count(len(p.Plan.Batches), "batch")),
	}
	if p.Plan.Rolls() {
		d.Verdict = fmt.Sprintf("Nothing was sent. The plan has %s in a rolling window of %s.", plain.Count(p.Plan.Nodes(), "node"), p.Plan.Policy.Sizes)
	}
	if p.Estimate.Typical > 0 {
		d.Facts = append(d.Facts, page.Pair{Name: "Takes about", Value: fmt.Sprintf("%s (at most %s)", p.Estimate.Typical.Round(time.Second), p.Estimate.Longest.Round(time.Second))})
	}
	for _, r := range p.Refusals {
		d.Facts, d.Tone = append(d.Facts, page.Pair{Name: "Refused by " + r.Guard, Value: r.Reason}), page.Bad
	}
	d.Nodes.Columns = []page.Column{{Key: "node", Title: "Node", Kind: page.Text}, {Key: "batch", Title: "Batch", Kind: page.Choice}, {Key: "why", Title: "Why this size", Kind: page.Choice}}
	for _, b := range p.Plan.Batches {
		for _, n := range b.Nodes {
			d.Nodes.Rows = append(d.Nodes.Rows, []any{n, strconv.Itoa(b.Number), b.Reason})
		}
	}
	for _, n := range p.Plan.Pool {
		d.Nodes.Rows = append(d.Nodes.Rows, []any{n, "one by one", ""})
	}
	for _, out := range p.Plan.LeftOut {
		for _, n := range out.Nodes {
			d.Nodes.Rows = append(d.Nodes.Rows, []any{n, "none", out.Reason})
		}
	}
	return d
}
