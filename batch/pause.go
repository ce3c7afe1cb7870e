package batch

// Pauser is what holds a run back, or lets it continue, in a paused or a continued record. In JSON it is its word.
type Pauser string

// The pausers. Only what an operator paused needs an operator to continue it.
const (
	ByOperator Pauser = "operator"
	ByGate     Pauser = "gate"   // an inconclusive gate
	ByShared   Pauser = "shared" // an Admitter
)

// Pauser returns what a paused or a continued record comes from. Records of earlier programs do not hold it: there
// it follows from By, and a wait for an Admitter reads as an operator's pause.
func (r *Record) Pauser() Pauser {
	switch {
	case r.From != "":
		return r.From
	case r.By == string(ByGate):
		return ByGate
	}
	return ByOperator
}

// pauseSet is what holds a run back, besides its hours and its connection.
type pauseSet struct{ operator, gate, shared bool }

// apply takes a paused or a continued record. An operator's pause, and its end, take the place of the run's own: the run
// asks again before it sends.
func (p *pauseSet) apply(r *Record) {
	paused := r.Kind == KindPaused
	switch r.Pauser() {
	case ByGate:
		p.gate = paused
	case ByShared:
		p.shared = paused
	default:
		*p = pauseSet{operator: paused}
	}
}

// Paused reports whether nothing new is sent until an operator continues the run.
func (p Progress) Paused() bool { return p.l.pauses.operator && p.l.ended.IsZero() }

// Waits reports whether the run itself holds back what is next, and continues without an operator: it waits for a gate, for
// what operators share, or for its hours.
func (p Progress) Waits() bool {
	return p.l.ended.IsZero() && (p.l.pauses.gate || p.l.pauses.shared || !p.l.held.IsZero())
}
