package batch

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"testing"
	"time"
)

// nowhere is a journal that keeps nothing, and pays for the encoding only.
type nowhere struct{ bytes int }

func (n *nowhere) Append(lines ...[]byte) error {
	for _, l := range lines {
		n.bytes += len(l)
	}
	return nil
}

// TestEngineIsSmallAt100000Nodes: what the engine holds for a whole run, with
// baselines and reasons, stays under its share of the memory budget.
func TestEngineIsSmallAt100000Nodes(t *testing.T) {
	const total = 100_000
	names := make([]Node, total)
	for i := range names {
		names[i].Identity = fmt.Sprintf("node%06d.example.net", i)
	}
	before := heapInUse()
	plan, err := NewPlan(names, Policy{Sizes: Sizes{percentage(10)}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Begin(Header{Run: "r"}, plan)
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(p.l, true, false, nil)
	now := time.Unix(1e9, 0)
	m.start(now, Rules{}, Pace{ReplyTimeout: time.Minute}, Gates{}, false, Shortest)
	for b := 1; b <= 10; b++ {
		base := map[string]Baseline{}
		for _, n := range m.l.batches[b-1].Nodes {
			base[n] = Baseline{Text: fmt.Sprintf("2026-01-01T00:00:%02dZ", b)}
		}
		m.step(baselineEvent{now, b, base, nil})
		m.step(sentEvent{now, b, nil})
		for _, n := range m.l.batches[b-1].Nodes {
			m.step(&outcomeEvent{now, Outcome{Batch: b, Node: n, Time: now, OK: true, Reason: "Restarting Choria Server after 4s"}})
			m.step(proofEvent{now, Proof{Node: n, Found: Acted, Time: now, Reason: "started later"}})
			m.l.commit()
		}
	}
	used := heapInUse() - before
	if s := p.Summary(); s.Verdict != Done || s.States.Of(Verified) != total {
		t.Fatalf("%s: %s", s.Verdict, counts(s.States))
	}
	t.Logf("the engine holds %.1f MB for %d nodes", float64(used)/1e6, total)
	if used > 60e6 {
		t.Errorf("the engine holds %.1f MB, want under 60", float64(used)/1e6)
	}
	runtime.KeepAlive(names)
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkRun is the engine's share of a node: reply, account, and with a journal the record.
func BenchmarkRun(b *testing.B) {
	b.Run("recorded", func(b *testing.B) { benchmarkRun(b, &nowhere{}) })
	b.Run("not recorded", func(b *testing.B) { benchmarkRun(b, nil) })
}

func benchmarkRun(b *testing.B, journal Journal) {
	b.ReportAllocs()
	const total = 100_000
	for b.Loop() {
		f := &instant{make(chan Outcome, 4096)}
		r := Runner{Actor: f, Outcomes: f.out, Journal: journal, Pace: Pace{ReplyTimeout: time.Minute}}
		s, err := r.Run(b.Context(), fleetPlan(total, Policy{Sizes: Sizes{percentage(10)}}))
		if err != nil || s.Verdict != Done {
			b.Fatal(s.Verdict, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/total, "µs/node")
}

type instant struct{ out chan Outcome }

func (f *instant) Act(_ context.Context, batch int, nodes []string) error {
	for _, n := range nodes {
		f.out <- Outcome{Batch: batch, Node: n, OK: true, Reason: "OK"}
	}
	return nil
}

// TestAFinalNodeOfAWindowIsSmall: what a rolling run keeps of a node after its end, beside what the plan took: its baseline
// and its reason, which are texts of their own, and its share of a batch. The rest is given back.
func TestAFinalNodeOfAWindowIsSmall(t *testing.T) {
	const total, window = 20_000, 400
	names := make([]Node, total)
	for i := range names {
		names[i].Identity = fmt.Sprintf("node%06d.example.net", i)
	}
	plan, err := NewPlan(names, Policy{Rolling: true, Sizes: Sizes{Number(window)}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Begin(Header{Run: "r"}, plan)
	if err != nil {
		t.Fatal(err)
	}
	f := &prompt{instant{make(chan Outcome, 4096)}}
	w := &scales{}
	for i := 1; i < 10; i++ {
		w.at = append(w.at, total*i/10)
	}
	r := Runner{Actor: f, Outcomes: f.out, Verifier: f, Admitter: f, Observer: w, Journal: &nowhere{}, Pace: Pace{ReplyTimeout: time.Minute, SilentHold: time.Minute}}
	s, err := r.Run(t.Context(), p)
	if err != nil || s.Verdict != Done || s.States.Of(Verified) != total || len(w.heap) != len(w.at) {
		t.Fatalf("%v, %s: %s, %d measurements", err, s.Verdict, counts(s.States), len(w.heap))
	}
	var steps []float64
	for i := range w.heap[1:] {
		steps = append(steps, float64(w.heap[i+1]-w.heap[i])/float64(total/10))
	}
	slices.Sort(steps)
	middle := steps[len(steps)/4 : len(steps)*3/4] // lists grow in leaps of up to 200 KB
	each := 0.0
	for _, s := range middle {
		each += s / float64(len(middle))
	}
	t.Logf("%.0f bytes a node, in batches of %d", each, total/len(s.Batches))
	if each > 165 { // 117 to 142 were seen, on one processor, too; 186 with baselines that are kept
		t.Errorf("%.0f bytes a node, want 165 at most", each)
	}
	runtime.KeepAlive(names)
}

// scales measure the heap when so many nodes are proved.
type scales struct {
	at     []int
	heap   []int64
	proved int
}

func (s *scales) Observe(r Record) {
	if s.proved += len(r.Proofs); len(s.heap) < len(s.at) && s.proved >= s.at[len(s.heap)] {
		s.heap = append(s.heap, heapInUse())
	}
}

// prompt nodes report a baseline of their own, and are proved when they have replied.
type prompt struct{ instant }

func (prompt) Request(batch int) string { return fmt.Sprintf("%032d", batch) }

func (prompt) Baseline(_ context.Context, nodes []string) (map[string]Baseline, error) {
	said := make(map[string]Baseline, len(nodes))
	for _, n := range nodes {
		said[n] = Baseline{Text: fmt.Sprintf("1764169%s 1764169000000 1764169000000 123", n[4:10])}
	}
	return said, nil
}

func (prompt) Verify(_ context.Context, targets <-chan []Target) iter.Seq[Proof] {
	return func(yield func(Proof) bool) {
		for group := range targets {
			for _, t := range group {
				if !t.Replied.IsZero() && !yield(Proof{Node: t.Node, Found: Acted, Reason: fmt.Sprintf("started 11:12:%s, was 10:11:12", t.Node[4:10])}) {
					return
				}
			}
		}
	}
}

func (prompt) Admit(context.Context, []string, func(string)) error { return nil }
func (prompt) Dismiss([]string)                                    {}
