package batch

import (
	"fmt"
	"slices"
	"time"
)

// skipYoung takes nodes off a batch whose process is younger than Rules.NotSince: they need no request. Other nodes take
// the place of canaries.
func (m *machine) skipYoung(at time.Time, f *flight) {
	limit := m.l.begin.Rules.NotSince
	if limit <= 0 || m.halt != haltNone {
		return
	}
	var young []string
	for _, name := range m.aboard(f) {
		if b := f.prep.said[name]; b.Age > 0 && b.Age < limit {
			young = append(young, name)
		}
	}
	if len(young) == 0 {
		return
	}
	for group := range slices.Chunk(young, groupSize) {
		m.record(Record{Kind: KindSkipped, Time: at, Batch: f.batch, Nodes: group, Reason: fmt.Sprintf("its process is younger than %v", limit)})
	}
	if f.batch > 0 && m.l.batches[f.batch-1].Canary && len(m.successors(1)) > 0 { // as often as needed: some node must go first
		m.replace(at, f, young, "needs no request")
	}
}
