package lease

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The ledger of a collective is one key: how many nodes each run has down, and the limits that bind all runs. It changes by
// compare-and-set only, so that two runs never take the same room.

// Ledger is what the key holds.
type Ledger struct {
	Version int              `json:"v"`
	Limits  Limits           `json:"limits,omitempty"`
	Runs    map[string]Party `json:"runs,omitempty"` // by the id of the run
}

// Party is what one run has down. It stays until its nodes are proved to be up, whatever becomes of the process.
type Party struct {
	Caller string `json:"caller"`
	Host   string `json:"host,omitempty"`
	Action string `json:"action,omitempty"`
	// Mark is of the process that drives the run, Life how many took it up before and with it, and Writes how often this
	// one has written.
	Mark   string    `json:"mark"`
	Life   int       `json:"life"`
	Writes int       `json:"n"`
	At     time.Time `json:"at"`              // of the last write, by the clock of the process
	Facts  []string  `json:"facts,omitempty"` // by which its nodes are counted, sorted
	// Down counts nodes: under All in all, under FACT=VALUE those with a value. It has no zeros.
	Down map[string]int `json:"down"`
	// Left are nodes that the record of the run has down, and that do not count any more: an operator settled or forgot
	// them, or a retry has taken them over.
	Left []string `json:"left,omitempty"`
	// Words are what operators said when they took nodes off.
	Words []string `json:"words,omitempty"`
}

// Values is what is known of a node's facts; "" for nothing. Nodes without a fact count as one value.
type Values func(node, fact string) string

const ledgerVersion = 1

// ledgerKey is the key of a collective's ledger.
func ledgerKey(collective string) string { return "budget." + collective }

// ReadLedger reads the ledger of a collective.
func ReadLedger(ctx context.Context, store Store, collective string) (Ledger, error) {
	l, _, err := readLedger(ctx, store, ledgerKey(collective))
	return l, err
}

// readLedger reads a ledger and its revision. One that does not exist yet is empty.
func readLedger(ctx context.Context, store Store, key string) (l Ledger, revision uint64, err error) {
	l.Version = ledgerVersion
	entry, err := store.Get(ctx, key)
	switch {
	case errors.Is(err, ErrNoKey):
		err = nil
	case err == nil && !entry.Deleted:
		if err = json.Unmarshal(entry.Value, &l); err != nil {
			err = fmt.Errorf("%w: key %s: %w", errUnreadable, key, err)
		} else if l.Version != ledgerVersion {
			err = fmt.Errorf("%w: key %s has version %d: use the fleetctl that wrote it, or a later one", errUnreadable, key, l.Version)
		}
	}
	if l.Runs == nil {
		l.Runs = map[string]Party{}
	}
	return l, entry.Revision, err
}

const (
	ledgerTries = 30 // of a change, while other runs change the ledger
	ledgerPause = 2 * time.Millisecond
)

// errUnreadable reports a ledger that another program wrote.
var errUnreadable = errors.New("the budget of the fleet cannot be read")

// errBusy reports that a change did not succeed: others were faster each time, or the brokers have no majority.
var errBusy = errors.New("the brokers did not take a change of the budget")

