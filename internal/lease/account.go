package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// gather is how long nodes that leave wait for others, to leave the ledger in one write.
	gather = 20 * time.Millisecond
	// calm is how long nothing is admitted after the brokers went back to an earlier state: each run writes its part of the
	// ledger again at its next look.
	calm = renewEvery + 2*askTimeout
)

// Budget is what a run asks of the ledger.
type Budget struct {
	Collective string
	Run        string
	Party      Party  // Caller, Host and Action
	Limits     Limits // of this run alone
	Facts      []string
	Values     Values
	Down       []string // that the record of the run has down
	// Parents are the nodes that earlier runs of a chain of retries have down, by run.
	Parents map[string]map[string]bool
}

// Account is a run's part of the ledger, from its first node on until all are proved. It is safe for concurrent use.
type Account struct {
	store Store
	key   string
	b     Budget
	mark  string
	life  int
	kick  chan struct{} // something has changed

	op chan struct{} // full while the ledger is read and written

	mu       sync.Mutex // guards what follows
	down     map[string]bool
	left     map[string]bool // of the record's nodes: they count no more
	writes   int             // that were tried
	kept     int             // the write that was confirmed last; 0: none
	empty    bool            // that one left nothing in the ledger
	revision uint64          // that was seen last
	calm     time.Time       // nothing is admitted before
	lost     error
}

// rewoundError reports that the brokers lost writes: nothing is admitted until the other runs have written again.
type rewoundError struct{ Wait time.Duration }

// Error implements error.
func (e *rewoundError) Error() string {
	return fmt.Sprintf("the brokers went back to an earlier state: waiting %s for the other runs to report their nodes again", e.Wait.Round(time.Second))
}

// errTaken reports that this process drives the run no more.
var errTaken = errors.New("another process has taken the run over")

// Passes reports whether what kept nodes from being admitted may pass.
func Passes(err error) bool {
	_, large := errors.AsType[*largeError](err)
	_, denied := errors.AsType[*DeniedError](err)
	return !large && !denied && !errors.Is(err, errTaken) && !errors.Is(err, errUnreadable)
}

// OpenAccount takes up a run's part of the ledger. It writes nothing yet.
func OpenAccount(ctx context.Context, store Store, b Budget) (*Account, error) {
	slices.Sort(b.Facts)
	a := &Account{store: store, key: ledgerKey(b.Collective), b: b, mark: rand.Text(), life: 1, kick: make(chan struct{}, 1), op: make(chan struct{}, 1), down: map[string]bool{}, left: map[string]bool{}}
	l, revision, err := readLedger(ctx, store, a.key)
	if err != nil {
		return nil, err
	}
	a.revision = revision
	if p, ok := l.Runs[b.Run]; ok {
		a.life = p.Life + 1
		for _, n := range p.Left {
			a.left[n] = true
		}
	}
	for run := range b.Parents {
		for _, n := range l.Runs[run].Left {
			a.left[n] = true
		}
	}
	for _, n := range b.Down {
		if !a.left[n] {
			a.down[n] = true
		}
	}
	return a, nil
}

// Admit takes nodes into the ledger. When it returns nil they count as down, until Leave or Close says otherwise. The error
// is a *fullError, a *largeError, a *rewoundError, one of a Store, or another that does not pass.
func (a *Account) Admit(ctx context.Context, nodes []string) error {
	return a.write(ctx, nodes)
}

// Leave takes nodes off the ledger soon: they are proved, or nothing was sent to them. It does not block.
func (a *Account) Leave(nodes ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range nodes {
		delete(a.down, n)
	}
	a.changed()
}

// changed has Keep write soon.
func (a *Account) changed() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// Down are the nodes that count as down, sorted.
func (a *Account) Down() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.down))
}

// Keep writes what has changed, and writes the run's part again when the brokers have lost it, until ctx ends.
func (a *Account) Keep(ctx context.Context) {
	wait := time.Duration(0) // a run that is taken up has its nodes in the ledger from the beginning
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-a.kick:
			select {
			case <-time.After(gather):
			case <-ctx.Done():
				return
			}
		}
		if wait = renewEvery; a.write(ctx, nil) != nil {
			wait = renewAgain
		}
		a.mu.Lock()
		lost := a.lost != nil
		a.mu.Unlock()
		if lost {
			return
		}
	}
}

// Close writes what the run has down at its end. Keep must have ended.
func (a *Account) Close(ctx context.Context, down []string) error {
	a.mu.Lock()
	a.down = map[string]bool{}
	for _, n := range down {
		if !a.left[n] {
			a.down[n] = true
		}
	}
	a.mu.Unlock()
	return a.write(ctx, nil)
}

