package cmd

import (
	"runtime"
)

// effort is what this process takes of the machine for a fleet. Nil changes nothing: a process that does more than run one
// command, such as a test, has no part in it.
type effort struct {
	getenv   func(name string) (string, bool)
	reserved int // bytes
}

const (
	// leastReserved and reservedEach are how much memory is reserved for a large fleet, in bytes, in all and for each node,
	// and mostReserved bounds it. It is address space until it is used.
	leastReserved = 24 << 20
	reservedEach  = 2 << 10
	mostReserved  = 128 << 20
	// largeFleet is from how many nodes on that is worth a collection of garbage.
	largeFleet = 2000
)

// expect prepares for so many nodes: the memory that their replies will fill is asked for in large pages. A page fault for
// every 4 KB takes a quarter of the time of a large run.
func (e *effort) expect(nodes int) {
	size := min(leastReserved+nodes*reservedEach, mostReserved)
	if e == nil || nodes < largeFleet || size <= e.reserved {
		return
	}
	e.reserved = size
	adviseLargePages(make([]byte, size))
	runtime.GC() // the advice stays with the addresses, and what comes next fills them
}

// dialing keeps a process to one processor where no signatures are verified: to hand each reply from one processor to the
// next costs more than it gains. What the operator says (GOMAXPROCS) counts instead.
func (e *effort) dialing(verifies bool) {
	if e == nil || verifies {
		return
	}
	if _, said := e.getenv("GOMAXPROCS"); !said {
		runtime.GOMAXPROCS(1)
	}
}
