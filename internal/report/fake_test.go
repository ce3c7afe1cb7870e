package report

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/ddl"
	"fleetctl/internal/proof"
	"fleetctl/internal/run"
	"fleetctl/rpcclient"
)

// story is a small run, and the writer that gets its events. It lives in a synctest bubble.
type story struct {
	t        *testing.T
	out, err bytes.Buffer
	agent    string
	action   string
	proves   proof.Action
	replies  map[string]rpcclient.Reply // by node; a node without one is silent
	batches  [][]string
	result   run.Result // Summary is filled in
	rules    batch.Rules
	stop     bool // the run is interrupted while the first batch flies
}

// newStory is a run over a, b in one batch and c, d in another: a and d do it, b refuses, c is silent.
func newStory(t *testing.T) *story {
	reply := func(node, data string) rpcclient.Reply {
		return rpcclient.Reply{Node: node, Agent: "rpcutil", Action: "ping", Message: "OK", Data: json.RawMessage(data), RequestID: "r1"}
	}
	refused := reply("b", "{}")
	refused.Code, refused.Message = 1, "not today"
	return &story{
		t: t, agent: "rpcutil", action: "ping", batches: [][]string{{"a", "b"}, {"c", "d"}},
		replies: map[string]rpcclient.Reply{"a": reply("a", `{"pong":1}`), "b": refused, "d": reply("d", `{"pong":2}`)},
	}
}

// named gives the run a record, and secrets that it needs again.
func (s *story) named(id string, secrets ...string) {
	s.result.ID, s.result.Next = id, run.Next{Run: id, Secrets: secrets}
}

// document is the action of the story.
func (s *story) document() *ddl.Action {
	s.t.Helper()
	doc, err := ddl.Resolver{}.Resolve(s.t.Context(), s.agent)
	if err != nil {
		s.t.Fatal(err)
	}
	action, ok := doc.Action(s.action)
	if !ok {
		s.t.Fatalf("no %s#%s", s.agent, s.action)
	}
	return action
}

// writer is one that writes into the story's buffers.
func (s *story) writer(o Options) *Writer {
	if o.Out.Writer == nil {
		o.Out.Writer = &s.out
	}
	if o.Err.Writer == nil {
		o.Err.Writer = &s.err
	}
	o.Out.Width, o.Err.Width = 80, 80
	o.Code = func(r run.Result) int { return 40 + int(r.Summary.Verdict) }
	return New(o)
}

// tell tells the whole story, and returns how the writer ended it.
func (s *story) tell(w *Writer) error {
	s.t.Helper()
	s.prepare(w)
	report := func(e run.Event) { s.report(w, e) }
	report(run.Searching{Method: "mc"})
	report(run.Found{Method: "mc", Nodes: 4, Took: 1500 * time.Millisecond})
	plan := batch.Plan{}
	for i, nodes := range s.batches {
		plan.Batches = append(plan.Batches, batch.Batch{Number: i + 1, Nodes: nodes, Reason: "as the test says"})
	}
	from, err := batch.Begin(batch.Header{Run: s.result.ID}, plan)
	if err != nil {
		s.t.Fatal(err)
	}
	report(run.Began{ID: s.result.ID, Progress: from})
	flight := &flight{story: s, outcomes: make(chan batch.Outcome, 10), interrupt: make(chan error, 1)}
	s.result.Summary, err = batch.Runner{
		Actor: flight, Outcomes: flight.outcomes, Interrupt: flight.interrupt, Pace: batch.Pace{ReplyTimeout: time.Second}, Rules: s.rules,
		Observer: observer(func(r batch.Record) { report(run.Recorded{Record: r, Progress: from}) }),
	}.Run(s.t.Context(), from)
	if err != nil {
		s.t.Fatal(err)
	}
	return w.End(w.Report(run.Finished{Result: s.result}))
}

func (s *story) prepare(w *Writer) {
	s.t.Helper()
	s.report(w, run.Prepared{Agent: s.agent, Action: s.document(), Proves: s.proves})
}

func (s *story) report(w *Writer, e run.Event) {
	s.t.Helper()
	if err := w.Report(e); err != nil {
		s.t.Errorf("%T: %v", e, err)
	}
}

type observer func(batch.Record)

// Observe implements batch.Observer.
func (o observer) Observe(r batch.Record) { o(r) }

// flight answers for the nodes.
type flight struct {
	story     *story
	outcomes  chan batch.Outcome
	interrupt chan error
}

// Act implements batch.Actor.
func (f *flight) Act(_ context.Context, number int, nodes []string) error {
	for i, node := range nodes {
		r, ok := f.story.replies[node]
		if !ok {
			continue
		}
		time.AfterFunc(time.Duration(i+1)*10*time.Millisecond, func() {
			r.Received, r.Time = time.Now(), time.Now()
			o := batch.Outcome{Batch: number, Node: node, Time: r.Received, OK: r.OK(), Code: int(r.Code), Reply: &r}
			if !o.OK {
				o.Reason = r.Message
			}
			f.outcomes <- o
		})
	}
	if f.story.stop && number == 1 {
		f.interrupt <- errSignal
	}
	return nil
}

type signalText string

func (s signalText) Error() string { return string(s) }

const errSignal = signalText("interrupt signal received")

// journal makes the lines of a record.
func journal(t *testing.T, records ...batch.Record) iter.Seq2[[]byte, error] {
	t.Helper()
	var lines [][]byte
	for _, r := range records {
		r.Version = batch.RecordVersion
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return func(yield func([]byte, error) bool) {
		for _, line := range lines {
			if !yield(line, nil) {
				return
			}
		}
	}
}
