package batch

import (
	"slices"
	"strings"
	"time"
)

// window is the slots of a rolling run, and the nodes that wait for one. It follows
// the ledger: machine.followSlots. A node has a slot from the moment in which it is
// chosen; when it gives it back stands in machine.followSlot.
type window struct {
	slots  map[int32]slot
	silent int // slots of nodes that do not reply
	used   []factUse
	spread *factUse // of Policy.SpreadBy, nil without
	groups []*group // of nodes that wait for a slot, alike in all these facts
	of     []int32  // by node: its group
	place  []place
	left   int // nodes that wait
	// tail are the nodes that go last; ahead counts the others that wait or have a slot.
	tail  map[int32]bool
	ahead int
	fresh bool // something changed since the last attempt to fill it

	gather time.Time // when freed slots are gathered no longer; zero: none are
	timed  time.Time // when the timer of the slots is due; zero: there is none
	told   bool      // that slots wait for silent nodes

	inDoubt  bool  // no success of nodes in a row, unless the look at silent ones shows more
	doubtful int32 // one of them
}

// slot is one node in flight, or as good.
type slot struct {
	since  time.Time
	length time.Duration // how long it is kept from then on; 0: until the node's end
	silent bool
}

// factUse counts slots by the values of a fact.
type factUse struct {
	cap    int // slots of one value at most; 0: any number
	values []string
	slots  map[string]int
}

// group is nodes alike in all facts that the policy asks about.
type group struct {
	rows []int32 // waiting, ascending: the order of the plan
}

// place is where a node is.
type place uint8

const (
	placeNone    place = iota // it is in flight, or over, or not of the pool
	placeWaiting              // in its group
	placeChosen               // its batch is being prepared
)

func newWindow(l *ledger) *window {
	p := l.begin.Plan
	w := &window{slots: map[int32]slot{}, of: make([]int32, len(l.rows)), place: make([]place, len(l.rows)), fresh: true}
	facts := p.Policy.Facts()
	for _, c := range p.Policy.MaxPer {
		w.used = append(w.used, factUse{cap: c.N, values: p.Facts[c.Fact], slots: map[string]int{}})
	}
	if p.Policy.SpreadBy != "" {
		w.used = append(w.used, factUse{values: p.Facts[p.Policy.SpreadBy], slots: map[string]int{}})
		w.spread = &w.used[len(w.used)-1]
	}
	known := map[string]int32{}
	key := make([]string, len(facts))
	for at := range l.rows {
		for i, fact := range facts {
			key[i] = p.Facts[fact][at]
		}
		k := strings.Join(key, "\x00")
		i, ok := known[k]
		if !ok {
			i = int32(len(w.groups))
			known[k] = i
			w.groups = append(w.groups, &group{})
		}
		w.of[at] = i
	}
	return w
}

// keep gives a node a slot, or changes the one that it has.
func (w *window) keep(at int32, s slot) {
	w.free(at)
	w.slots[at] = s
	w.count(at, 1)
	if s.silent {
		w.silent++
	}
	for i := range w.used {
		w.used[i].slots[w.used[i].values[at]]++
	}
}

// free takes a node's slot, if it has one.
func (w *window) free(at int32) {
	s, ok := w.slots[at]
	if !ok {
		return
	}
	delete(w.slots, at)
	w.count(at, -1)
	if w.fresh = true; s.silent {
		w.silent--
	}
	for i := range w.used {
		w.used[i].slots[w.used[i].values[at]]--
	}
}

// choose gives a node a slot before it is sent to.
func (w *window) choose(at int32) {
	w.remove(at)
	w.place[at] = placeChosen
	if _, ok := w.slots[at]; !ok {
		w.keep(at, slot{})
	}
}

// unchoose takes the choice back, and leaves what follows to machine.followSlot.
func (w *window) unchoose(at int32) {
	if w.place[at] == placeChosen {
		w.place[at] = placeNone
	}
}

// add lets a node wait for a slot.
func (w *window) add(at int32) {
	g := w.groups[w.of[at]]
	i, _ := slices.BinarySearch(g.rows, at)
	g.rows = slices.Insert(g.rows, i, at)
	w.place[at], w.fresh = placeWaiting, true
	w.left++
	w.count(at, 1)
}

// remove takes a node off those that wait.
func (w *window) remove(at int32) {
	if w.place[at] != placeWaiting {
		return
	}
	g := w.groups[w.of[at]]
	if i, ok := slices.BinarySearch(g.rows, at); ok {
		g.rows = slices.Delete(g.rows, i, i+1)
	}
	w.place[at] = placeNone
	w.left--
	w.count(at, -1)
}

// count counts nodes that those which go last wait for.
func (w *window) count(at int32, n int) {
	if !w.tail[at] {
		w.ahead += n
	}
}

// pick chooses at most n nodes that fit, one after another: of the least loaded
// value of the spread fact, and of those the first in the order of the plan. Its
// cost is that of n looks at all groups.
func (w *window) pick(n int) []int32 {
	var rows []int32
	for len(rows) < n {
		best, load := int32(-1), 0
		for _, g := range w.groups {
			if len(g.rows) == 0 || !w.fits(g.rows[0]) || w.tail[g.rows[0]] && w.ahead > 0 {
				continue
			}
			at, of := g.rows[0], 0
			if w.spread != nil {
				of = w.spread.slots[w.spread.values[at]]
			}
			if best < 0 || of < load || of == load && at < best {
				best, load = at, of
			}
		}
		if best < 0 {
			break
		}
		w.choose(best)
		rows = append(rows, best)
	}
	return rows
}

// putBack takes back the choice of nodes.
func (w *window) putBack(rows []int32) {
	for _, at := range rows {
		w.free(at)
		w.add(at)
	}
}

// fit calls do with at most n nodes that would fit now, and chooses none.
func (w *window) fit(n int, do func(at int32)) {
	before := w.fresh
	rows := w.pick(n)
	w.putBack(rows)
	w.fresh = before
	for _, at := range rows {
		do(at)
	}
}

// fits reports whether a node has room below every cap.
func (w *window) fits(at int32) bool {
	for i := range w.used {
		if u := &w.used[i]; u.cap > 0 && u.slots[u.values[at]] >= u.cap {
			return false
		}
	}
	return true
}
