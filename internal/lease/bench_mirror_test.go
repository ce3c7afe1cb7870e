package lease

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"fleetctl/batch"
)

// BenchmarkMirror is what a batch of 100 nodes waits for its shared intent on a broker on this machine, and what its nodes take
// there. The segment holds the outcomes and proofs of the batch before, and the baseline and the intent of this one.
func BenchmarkMirror(b *testing.B) {
	const size = 100
	ns := broker(b, true)
	store := Open(connect(b, ns, "all"), Shared)
	if _, err := store.Create(b.Context(), 1); err != nil {
		b.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	m, err := Claim(b.Context(), store, aHead, MirrorOptions{Timeout: time.Minute, Sign: func(text []byte) (json.RawMessage, error) {
		return json.Marshal(map[string][]byte{"signature": ed25519.Sign(key, text)})
	}})
	if err != nil {
		b.Fatal(err)
	}
	kept(b, m)
	var took []time.Duration
	var before []byte // outcomes and proofs
	random, raw := rand.New(rand.NewPCG(1, 2)), 0
	for b.Loop() {
		intent, rest := recordOf(b, random, len(took)+1, size)
		lines := append(before, intent...)
		before, raw = rest, raw+len(lines)
		began := time.Now()
		m.Add(lines)
		if err := m.Await(b.Context()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	var held struct {
		State struct{ Bytes int }
	}
	if err := store.ask(b.Context(), "$JS.API.STREAM.INFO."+store.stream(), nil, nil, &held, useStreams); err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(held.State.Bytes)/float64(size*len(took)), "B/node")
	b.ReportMetric(float64(raw)/float64(size*len(took)), "raw-B/node")
}

// recordOf is what a run's record has of a batch until its intent, and afterwards.
func recordOf(b *testing.B, random *rand.Rand, number, nodes int) (intent, rest []byte) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(number) * 20 * time.Second)
	within := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	line := func(kind batch.Kind, after time.Duration, r batch.Record) []byte {
		r.Version, r.Kind, r.Time, r.Batch = 2, kind, now.Add(after+within(time.Millisecond)), number
		text, err := json.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		return fmt.Appendf(nil, "{\"sum\":\"%08x\",\"rec\":%s}\n", random.Uint32(), text)
	}
	baselines := map[string]string{}
	var outcomes []batch.Outcome
	var proofs []batch.Proof
	for i := range nodes {
		name := fmt.Sprintf("web%05d.example.net", number*nodes+i)
		started := now.Add(-within(100 * 24 * time.Hour))
		replied, acted := now.Add(within(time.Second)), now.Add(within(15*time.Second))
		baselines[name] = fmt.Sprintf("%d %d %d 71", started.Unix(), replied.Unix(), now.UnixMilli())
		outcomes = append(outcomes, batch.Outcome{
			Batch: number, Node: name, Time: replied, OK: true, Stamp: replied.Truncate(time.Second), Delay: time.Second + within(9*time.Second).Truncate(time.Second),
		})
		proofs = append(proofs, batch.Proof{
			Node: name, Found: batch.Acted, Time: acted, Reason: "started " + acted.Format(time.TimeOnly) + ", was " + started.Format(time.DateTime),
		})
	}
	intent = slices.Concat(line(batch.KindBaseline, 0, batch.Record{Baselines: baselines}),
		line(batch.KindIntent, 0, batch.Record{Request: fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64())}))
	rest = slices.Concat(line(batch.KindSent, 0, batch.Record{}), line(batch.KindOutcomes, time.Second, batch.Record{Outcomes: outcomes}),
		line(batch.KindReplies, time.Second, batch.Record{}))
	for part := range slices.Chunk(proofs, 10) { // as they come
		rest = append(rest, line(batch.KindProofs, 15*time.Second, batch.Record{Proofs: part})...)
	}
	return intent, append(rest, line(batch.KindBatchEnd, 15*time.Second, batch.Record{})...)
}
