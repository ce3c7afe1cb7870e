package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"
)

// fleet is simulated nodes: Actor, Verifier and Prober in one. Node k replies
// after k milliseconds unless told otherwise.
type fleet struct {
	outcomes chan Outcome
	replyIn  map[string]time.Duration // -1: never
	refuse   map[string]bool
	unproved map[string]bool
	vague    map[string]bool // the Prober cannot tell
	leaving  map[string]bool // not connected when the request comes, and at the baseline before still there
	unasked  map[string]bool // the Verifier cannot ask them
	proofIn  time.Duration
	perNode  time.Duration // to send to one node
	grid     time.Duration // replies come in clumps at its multiples
	replied  func(n int)   // called after the n-th reply; nil: nothing is

	mu        sync.Mutex      // guards what follows
	gone      map[string]bool // not connected
	delivered map[string]int
	replies   int                  // of nodes that were there
	dead      bool                 // the process that sends is gone
	recorded  func(batch int) bool // nil: not checked
	unlawful  []string             // sent to without an intent on record
}

func newFleet() *fleet {
	return &fleet{outcomes: make(chan Outcome, 10_000), replyIn: map[string]time.Duration{}, refuse: map[string]bool{},
		unproved: map[string]bool{}, vague: map[string]bool{}, gone: map[string]bool{}, leaving: map[string]bool{}, unasked: map[string]bool{}, delivered: map[string]int{}, proofIn: 2 * time.Second}
}

func (f *fleet) Act(ctx context.Context, batch int, nodes []string) error {
	for i, n := range nodes {
		if f.perNode > 0 {
			select {
			case <-ctx.Done():
				return &NotSentError{Nodes: nodes[i:], Err: context.Cause(ctx)}
			case <-time.After(f.perNode):
			}
		}
		lawful := f.recorded == nil || f.recorded(batch)
		f.mu.Lock()
		if f.dead {
			f.mu.Unlock()
			return errors.New("dead")
		}
		if f.gone[n] || f.leaving[n] {
			f.mu.Unlock()
			time.AfterFunc(time.Millisecond, func() { f.outcomes <- Outcome{Batch: batch, Node: n, Code: -1, Absent: true} })
			continue
		}
		f.delivered[n]++
		if !lawful {
			f.unlawful = append(f.unlawful, n)
		}
		f.mu.Unlock()
		in, told := f.replyIn[n]
		if !told {
			in = time.Duration(i+1) * time.Millisecond
		}
		if in < 0 {
			continue
		}
		if f.grid > 0 {
			in = time.Until(time.Now().Add(in).Truncate(f.grid).Add(f.grid))
		}
		o := Outcome{Batch: batch, Node: n, OK: !f.refuse[n]}
		if !o.OK {
			o.Code, o.Reason = 4, "Incorrect provision token supplied"
		}
		time.AfterFunc(in, func() {
			f.mu.Lock()
			f.replies++
			n := f.replies
			f.mu.Unlock()
			if f.outcomes <- o; f.replied != nil {
				f.replied(n)
			}
		})
	}
	return nil
}

func (f *fleet) Request(batch int) string { return fmt.Sprintf("request-%d", batch) }

func (f *fleet) Baseline(ctx context.Context, nodes []string) (map[string]Baseline, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	base := map[string]Baseline{}
	for _, n := range nodes {
		base[n] = Baseline{Text: "up since " + n, Absent: f.gone[n]}
	}
	return base, nil
}

func (f *fleet) count(node string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.delivered[node]
}

func (f *fleet) isUnasked(node string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unasked[node]
}

