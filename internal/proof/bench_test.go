package proof

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/rpcclient"
)

func crowd(n int) []batch.Target {
	now := time.Now()
	targets := make([]batch.Target, n)
	for i := range targets {
		targets[i] = batch.Target{
			Node: fmt.Sprintf("node%06d.example.net", i), Baseline: "946681200", Sent: now, Replied: now, Stamp: now,
			Delay: time.Duration(2+i%10) * time.Second,
		}
	}
	return targets
}

// unconnected is a loop without a network: what the loop itself costs.
func unconnected(a Action) *loop {
	return &loop{
		v: New(Options{Action: a}), base: time.Now(), yield: func(batch.Proof) bool { return true }, nodes: map[string]*watched{},
		sentAt: map[string]sentPoll{}, inbox: newInbox(), early: map[string]startup{},
	}
}

// BenchmarkLoop is what 100,000 nodes cost in the loop: watched, five times planned, a start event, and the answer.
func BenchmarkLoop(b *testing.B) {
	const size = 100_000
	targets := crowd(size)
	for b.Loop() {
		l := unconnected(Restart)
		for _, t := range targets {
			l.watch(t)
		}
		for range 5 {
			for _, t := range targets {
				w := l.nodes[t.Node]
				w.asked = l.now()
				w.plan(l.now(), false, 0, answerTime)
				l.fix(w)
			}
		}
		for _, t := range targets {
			l.event(startup{node: t.Node, at: t.Stamp.Unix() + 5, arrived: t.Sent})
		}
		for _, t := range targets {
			l.reply(rpcclient.Reply{Node: t.Node, Code: choria.OK, Received: time.Now(), Data: json.RawMessage(`{"starttime":4000000000,"version":"0.29.4"}`)})
		}
		if l.open != 0 || len(l.queue) != 0 {
			b.Fatalf("%d nodes are left", l.open)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/node")
}

// BenchmarkWatched is the memory that a watched node takes.
func BenchmarkWatched(b *testing.B) {
	const size = 100_000
	targets := crowd(size)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		l := unconnected(Restart)
		for _, t := range targets {
			l.watch(t)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/size, "B/node")
		runtime.KeepAlive(l)
	}
}

// BenchmarkVerify is a whole Verify of 100,000 nodes that have restarted, in real time: the fake servers' work and half a
// second of waiting are in it.
func BenchmarkVerify(b *testing.B) {
	const size = 100_000
	names := make([]string, size)
	for i := range names {
		names[i] = fmt.Sprintf("node%06d.example.net", i)
	}
	f := newFleet(names...)
	targets := crowd(size)
	for i := range targets {
		targets[i].Delay = 0
		f.nodes[targets[i].Node].start = time.Now().Add(time.Minute)
	}
	for b.Loop() {
		in := make(chan []batch.Target, 1)
		in <- targets
		close(in)
		o := f.options(Restart)
		o.LongestDelay = time.Nanosecond
		n := 0
		for p := range New(o).Verify(b.Context(), in) {
			if p.Found == batch.Acted {
				n++
			}
		}
		if n != size {
			b.Fatalf("%d nodes are proved, want %d", n, size)
		}
	}
}
