package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Runner runs a plan: it feeds the machine and does what the machine says, in
// one goroutine. Its fields are set before Run and not changed after. A Runner
// may be used again; two runs at once need two.
type Runner struct {
	Actor    Actor
	Outcomes <-chan Outcome // every reply of the run, late ones too; may be closed
	Verifier Verifier       // nil: accepted is final
	Prober   Prober         // nil: who is unknown stays so
	Journal  Journal        // nil: the run is not durable
	Observer Observer       // nil: nobody looks on
	Rules    Rules
	Pace     Pace

	// Confirm asks before each batch but the first, when Pace.ConfirmEach. It
	// must return when ctx ends. An error counts as no.
	Confirm func(ctx context.Context, p Pause) (bool, error)

	// Interrupt delivers the first signal, as its cause: no new batch, replies
	// in flight are still collected.
	Interrupt <-chan error

	// Lost says that the connection is gone for good: nothing more is waited for.
	Lost <-chan error
}

// Validate refuses a runner that cannot run.
func (r Runner) Validate() error {
	switch {
	case r.Actor == nil:
		return errors.New("cannot run without an actor")
	case r.Pace.ConfirmEach && r.Confirm == nil:
		return errors.New("cannot confirm each batch: nobody to ask")
	}
	return errors.Join(r.Rules.Validate(), r.Pace.Validate())
}

// maxGroup is how many events are handled before their records are kept.
const maxGroup = 512

