package world

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetctl/internal/choria"
)

const collective = "mcollective"

// world is everything outside the operator's process: brokers, nodes, and the ground truth. Its methods need mu, those
// whose name ends in Locked excepted: they take it.
type world struct {
	mu      sync.Mutex // guards the world, its nodes and its connections
	begin   time.Time
	version choria.Version
	action  string
	rng     *rand.Rand // of the network; nodes have their own
	nodes   []*node
	named   map[string]*node
	rack    map[string]string // fact rack, by node
	brokers []*broker
	conns   []*conn
	noise   noise
	mute503 bool // this broker does not report absent nodes

	within   func(time.Time) bool                   // whether a batch may begin
	unjudged bool                                   // nothing is judged, and no timeline is kept
	patience struct{ verify, silent time.Duration } // how long a run waits: for proof after a delay; for a silent node
	sign     func(n *node, reply []byte) (signature []byte, token string)
	asleep   chan struct{} // nil, or closed when the operator's machine wakes
	woke     time.Time

	sends     []send
	intents   map[string]*intent   // by request id, of every run of the case
	arrived   map[string]time.Time // replies to the action at the operator's machine, by request and node
	verdicts  []string             // what the judge found
	lines     []string             // the timeline
	seen      map[string]int       // how often each interesting thing happened
	waiting   []*event             // of the life in progress
	passed    map[string]int       // anchors of the life in progress
	current   *process
	healed    bool
	common    *common // what several operators share; nil: there is one operator
	last      []byte  // of the request that was decoded last
	lastAsked asked
}

// noise is how often replies get lost and so on, as shares of one.
type noise struct{ lost, late, duplicate, forged float64 }

// send is one attempt to publish the action's request to a node.
type send struct {
	at      time.Time
	node    string
	request string
	failed  bool // the connection refused it
}

func newWorld(version choria.Version, action string, seed uint64) *world {
	return &world{
		begin: time.Now(), version: version, action: action, rng: rand.New(rand.NewPCG(seed, 1)), named: map[string]*node{}, rack: map[string]string{},
		intents: map[string]*intent{}, arrived: map[string]time.Time{}, seen: map[string]int{}, passed: map[string]int{},
	}
}

// logf adds a line to the timeline.
func (w *world) logf(format string, args ...any) {
	if w.unjudged {
		return
	}
	at := time.Since(w.begin)
	w.lines = append(w.lines, fmt.Sprintf("%9.3fs  %s", at.Seconds(), fmt.Sprintf(format, args...)))
}

// saw counts an interesting thing.
func (w *world) saw(what string) { w.seen[what]++ }

// violated notes what the judge found.
func (w *world) violated(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if len(w.verdicts) < 50 && !slices.Contains(w.verdicts, what) {
		w.verdicts = append(w.verdicts, what)
	}
	w.logf("JUDGE   %s", what)
}

// after does something later, under the lock.
func (w *world) after(d time.Duration, do func()) {
	time.AfterFunc(d, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		do()
	})
}

// event is something that happens to the world, some time after an anchor was passed for the nth time in a life. Without
// a delay it happens in that very moment, before the operator's process continues.
type event struct {
	anchor string
	n      int // from 1
	delay  time.Duration
	text   string
	do     func(w *world)
}

// expect makes events wait for their anchors, those of an earlier life aside.
func (w *world) expect(events []*event) {
	w.waiting, w.passed = nil, map[string]int{}
	w.waiting = append(w.waiting, events...)
}

// pass reports that an anchor was passed.
func (w *world) pass(anchor string) {
	w.passed[anchor]++
	n := w.passed[anchor]
	for _, e := range slices.Clone(w.waiting) {
		if e.anchor != anchor || e.n != n {
			continue
		}
		if e.delay == 0 {
			w.happen(e)
			continue
		}
		w.after(e.delay, func() { w.happen(e) })
	}
}

func (w *world) happen(e *event) {
	if w.healed {
		return
	}
	w.logf("EVENT   %s (%v after %s %d)", e.text, e.delay, e.anchor, e.n)
	word, _, _ := strings.Cut(e.text, ":")
	w.saw(word)
	e.do(w)
}

// untilAwake holds up the operator's process while its machine is suspended.
func (w *world) untilAwake() {
	for {
		w.mu.Lock()
		asleep := w.asleep
		w.mu.Unlock()
		if asleep == nil {
			return
		}
		<-asleep
	}
}

// suspend stops the operator's machine for a while.
func (w *world) suspend(d time.Duration) {
	if w.asleep != nil {
		return
	}
	since, asleep := time.Now(), make(chan struct{})
	w.asleep = asleep
	w.after(d, func() {
		if w.asleep == asleep {
			w.wake(since)
		}
	})
}

func (w *world) wake(since time.Time) {
	w.logf("wake    the operator's machine")
	if time.Since(since) > 4*time.Minute {
		for _, c := range w.conns {
			c.lose("the broker gave up on it")
		}
	}
	close(w.asleep)
	w.asleep, w.woke = nil, time.Now()
}

// heal ends all trouble: everything that may come back does.
func (w *world) heal() {
	w.healed, w.waiting, w.noise = true, nil, noise{}
	w.logf("HEAL    no more trouble")
	if w.asleep != nil {
		w.wake(time.Now())
	}
	for _, b := range w.brokers {
		b.rise()
	}
	for _, n := range w.nodes {
		n.heal()
	}
}

// describe lists what was seen, for the coverage table.
func describe(seen map[string]int) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		fmt.Fprintf(&b, "%8d  %s\n", seen[k], k)
	}
	return b.String()
}

// short is the part of a request id that tells it from others.
func short(id string) string {
	if len(id) > 6 {
		return id[len(id)-6:]
	}
	return id
}