// write brings the run's part up to date, with more nodes if they fit.
func (a *Account) write(ctx context.Context, more []string) error {
	select {
	case a.op <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-a.op }()
	tried, wrote := 0, Party{} // what may have landed
	err := change(ctx, a.store, a.key, func(l *Ledger, revision uint64) (bool, error) {
		if err := a.absorb(l, revision); err != nil {
			return false, err
		}
		there, ok := l.Runs[a.b.Run]
		ok = ok && there.Mark == a.mark
		if len(more) > 0 && ok && tried > 0 && there.Writes == tried {
			return false, nil // the write that had no answer
		}
		mine := a.part(more)
		if len(more) == 0 && (ok && same(there, mine) || !ok && mine.Down[All] == 0 && !present(l, a.b.Run)) {
			return false, nil
		}
		if len(more) > 0 {
			if err := a.room(l, mine, more); err != nil {
				return false, err
			}
		}
		a.mu.Lock()
		a.writes++
		tried, mine.Writes, mine.At = a.writes, a.writes, time.Now().UTC().Truncate(time.Millisecond)
		a.mu.Unlock()
		a.takeOver(l, more)
		l.put(a.b.Run, mine)
		wrote = mine
		return true, nil
	})
	if err == nil {
		a.admitted(ctx, tried, wrote, more)
		return context.Cause(ctx)
	}
	if len(more) > 0 && tried > 0 { // it may have landed: the next write takes it back
		a.Leave()
	}
	return err
}

func present(l *Ledger, run string) bool { _, ok := l.Runs[run]; return ok }

// same reports whether the ledger has what the run wants it to have.
func same(there, mine Party) bool {
	return mine.Down[All] > 0 && there.Life == mine.Life && maps.Equal(there.Down, mine.Down) && slices.Equal(there.Left, mine.Left) && slices.Equal(there.Facts, mine.Facts)
}

// absorb takes over what the ledger says of this run, and notices that it has lost writes.
func (a *Account) absorb(l *Ledger, revision uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost != nil {
		return a.lost
	}
	p, ok := l.Runs[a.b.Run]
	if ok && p.Mark != a.mark && p.Life >= a.life {
		a.lost = fmt.Errorf("%w: run %s", errTaken, a.b.Run)
		return a.lost
	}
	rewound := revision < a.revision
	if a.kept > 0 && !a.empty && (!ok || p.Mark != a.mark || p.Writes < a.kept) {
		rewound = true
	}
	if rewound && time.Now().After(a.calm) {
		a.calm = time.Now().Add(calm)
		a.changed()
	}
	a.revision = revision
	for _, n := range p.Left {
		a.left[n] = true
		delete(a.down, n)
	}
	a.b.Party.Words = p.Words
	return nil
}

// part is what the ledger is to hold of this run, with more nodes.
func (a *Account) part(more []string) Party {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.b.Party
	p.Mark, p.Life, p.Facts = a.mark, a.life, a.b.Facts
	down, left := maps.Clone(a.down), maps.Clone(a.left)
	for _, n := range more {
		down[n] = true
		delete(left, n)
	}
	p.count(slices.Collect(maps.Keys(down)), a.b.Values)
	p.Left = slices.Sorted(maps.Keys(left))
	return p
}

// room finds out whether more nodes fit.
func (a *Account) room(l *Ledger, mine Party, more []string) error {
	a.mu.Lock()
	wait := time.Until(a.calm)
	a.mu.Unlock()
	if wait > 0 {
		return &rewoundError{Wait: wait}
	}
	a.takeOver(l, more)
	a.mu.Lock()
	fresh := slices.DeleteFunc(slices.Clone(more), func(n string) bool { return a.down[n] })
	a.mu.Unlock()
	return l.fits(a.b.Limits.And(l.Limits), a.b.Run, mine, fresh, a.b.Values)
}

// takeOver moves the nodes of this run, and more, from the earlier runs of the chain.
func (a *Account) takeOver(l *Ledger, more []string) {
	if len(a.b.Parents) == 0 {
		return
	}
	nodes := append(a.Down(), more...)
	for run, down := range a.b.Parents {
		l.takeOver(run, down, nodes, a.b.Values)
	}
}

// admitted notes a write that succeeded. One that is not wanted any more is taken back.
func (a *Account) admitted(ctx context.Context, tried int, wrote Party, more []string) {
	a.confirm(tried, wrote)
	a.mu.Lock()
	for _, n := range more {
		a.down[n] = true
		delete(a.left, n)
	}
	a.mu.Unlock()
	if ctx.Err() != nil {
		a.Leave(more...)
	}
}

func (a *Account) confirm(tried int, wrote Party) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if tried > a.kept {
		a.kept, a.empty = tried, wrote.Down[All] == 0
	}
}
