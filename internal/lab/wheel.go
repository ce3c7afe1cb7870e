package lab

import (
	"runtime"
	"sync"
	"time"
)

// notch is the grain of the wheel. Nodes of fleets up to 500 differ by more in their delay.
const notch = 100 * time.Microsecond

// wheel hands requests to nodes after their delay. One timer and one goroutine serve all
// that is due within a notch, in the order in which it was put in: 100,000 of each would
// cost more than the replies.
type wheel struct {
	began time.Time
	hands chan struct{} // as many goroutines work as there are processors; the others wait

	mu    sync.Mutex // guards notches
	ahead map[time.Duration][]due
}

// due is a request that a process will handle.
type due struct {
	node    *node
	process int
	arrival *arrival
}

func newWheel() *wheel {
	return &wheel{began: time.Now(), hands: make(chan struct{}, runtime.GOMAXPROCS(0)), ahead: make(map[time.Duration][]due)}
}

// put makes d due after the delay, rounded up to a notch.
func (w *wheel) put(l *Lab, delay time.Duration, d due) {
	now := time.Since(w.began)
	at := (now + delay + notch - 1) / notch * notch
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, set := w.ahead[at]; !set {
		l.after(at-now, func() { w.turn(at) })
	}
	w.ahead[at] = append(w.ahead[at], d)
}

func (w *wheel) turn(at time.Duration) {
	w.hands <- struct{}{}
	defer func() { <-w.hands }()
	w.mu.Lock()
	list := w.ahead[at]
	delete(w.ahead, at)
	w.mu.Unlock()
	for _, d := range list {
		d.node.take(d)
	}
}
