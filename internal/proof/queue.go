package proof

import (
	"sync"
	"time"

	"fleetctl/internal/choria"
)

// queue is a heap of nodes, the one that is to be looked at next on top. Nothing ever scans all of them.
type queue []*watched

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].next < q[j].next }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].slot, q[j].slot = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	w := x.(*watched)
	w.slot = len(*q)
	*q = append(*q, w)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return w
}

// startup is what counts of a lifecycle event.
type startup struct {
	node         string
	at           int64     // unix seconds, the node's clock
	provisioning bool      // it started in provisioning mode
	arrived      time.Time // our clock
}

// maxEvents bounds the events that wait for the loop: a flood of forgeries must not fill the memory. Polling finds
// what is dropped, except reprovisioned nodes, hence the size.
const maxEvents = 200_000

// inbox takes events from the subscription's goroutine without ever blocking it.
type inbox struct {
	wake chan struct{} // holds one token when there may be events

	mu   sync.Mutex // guards list
	list []startup
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// deliver reads a lifecycle event of either format. Only startups count: alive events repeat themselves, with the time
// of the process's beginning.
func (b *inbox) deliver(m choria.Message) {
	e, err := choria.DecodeEvent(m.Data)
	if err != nil || e.Type != "startup" || e.Identity == "" || e.Time.IsZero() {
		return
	}
	s := startup{node: e.Identity, at: e.Time.Unix(), provisioning: e.Component == provisionComponent, arrived: m.Arrived}
	b.mu.Lock()
	if len(b.list) < maxEvents {
		b.list = append(b.list, s)
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take empties the inbox.
func (b *inbox) take() []startup {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.list
	b.list = nil
	return list
}
