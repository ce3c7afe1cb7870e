package batch

import "fmt"

// Follower rebuilds the progress of a run line by line, as its journal grows. The zero value has no line yet. After an
// error it is not to be used.
type Follower struct {
	l *ledger
	n int
}

// Add takes the next line, and returns its record. Its error is a *RecordError.
func (f *Follower) Add(line []byte) (Record, error) {
	r, err := decodeRecord(line)
	if err != nil {
		return Record{}, &RecordError{f.n + 1, err}
	}
	return r, f.take(&r)
}

func (f *Follower) take(r *Record) error {
	f.n++
	if f.l == nil {
		if r.Kind != KindPlan || r.Begin == nil {
			return &RecordError{f.n, fmt.Errorf("the first record is %s, not a plan", r.Kind)}
		}
		l, err := newLedger(*r.Begin)
		if err != nil {
			return &RecordError{f.n, err}
		}
		f.l = l
	}
	if err := f.l.apply(r); err != nil {
		return &RecordError{f.n, err}
	}
	f.l.commit()
	return nil
}

// Lines is how many lines it has.
func (f *Follower) Lines() int { return f.n }

// Progress is where the run is by the lines so far, or ErrNoPlan. It changes with the next line.
func (f *Follower) Progress() (Progress, error) {
	if f.l == nil {
		return Progress{}, ErrNoPlan
	}
	return Progress{f.l}, nil
}