// Run begins the plan of a fresh Progress, or goes on with a replayed one: first
// proof of what was accepted and probes of what is unknown, then the nodes never
// sent to. It blocks until the run ends, and takes from over.
//
// How nodes fared, and that a rule, a deadline or Interrupt stopped the run, is
// in the Summary. An error means that the Journal failed (the Summary says what
// the journal says) or that ctx ended: then everything is left at once, and the
// error wraps its cause. End ctx only when there is no time for Interrupt.
func (r Runner) Run(ctx context.Context, from Progress) (Summary, error) {
	if from.l == nil {
		return Summary{}, errors.New("cannot run: no plan")
	}
	if err := r.Validate(); err != nil {
		return Summary{}, err
	}
	var request func(int) string
	if named, ok := r.Actor.(Requester); ok {
		request = named.Request
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	send, halt := context.WithCancel(work)
	x := &execution{
		Runner: r, work: work, send: send, halt: halt,
		m:      newMachine(from.l, r.Verifier != nil, r.Prober != nil, request),
		events: make(chan event, maxGroup), timer: time.NewTimer(time.Hour),
		abandon: ctx.Done(), cause: func() error { return context.Cause(ctx) },
	}
	x.do(x.m.start(time.Now(), r.Rules, r.Pace))
	x.flush()
	for !x.ended {
		x.handle(x.wait())
	}
	stopWork()
	if x.targets != nil {
		close(x.targets)
	}
	x.wg.Wait()
	x.timer.Stop()
	s := from.Summary()
	switch {
	case x.failed != nil:
		return s, fmt.Errorf("keep the records of the run: %w", x.failed)
	case x.abandoned != nil:
		return s, fmt.Errorf("run abandoned: %w", x.abandoned)
	}
	return s, nil
}

// execution is one Run in progress. Only its goroutine touches it; the
// goroutines it starts report through events.
type execution struct {
	Runner
	m          *machine
	work, send context.Context // send ends first: what sends or prepares to send
	halt       context.CancelFunc
	wg         sync.WaitGroup
	events     chan event
	abandon    <-chan struct{}
	cause      func() error
	pending    []Record
	targets    chan []Target // to the Verifier; nil until there is one
	handed     []Target      // not taken by it yet
	timers     []timerCmd
	timer      *time.Timer
	ended      bool
	failed     error // of the journal
	abandoned  error
}

// wait returns the next event, nil when only targets were handed on.
func (x *execution) wait() event {
	var hand chan []Target
	if len(x.handed) > 0 {
		hand = x.targets
	}
	x.setTimer()
	select {
	case o, ok := <-x.Outcomes:
		if !ok {
			x.Outcomes = nil
			return nil
		}
		return replied(o)
	case e := <-x.events:
		return e
	case hand <- x.handed:
		x.handed = nil
	case <-x.timer.C:
		return x.due()
	case err, ok := <-x.Interrupt:
		if x.Interrupt = nil; ok {
			return interruptEvent{time.Now(), orUnknown(err)}
		}
	case err, ok := <-x.Lost:
		if x.Lost = nil; ok {
			return lostEvent{time.Now(), orUnknown(err)}
		}
	case <-x.abandon:
		x.abandon, x.abandoned = nil, x.cause()
		return abandonEvent{time.Now(), x.abandoned}
	}
	return nil
}

func orUnknown(err error) error {
	if err == nil {
		return errors.New("cause unknown")
	}
	return err
}

// handle steps the machine by one event and by the others that are there
// already, so that their records are kept as one group. Replies that are in go
// first: neither a timeout nor an interrupt may overtake them.
func (x *execution) handle(e event) {
	if _, reply := e.(outcomeEvent); !reply {
		for x.takeReplies() == maxGroup && x.flush() {
		}
	}
	if e != nil {
		x.step(e)
	}
	if x.takeReplies() < maxGroup {
		x.takeEvents()
	}
	x.flush()
}

// takeReplies handles replies that are in, at most a group of them.
func (x *execution) takeReplies() int {
	for n := range maxGroup {
		select {
		case o, ok := <-x.Outcomes:
			if !ok {
				x.Outcomes = nil
				return n
			}
			x.step(replied(o))
		default:
			return n
		}
	}
	return maxGroup
}

// takeEvents handles what the other goroutines have told already.
func (x *execution) takeEvents() {
	for range maxGroup {
		select {
		case e := <-x.events:
			x.step(e)
		default:
			return
		}
	}
}

func (x *execution) step(e event) {
	if !x.ended {
		x.do(x.m.step(e))
	}
}

// do carries out commands in order. Records wait for the next flush; what must
// not come before them flushes first.
func (x *execution) do(commands []command) {
	for _, c := range slices.Clone(commands) { // a failed flush steps the machine again
		if x.ended {
			return
		}
		switch c := c.(type) {
		case recordCmd:
			x.keep(c.Record)
		case actCmd:
			if x.flush() {
				x.act(c)
			}
		case baselineCmd:
			x.wg.Go(func() {
				said, err := x.Verifier.Baseline(x.send, c.Nodes)
				base := make(map[string]string, len(said))
				for node, b := range said {
					base[node] = b.Text
				}
				x.tell(baselineEvent{time.Now(), c.Batch, base, err})
			})
		case verifyCmd:
			x.verify(c.Targets)
		case probeCmd:
			x.wg.Go(func() { x.probe(c.Targets) })
		case confirmCmd:
			if x.flush() {
				x.wg.Go(func() {
					yes, err := x.Confirm(x.send, c.Pause)
					x.tell(confirmEvent{time.Now(), yes, err})
				})
			}
		case timerCmd:
			x.timers = append(x.timers, c)
		case haltCmd:
			x.halt()
		case endCmd:
			x.flush()
			x.ended = true
		}
	}
}

// keep queues a record. Records of replies and of proofs grow to a group.
func (x *execution) keep(r Record) {
	if n := len(x.pending); n > 0 {
		last := &x.pending[n-1]
		if last.Kind == r.Kind && len(last.Outcomes)+len(last.Proofs) < groupSize {
			switch r.Kind {
			case KindOutcomes:
				last.Outcomes = append(last.Outcomes, r.Outcomes...)
				return
			case KindProofs, KindProbed:
				last.Proofs = append(last.Proofs, r.Proofs...)
				return
			}
		}
	}
	x.pending = append(x.pending, r)
}

// flush makes the queued records durable, then shows them. When it returns
// false the run is over.
func (x *execution) flush() bool {
	if x.failed != nil {
		return false
	}
	if len(x.pending) == 0 {
		return true
	}
	if x.Journal != nil {
		if err := x.write(); err != nil {
			x.failed = err
			x.pending = nil
			x.do(x.m.fail(journalEvent{time.Now(), err}))
			x.ended = true
			return false
		}
	}
	x.m.l.commit()
	if x.Observer != nil {
		for _, r := range x.pending {
			x.Observer.Observe(r)
		}
	}
	clear(x.pending)
	x.pending = x.pending[:0]
	return true
}

func (x *execution) write() error {
	lines := make([][]byte, len(x.pending))
	for i, r := range x.pending {
		line, err := encodeRecord(r)
		if err != nil {
			return err
		}
		lines[i] = line
	}
	return x.Journal.Append(lines...)
}

func (x *execution) act(c actCmd) {
	x.wg.Go(func() {
		err := x.Actor.Act(x.send, c.Batch, c.Nodes)
		x.tell(sentEvent{time.Now(), c.Batch, err})
	})
}

// verify hands targets to the one Verify call of the run.
func (x *execution) verify(targets []Target) {
	if x.targets == nil {
		in := make(chan []Target)
		x.targets = in
		x.wg.Go(func() {
			for p := range x.Verifier.Verify(x.work, in) {
				if p.Found == Unasked {
					p.Found = Unproved
				}
				if !x.tell(proofEvent{proved(p)}) {
					break
				}
			}
			x.tell(verifierEnd{time.Now()})
		})
	}
	x.handed = append(x.handed, targets...)
}

func (x *execution) probe(targets []Target) {
	for p := range x.Prober.Probe(x.send, targets) {
		if !x.tell(probeEvent{proved(p)}) {
			return
		}
	}
	x.tell(probeEnd{time.Now()})
}

// tell hands an event to the run, and reports false when it is over.
func (x *execution) tell(e event) bool {
	select {
	case x.events <- e:
		return true
	case <-x.work.Done():
		return false
	}
}

// setTimer arms the timer for the earliest wait; there are a handful at most.
func (x *execution) setTimer() {
	if len(x.timers) == 0 {
		x.timer.Stop()
		return
	}
	first := slices.MinFunc(x.timers, func(a, b timerCmd) int { return a.At.Compare(b.At) })
	x.timer.Reset(time.Until(first.At))
}

// due takes the earliest wait that is over.
func (x *execution) due() event {
	now := time.Now()
	slices.SortStableFunc(x.timers, func(a, b timerCmd) int { return a.At.Compare(b.At) })
	if len(x.timers) == 0 || x.timers[0].At.After(now) {
		return nil
	}
	t := x.timers[0]
	x.timers = slices.Delete(x.timers, 0, 1)
	return timerEvent{now, t.Timer, t.Batch}
}