// change reads the ledger and writes what edit makes of it, until that succeeds. edit reports false when there is nothing to
// write. After a write without an answer, edit sees what came of it.
func change(ctx context.Context, store Store, key string, edit func(l *Ledger, revision uint64) (bool, error)) error {
	for try := range ledgerTries {
		l, revision, err := readLedger(ctx, store, key)
		if err != nil {
			return err
		}
		write, err := edit(&l, revision)
		if err != nil || !write {
			return err
		}
		value, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("write the budget: %w", err)
		}
		_, err = store.Put(ctx, key, value, revision)
		switch {
		case err == nil:
			return nil
		case settled(err) && !errors.Is(err, ErrConflict):
			return err
		}
		select {
		case <-time.After(time.Duration(try+1) * ledgerPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return errBusy
}

// SetLimits changes the limits that bind every run, and returns all of them; 0 is no limit.
func SetLimits(ctx context.Context, store Store, collective string, limits Limits) (Limits, error) {
	var now Limits
	err := change(ctx, store, ledgerKey(collective), func(l *Ledger, _ uint64) (bool, error) {
		before := l.Limits
		now = maps.Clone(before)
		if now == nil {
			now = Limits{}
		}
		for what, n := range limits {
			if now[what] = n; n == 0 {
				delete(now, what)
			}
		}
		l.Limits = now
		return !maps.Equal(before, now), nil
	})
	return now, err
}

// ErrTakenUp reports that a process drives a run, or did, that was to be settled.
var ErrTakenUp = errors.New("another process has taken the run up")

// Settle takes nodes of a run whose process has ended off the ledger. down are all nodes that its record has down, the freed
// ones among them, and facts those that values knows. It returns those that counted before and no longer do, and those that
// count still. was is what the ledger had of the run before its record was read: the error is ErrTakenUp when a process of the
// run has written since, since it may have taken more nodes down.
func Settle(ctx context.Context, store Store, collective, run string, was Party, down, freed, facts []string, values Values) (gone, left []string, err error) {
	err = change(ctx, store, ledgerKey(collective), func(l *Ledger, _ uint64) (bool, error) {
		p, ok := l.Runs[run]
		gone, left = nil, nil
		if !ok {
			return false, nil
		}
		if p.Mark != was.Mark || p.Writes != was.Writes {
			return false, ErrTakenUp
		}
		gone = slices.DeleteFunc(slices.Clone(freed), func(n string) bool { return slices.Contains(p.Left, n) })
		p.Left = union(p.Left, freed)
		left = slices.DeleteFunc(slices.Clone(down), func(n string) bool { return slices.Contains(p.Left, n) })
		p.onlyBy(facts)
		p.count(left, values)
		l.put(run, p)
		return true, nil
	})
	return gone, left, err
}

// Forget takes nodes of a run off the ledger, whether its process has ended or not, and returns those that counted. word is
// kept beside those that still count; with live, the process reads there what it must count no more.
func Forget(ctx context.Context, store Store, collective, run string, live bool, nodes, facts []string, values Values, word string) (forgotten []string, err error) {
	err = change(ctx, store, ledgerKey(collective), func(l *Ledger, _ uint64) (bool, error) {
		p, ok := l.Runs[run]
		if !ok {
			return false, nil
		}
		p.onlyBy(facts)
		p.Words = append(p.Words, word)
		forgotten = p.drop(set(nodes), nodes, values)
		if l.put(run, p); live {
			l.Runs[run] = p
		}
		return len(forgotten) > 0, nil
	})
	return forgotten, err
}

// onlyBy drops the counts by facts that are not known: all nodes then count with each value.
func (p *Party) onlyBy(facts []string) {
	p.Facts = slices.DeleteFunc(slices.Clone(p.Facts), func(f string) bool { return !slices.Contains(facts, f) })
	p.Down = maps.Clone(p.Down)
	maps.DeleteFunc(p.Down, func(key string, _ int) bool {
		return key != All && !slices.ContainsFunc(p.Facts, func(f string) bool { return strings.HasPrefix(key, f+"=") })
	})
}

func set(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// put replaces what a run has down. One that has nothing down is not kept.
func (l *Ledger) put(run string, p Party) {
	if p.Down[All] == 0 {
		delete(l.Runs, run)
		return
	}
	l.Runs[run] = p
}

// count counts nodes.
func (p *Party) count(nodes []string, values Values) {
	p.Down = map[string]int{}
	for _, n := range nodes {
		p.add(n, values, 1)
	}
}

func (p *Party) add(node string, values Values, n int) {
	counts := []string{All}
	for _, fact := range p.Facts {
		counts = append(counts, fact+"="+values(node, fact))
	}
	for _, key := range counts {
		if p.Down[key] += n; p.Down[key] <= 0 {
			delete(p.Down, key)
		}
	}
}

// takeOver moves nodes from a run whose record has them down to the run that retries it.
func (l *Ledger) takeOver(run string, down map[string]bool, nodes []string, values Values) {
	p, ok := l.Runs[run]
	if !ok {
		return
	}
	p.Down = maps.Clone(p.Down)
	if len(p.drop(down, nodes, values)) > 0 {
		l.put(run, p)
	}
}

// drop takes nodes off that are among those that count, and returns them.
func (p *Party) drop(down map[string]bool, nodes []string, values Values) (dropped []string) {
	for _, n := range nodes {
		if down[n] && !slices.Contains(p.Left, n) {
			p.add(n, values, -1)
			dropped = append(dropped, n)
		}
	}
	p.Left = union(p.Left, dropped)
	return dropped
}

// of is how many nodes a party may have down of a limit: of all, or with one value of a fact. One that does not count by the
// fact may have all of its nodes there.
func (p Party) of(what, value string) int {
	if _, by := slices.BinarySearch(p.Facts, what); what != All && by {
		return p.Down[what+"="+value]
	}
	return p.Down[All]
}

// fullError reports that a limit leaves no room for nodes now.
type fullError struct {
	Limit string // in words
	Down  int
	By    []string // the runs that have nodes down, in words
}

// Error implements error.
func (e *fullError) Error() string {
	verb := "are"
	if e.Down == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%s may be down at once, and %d %s: %s", e.Limit, e.Down, verb, strings.Join(e.By, ", "))
}

// largeError reports nodes that a limit has no room for even when no other node is down.
type largeError struct {
	Limit string
	Nodes int
}

// Error implements error.
func (e *largeError) Error() string {
	return fmt.Sprintf("%s may be down at once, and a batch has %d", e.Limit, e.Nodes)
}

// limitText names a limit.
func limitText(n int, what, value string) string {
	nodes := fmt.Sprintf("%d nodes", n)
	if n == 1 {
		nodes = "1 node"
	}
	if what == All {
		return nodes
	}
	return fmt.Sprintf("%s with %s=%s", nodes, what, cmp.Or(value, "(none)"))
}

// fits reports whether more nodes of a run fit below the limits; mine is what the run has down with them. The error is a
// *largeError, else a *fullError.
func (l *Ledger) fits(limits Limits, run string, mine Party, more []string, values Values) error {
	var full error
	for _, what := range append([]string{All}, limits.Facts()...) {
		limit, ok := limits[what]
		if !ok {
			continue
		}
		batch := map[string]int{}
		for _, n := range more {
			value := ""
			if what != All {
				value = values(n, what)
			}
			batch[value]++
		}
		for _, value := range slices.Sorted(maps.Keys(batch)) {
			if batch[value] > limit {
				return &largeError{Limit: limitText(limit, what, value), Nodes: batch[value]}
			}
			if full == nil {
				full = l.full(run, mine, limit, what, value, batch[value])
			}
		}
	}
	return full
}

// full is the error of one limit, nil while there is room. more of mine are not down yet.
func (l *Ledger) full(run string, mine Party, limit int, what, value string, more int) error {
	down := mine.of(what, value)
	e := &fullError{Limit: limitText(limit, what, value), Down: down - more}
	if own := down - more; own > 0 {
		e.By = append(e.By, fmt.Sprintf("this run (%d)", own))
	}
	for _, id := range slices.Sorted(maps.Keys(l.Runs)) {
		p := l.Runs[id]
		n := p.of(what, value)
		if id == run || n == 0 {
			continue
		}
		down += n
		e.Down += n
		text := fmt.Sprintf("run %s of %s", id, p.Caller)
		if p.Host != "" {
			text += " on " + p.Host
		}
		if _, by := slices.BinarySearch(p.Facts, what); what != All && !by {
			text += fmt.Sprintf(" (%d, of which it does not report %s)", n, what)
		} else {
			text += fmt.Sprintf(" (%d)", n)
		}
		e.By = append(e.By, text)
	}
	if down <= limit {
		return nil
	}
	return e
}
