package batch_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"fleetctl/batch"
)

// services acts on services of this process. Any action will do that can be sent to a name and answers later.
type services struct {
	outcomes chan batch.Outcome
	broken   []string // refuse
}

// Act implements batch.Actor. The answers come on their own stream, as late as they like.
func (s *services) Act(_ context.Context, number int, nodes []string) error {
	go func() {
		for _, name := range nodes {
			o := batch.Outcome{Batch: number, Node: name, OK: !slices.Contains(s.broken, name)}
			if !o.OK {
				o.Reason = "disk full"
			}
			s.outcomes <- o
		}
	}()
	return nil
}

// memory is a journal that lasts as long as this process. A real one returns when the lines are on the disk.
type memory struct{ lines [][]byte }

// Append implements batch.Journal.
func (m *memory) Append(lines ...[]byte) error {
	for _, l := range lines {
		m.lines = append(m.lines, slices.Clone(l))
	}
	return nil
}

func (m *memory) all() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, l := range m.lines {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func named(names ...string) []batch.Node {
	nodes := make([]batch.Node, len(names))
	for i, n := range names {
		nodes[i] = batch.Node{Identity: n, Facts: map[string]string{"rack": n[:2]}}
	}
	return nodes
}

// A plan is made without any I/O: the first batch has one node, and no batch has two nodes of one rack.
func ExampleNewPlan() {
	sizes, err := batch.ParseSizes("1,2")
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := batch.NewPlan(named("r1-a", "r1-b", "r2-a", "r2-b", "r3-a"), batch.Policy{Sizes: sizes, MaxPer: []batch.MaxPer{{Fact: "rack", N: 1}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, b := range plan.Batches {
		fmt.Println(i+1, b.Nodes)
	}
	// Output:
	// 1 [r1-a]
	// 2 [r1-b r2-a]
	// 3 [r2-b r3-a]
}

// A run without Choria: two batches, and a stop rule that ends it at the first failure.
func ExampleRunner_Run() {
	plan, err := batch.NewPlan(named("r1-a", "r1-b", "r2-a", "r2-b"), batch.Policy{Sizes: batch.Sizes{batch.Number(2)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	progress, err := batch.Begin(batch.Header{Run: "example"}, plan)
	if err != nil {
		fmt.Println(err)
		return
	}
	s := &services{outcomes: make(chan batch.Outcome), broken: []string{"r1-b"}}
	summary, err := batch.Runner{
		Actor: s, Outcomes: s.outcomes, Journal: &memory{},
		Rules: batch.Rules{MaxFailed: batch.Number(1)},
		Pace:  batch.Pace{ReplyTimeout: time.Minute},
	}.Run(context.Background(), progress)
	fmt.Println(summary.Verdict, err)
	for r := range summary.Results() {
		fmt.Printf("%s: %s %q\n", r.Identity, r.State, r.Reason)
	}
	// Output:
	// stopped <nil>
	// r1-a: accepted ""
	// r1-b: refused "disk full"
	// r2-a: not-sent ""
	// r2-b: not-sent ""
}

// A journal shows after a crash what was sent. A resumed run sends only to nodes that certainly got nothing.
func ExampleReplay() {
	plan, err := batch.NewPlan(named("r1-a", "r2-a"), batch.Policy{Sizes: batch.Sizes{batch.Number(1)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	progress, err := batch.Begin(batch.Header{Run: "example"}, plan)
	if err != nil {
		fmt.Println(err)
		return
	}
	journal, s := &memory{}, &services{outcomes: make(chan batch.Outcome)}
	interrupt := make(chan error, 1)
	run := batch.Runner{Actor: s, Outcomes: s.outcomes, Journal: journal, Interrupt: interrupt, Pace: batch.Pace{ReplyTimeout: time.Minute, Sleep: time.Hour}}
	run.Observer = observer(func(r batch.Record) {
		if r.Kind == batch.KindOutcomes {
			interrupt <- errors.New("the operator pressed Ctrl-C")
		}
	})
	summary, err := run.Run(context.Background(), progress)
	fmt.Println(summary.Verdict, summary.Open, err)

	again, err := batch.Replay(journal.all())
	if err != nil {
		fmt.Println(err)
		return
	}
	run.Interrupt, run.Observer = nil, nil
	summary, err = run.Run(context.Background(), again)
	fmt.Println(summary.Verdict, summary.Open, err)
	// Output:
	// interrupted 1 <nil>
	// done 0 <nil>
}

// observer is a function that sees records once they are durable.
type observer func(batch.Record)

// Observe implements batch.Observer.
func (o observer) Observe(r batch.Record) { o(r) }