func (f *fleet) Verify(ctx context.Context, in <-chan []Target) iter.Seq[Proof] {
	return func(yield func(Proof) bool) {
		type due struct {
			at    time.Time
			proof Proof
		}
		var queue []due
		for {
			var timer <-chan time.Time
			if len(queue) > 0 {
				timer = time.After(time.Until(queue[0].at))
			}
			select {
			case <-ctx.Done():
				return
			case group, ok := <-in:
				if !ok {
					return
				}
				for _, t := range group {
					p := Proof{Node: t.Node, Found: Acted}
					switch {
					case f.isUnasked(t.Node):
						p.Found, p.Reason = Unasked, "could not be asked: the connection was lost"
					case f.unproved[t.Node] || f.count(t.Node) == 0:
						p.Found = Unproved
					}
					queue = append(queue, due{time.Now().Add(f.proofIn), p})
				}
			case <-timer:
				if !yield(queue[0].proof) {
					return
				}
				queue = queue[1:]
			}
		}
	}
}

func (f *fleet) Probe(ctx context.Context, targets []Target) iter.Seq[Proof] {
	return func(yield func(Proof) bool) {
		for _, t := range targets {
			p := Proof{Node: t.Node, Found: Untouched}
			switch {
			case f.vague[t.Node]:
				p.Found = Unproved
			case f.count(t.Node) > 0:
				p.Found = Acted
			}
			if ctx.Err() != nil || !yield(p) {
				return
			}
		}
	}
}

// tape is a journal in memory that can die: at append number dieAt it writes
// nothing, the first half of its lines, or all, and fails from then on.
type tape struct {
	mu      sync.Mutex // guards lines
	lines   [][]byte
	appends int
	dieAt   int // 0: never
	keep    death
	onDeath func()
	sync    time.Duration // what one append takes
	intents map[int]bool  // batches whose intent is written
}

// intended reports whether the intent of a batch is on the tape.
func (t *tape) intended(batch int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.intents[batch]
}

func (t *tape) write(lines [][]byte) {
	t.lines = append(t.lines, lines...)
	for _, l := range lines {
		if !bytes.Contains(l, []byte(`"k":"intent"`)) {
			continue
		}
		if r, err := decodeRecord(l); err == nil && r.Kind == KindIntent {
			if t.intents == nil {
				t.intents = map[int]bool{}
			}
			t.intents[r.Batch] = true
		}
	}
}

type death int

const (
	writeNothing death = iota
	writeHalf
	writeAll
	deaths
)

var errDead = errors.New("the process died")

func (t *tape) Append(lines ...[]byte) error {
	if t.sync > 0 {
		<-time.After(t.sync)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.appends++
	if t.dieAt == 0 || t.appends < t.dieAt {
		t.write(lines)
		return nil
	}
	if t.appends == t.dieAt {
		if t.onDeath != nil {
			t.onDeath()
		}
		switch t.keep {
		case writeHalf:
			t.write(lines[:len(lines)/2])
		case writeAll:
			t.write(lines)
		}
	}
	return errDead
}

func (t *tape) all() iter.Seq2[[]byte, error] {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fromLines(t.lines[:len(t.lines):len(t.lines)])
}

// watcher is an Observer that remembers, and checks that what it sees is kept.
type watcher struct {
	tape    *tape
	seen    []Record
	early   int
	records int
}

func (w *watcher) Observe(r Record) {
	w.seen = append(w.seen, r)
	w.records++
	if w.tape != nil && len(w.tape.lines) < w.records {
		w.early++
	}
}

func (w *watcher) kinds() []Kind {
	var kinds []Kind
	for _, r := range w.seen {
		kinds = append(kinds, r.Kind)
	}
	return kinds
}

func fleetPlan(count int, p Policy) Progress {
	nodes := make([]Node, count)
	for i := range nodes {
		nodes[i] = Node{Identity: fmt.Sprintf("n%d", i+1)}
	}
	plan, err := NewPlan(nodes, p)
	if err != nil {
		panic(err)
	}
	progress, err := Begin(Header{Run: "r1", Meta: []byte(`{"agent":"x"}`)}, plan)
	if err != nil {
		panic(err)
	}
	return progress
}
