package batch

import (
	"context"
	"errors"
	"iter"
)

var errTodo = errors.New("not built yet")

func NewPlan(nodes []Node, p Policy) (Plan, error) { return Plan{}, errTodo }
func (p Plan) Nodes() int                          { return 0 }
func (p Plan) Estimate(pace Pace) Estimate         { return Estimate{} }
func Retry(from Progress, which []State, p Policy, describe func(identity string) Node) (Plan, error) {
	return Plan{}, errTodo
}

type Progress struct{ l *ledger }
type ledger struct{}

// Begin is the progress of a run that has not begun.
func Begin(h Header, plan Plan) (Progress, error) { return Progress{}, errTodo }

// Replay rebuilds what a journal says of a run whose process has ended.
func Replay(lines iter.Seq2[[]byte, error]) (Progress, error) { return Progress{}, errTodo }

// Follow rebuilds what a journal says of a run whose process is alive.
func Follow(lines iter.Seq2[[]byte, error]) (Progress, error) { return Progress{}, errTodo }

func (p Progress) Header() Header            { return Header{} }
func (p Progress) Plan() Plan                { return Plan{} }
func (p Progress) Rules() Rules              { return Rules{} }
func (p Progress) Pace() Pace                { return Pace{} }
func (p Progress) Counts() Counts            { return Counts{} }
func (p Progress) Summary() Summary          { return Summary{} }
func (p Progress) Results() iter.Seq[Result] { return nil }
func (p Progress) Open() int                 { return 0 }

// Finished reports whether a journal's last record says that the run ended with nothing left to go on with.
func Finished(lastLine []byte) bool { return false }

// Runner runs a plan.
type Runner struct {
	Actor     Actor
	Outcomes  <-chan Outcome // every reply of the run, late ones too
	Verifier  Verifier       // nil: accepted is final
	Prober    Prober         // nil: what is unknown stays so
	Journal   Journal        // nil: the run is not durable
	Observer  Observer       // nil: nobody looks on
	Rules     Rules
	Pace      Pace
	Confirm   func(ctx context.Context, p Pause) (bool, error) // for Pace.ConfirmEach; must return when ctx ends
	Interrupt <-chan error                                     // the first signal, as its cause
	Lost      <-chan error                                     // the connection is lost for good
}

// Run runs, or goes on with, a plan.
func (r Runner) Run(ctx context.Context, from Progress) (Summary, error) { return Summary{}, errTodo }
