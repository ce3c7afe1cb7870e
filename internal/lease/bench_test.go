package lease

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkBatch is what a batch of 10 nodes waits for a lock and a budget on a broker on this machine: the fence of the lock,
// the admission, and beside them another run that admits and proves all the time.
func BenchmarkBatch(b *testing.B) {
	for _, others := range []int{0, 1, 7} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			ns := broker(b, true)
			elections(b, ns)
			conn := connect(b, ns, "all")
			if _, err := Open(conn, Shared).Create(b.Context(), 1); err != nil {
				b.Fatal(err)
			}
			lock, err := Take(b.Context(), Open(conn, Elections), "web", alice, requestTTL)
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			var all sync.WaitGroup
			defer all.Wait()
			defer stop()
			account := func(run string) *Account {
				a, err := OpenAccount(b.Context(), Open(connect(b, ns, "all"), Shared), budgetOf(run, Limits{All: 1000, "rack": 500}))
				if err != nil {
					b.Fatal(err)
				}
				all.Go(func() { a.Keep(ctx) })
				return a
			}
			for i := range others {
				a := account(fmt.Sprint("other", i))
				all.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						nodes := tenNodes(n)
						if a.Admit(ctx, nodes) == nil {
							a.Leave(nodes...)
						}
						wait(ctx, 10*time.Millisecond)
					}
				})
			}
			a := account("mine")
			var took []time.Duration
			for n := 0; b.Loop(); n++ {
				nodes := tenNodes(n)
				began := time.Now()
				if err := lock.May(); err != nil {
					lock.renew(ctx)
				}
				if err := a.Admit(ctx, nodes); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
				a.Leave(nodes...)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

func tenNodes(n int) []string {
	nodes := make([]string, 10)
	for i := range nodes {
		nodes[i] = fmt.Sprintf("%c%d-%d", 'a'+i, n, i)
	}
	return nodes
}
