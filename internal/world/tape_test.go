package world

import (
	"bytes"
	"iter"
	"time"

	"fleetctl/batch"
)

// run is one record of the case: a run, with its resumes. parent is the run that it retries.
type run struct {
	id      string
	parent  *run
	tape    *tape
	kind    string          // begin or retry
	states  []batch.State   // of a retry
	proved  map[string]bool // a record says that it acted
	based   map[string]bool // its last batch had a baseline of it
	lagging bool            // its record was replaced by a copy
	order   []string        // nodes of the pool, as they were sent to
	unasked map[string]bool // their proof could not be asked for
	lost    time.Time       // when a record says that the connection was lost last
}

// own reports whether an intent is of this run.
func (r *run) own(i *intent) bool { return i != nil && i.run == r }

// intent is a durable permission to send a request.
type intent struct {
	run   *run
	nodes map[string]bool
	list  []string        // the same, in the order of the intent
	based map[string]bool // those that told how they were just before
	at    time.Time
	lost  bool // the record was replaced by a copy that does not have it
}

// death reports what of the last append reaches the disk.
type death int

const (
	keepNothing death = iota
	keepHalf
	keepAll
	deaths
)

// disk is a real journal behind a tape, where there is one.
type disk interface {
	Append(lines ...[]byte) error
	Lines() iter.Seq2[[]byte, error]
	take()
	drop(torn bool)
}

// tape is a run's journal in memory. Every record that becomes durable passes the judge.
type tape struct {
	w     *world
	run   *run
	lines [][]byte
	disk  disk          // nil: none
	slow  time.Duration // what one append takes

	// Of the life in progress.
	p       *process
	appends int
	dieAt   int // 0: never
	keep    death
	dead    bool
	stopped time.Time
	resumed bool
	base    map[string]batch.State
	said    map[string]bool
	sent    int // the batch that was sent last by this process
}

// live begins a life.
func (t *tape) live(p *process, dieAt int, keep death) {
	t.p, t.appends, t.dieAt, t.keep, t.dead, t.stopped, t.sent = p, 0, dieAt, keep, false, time.Time{}, 0
	t.base, t.said = map[string]batch.State{}, map[string]bool{}
	if from, err := batch.Replay(t.all()); err == nil {
		for r := range from.Results() {
			t.base[r.Identity] = r.State
		}
	}
}

// Append implements batch.Journal.
func (t *tape) Append(lines ...[]byte) error {
	if t.slow > 0 {
		<-time.After(t.slow)
	}
	t.w.untilAwake()
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.dead {
		return errDead
	}
	t.appends++
	dies := t.appends == t.dieAt
	if dies {
		switch t.keep {
		case keepNothing:
			lines = nil
		case keepHalf:
			lines = lines[:len(lines)/2]
		}
	}
	if t.disk != nil && len(lines) > 0 {
		if err := t.disk.Append(lines...); err != nil {
			return err
		}
	}
	for _, line := range lines {
		line = append([]byte(nil), line...)
		for r, err := range batch.Records(once(line)) {
			if err != nil {
				t.w.violated("run %s wrote a record that cannot be read: %v", t.run.id, err)
				return err
			}
			if t.w.unjudged {
				t.w.intend(t.run, r)
			} else {
				t.w.judgeRecord(t, r)
			}
			t.lines = append(t.lines, line)
			t.w.pass("rec:" + string(r.Kind))
		}
		if t.dead && !dies && t.disk == nil {
			return errDead // killed by what happened at this record: it is durable
		}
	}
	if t.dead && !dies {
		return errDead // in one write, all of them are durable
	}
	if dies {
		t.w.logf("EVENT   kill: at append %d, of which %d lines are kept", t.appends, len(lines))
		t.w.saw("killed at an append")
		t.p.kill()
		return errDead
	}
	return nil
}

func once(line []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) { yield(line, nil) }
}

// all yields the records that are durable.
func (t *tape) all() iter.Seq2[[]byte, error] {
	if t.disk != nil {
		return t.disk.Lines()
	}
	return all(t.lines)
}

func all(lines [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, l := range lines {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// toLastBatch as a lag leaves out everything from the last intent on.
const toLastBatch = -1

// lag drops the last records, as a copy from before has it. It keeps what makes a run.
func (t *tape) lag(n int) int {
	if n == toLastBatch {
		at := len(t.lines) - 1
		for at > 0 && !bytes.Contains(t.lines[at], []byte(`"k":"intent"`)) {
			at--
		}
		n = len(t.lines) - at
	}
	n = min(n, len(t.lines)-1)
	if n <= 0 || t.disk != nil {
		return 0
	}
	t.lines = t.lines[:len(t.lines)-n]
	return n
}
