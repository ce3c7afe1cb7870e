package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Runner runs a plan: it feeds the machine and executes its commands, in
// one goroutine. Its fields are set before Run and not changed after. A Runner
// may be used again; two runs at once need two.
type Runner struct {
	Actor    Actor
	Outcomes <-chan Outcome // every reply of the run, late ones too; may be closed
	Verifier Verifier       // nil: accepted is final
	Prober   Prober         // nil: unknown nodes stay so
	Journal  Journal        // nil: the run is not durable
	Observer Observer       // may be nil
	Rules    Rules
	Pace     Pace

	// Confirm asks before each batch but the first, when Pace.ConfirmEach. It
	// must return when ctx ends. An error counts as no.
	Confirm func(ctx context.Context, s Step) (bool, error)

	// Gates are for the record; Gatekeeper asks them. nil when there are none.
	Gates      Gates
	Gatekeeper Gatekeeper

	// Admitter is asked before each intent; nil: all are admitted.
	Admitter Admitter

	// Interrupt delivers the first signal, as its cause: no new batch, replies
	// in flight are still collected.
	Interrupt <-chan error

	// Link delivers the events of the connection. While it is away nothing is sent,
	// and after it is back nothing before the batch's baselines are in.
	Link <-chan Link

	// Control pauses and continues. While the run is paused nothing new is sent
	// and no consent is asked; replies, proof, stop rules and the deadline continue.
	Control <-chan Control

	// Elapsed is how much time has passed for certain since a moment that a record
	// holds; nil is Shortest.
	Elapsed func(since, now time.Time) time.Duration

	// Lagging means, for a resume, that the record may lack requests that were
	// really sent: nodes that do not report how long they have run are not sent to,
	// neither now nor in a retry.
	Lagging bool

	// Age is how old the run is when Run is called, by a clock of which its records know nothing: that of another machine
	// wrote them. 0: by the records.
	Age time.Duration
}

// Validate refuses a runner that cannot run.
func (r Runner) Validate() error {
	switch {
	case r.Actor == nil:
		return errors.New("cannot run without an actor")
	case r.Pace.ConfirmEach && r.Confirm == nil:
		return errors.New("cannot confirm each batch: there is no way to ask")
	case r.Gates.IsZero() != (r.Gatekeeper == nil):
		return errors.New("cannot keep gates: there is nothing that asks them, or nothing to ask")
	}
	return errors.Join(r.Rules.Validate(), r.Pace.Validate())
}

// rolls refuses what a window cannot do.
func (r Runner) rolls() error {
	if r.Pace.SilentHold <= 0 {
		return errors.New("cannot roll without knowing how long a silent node keeps its slot")
	}
	return r.Rules.inBatches(r.Pace)
}

// Run begins the plan of a fresh Progress, or resumes a replayed one: first proof
// of what was accepted and probes of what is unknown, then the nodes never sent
// to. It blocks until the run ends, and takes from over.
//
// How nodes fared, and that a rule, a deadline or Interrupt stopped the run, is
// in the Summary. An error means that the Journal failed (the Summary matches
// the journal) or that ctx ended: then Run returns at once, and the
// error wraps its cause. End ctx only when there is no time for Interrupt.
func (r Runner) Run(ctx context.Context, from Progress) (Summary, error) {
	if from.l == nil {
		return Summary{}, errors.New("cannot run: no plan")
	}
	if err := r.Validate(); err != nil {
		return Summary{}, err
	}
	if from.l.begin.Plan.Policy.Rolling {
		if err := r.rolls(); err != nil {
			return Summary{}, err
		}
	}
	elapsed := r.Elapsed
	if elapsed == nil {
		elapsed = Shortest
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
		events: make(chan event, maxGroup), unask: func() {}, admissions: map[int]context.CancelFunc{}, timer: time.NewTimer(time.Hour),
		abandon: ctx.Done(), cause: func() error { return context.Cause(ctx) },
	}
	x.m.admits.on, x.m.age, x.m.agedAt = r.Admitter != nil, r.Age, time.Now()
	x.do(x.m.start(time.Now(), r.Rules, r.Pace, r.Gates, r.Lagging, elapsed))
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
	pending    []Record      // not durable yet, see flush
	waiting    int           // nodes in them, of replies and proofs
	room       []Outcome     // the memory of their replies, see keepOutcome
	urgent     bool          // one of them is about more than that
	keepBy     time.Time     // when they are kept at the latest
	targets    chan []Target // to the Verifier; nil until there is one
	handed     []Target      // not taken by it yet
	reply      outcomeEvent  // the one that the machine looks at
	timers     []timerCmd
	timer      *time.Timer
	unask      context.CancelFunc         // the gates that are being asked
	admissions map[int]context.CancelFunc // of questions that are not answered
	ended      bool
	failed     error // of the journal
	abandoned  error
}

// do carries out commands in order. Records wait for the next flush; what must
// not come before them flushes first.
func (x *execution) do(commands []command) {
	if len(commands) > 1 {
		commands = slices.Clone(commands) // a failed flush steps the machine again
	}
	for _, c := range commands {
		if x.ended {
			return
		}
		switch c := c.(type) {
		case recordCmd:
			x.keep(c.Record)
		case outcomeCmd:
			x.keepOutcome(c.Outcome)
		case actCmd:
			if x.flush() {
				if x.Verifier != nil {
					x.verify(nil) // it listens from now on, however late the first reply is
				}
				x.act(c)
			}
		case baselineCmd:
			x.wg.Go(func() {
				base, err := x.Verifier.Baseline(x.send, c.Nodes)
				x.tell(baselineEvent{time.Now(), c.Question, base, err})
			})
		case verifyCmd:
			x.verify(c.Targets)
		case probeCmd:
			x.wg.Go(func() { x.probe(c.Targets) })
		case confirmCmd:
			if x.flush() {
				x.wg.Go(func() {
					yes, err := x.Confirm(x.send, c.Step)
					x.tell(confirmEvent{time.Now(), yes, err})
				})
			}
		case gateCmd:
			x.ask(c)
		case gateCancelCmd:
			x.unask()
		case admitCmd:
			if x.flush() { // the observers know by then which nodes left
				x.admit(c)
			}
		case dismissCmd:
			if cancel := x.admissions[c.Question]; cancel != nil {
				cancel()
			}
			x.Admitter.Dismiss(c.Nodes)
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

func (x *execution) act(c actCmd) {
	x.wg.Go(func() {
		err := x.Actor.Act(x.send, c.Batch, c.Nodes)
		x.tell(sentEvent{time.Now(), c.Batch, err})
	})
}

// ask asks the gates, until they decide or are not needed any more.
func (x *execution) ask(c gateCmd) {
	x.unask()
	ctx, cancel := context.WithCancel(x.send)
	x.unask = cancel
	x.wg.Go(func() {
		defer cancel()
		err := x.Gatekeeper.Keep(ctx, c.Moment, func(r GateRound) { x.tell(gateEvent{time.Now(), c.Question, r}) })
		x.tell(gateEnd{time.Now(), c.Question, err})
	})
}

// admit asks the Admitter.
func (x *execution) admit(c admitCmd) {
	ctx, cancel := context.WithCancel(x.send)
	x.admissions[c.Question] = cancel
	x.wg.Go(func() {
		defer cancel()
		err := x.Admitter.Admit(ctx, c.Nodes, func(what string) {
			x.tell(admitEvent{At: time.Now(), Question: c.Question, Nodes: c.Nodes, Waiting: what})
		})
		x.tell(admitEvent{At: time.Now(), Question: c.Question, Nodes: c.Nodes, Err: err})
	})
}

// verify hands targets to the one Verify call of the run.
func (x *execution) verify(targets []Target) {
	if x.targets == nil {
		in := make(chan []Target)
		x.targets = in
		x.wg.Go(func() {
			for p := range x.Verifier.Verify(x.work, in) {
				if !x.tell(proofEvent{time.Now(), proved(p)}) {
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
		if !x.tell(probeEvent{time.Now(), proved(p)}) {
			return
		}
	}
	x.tell(probeEnd{time.Now()})
}

// tell hands an event to the run. It returns false when the run is over.
func (x *execution) tell(e event) bool {
	select {
	case x.events <- e:
		return true
	case <-x.work.Done():
		return false
	}
}
