package cmd

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestMemoryIsReservedForLargeFleetsAlone(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	e := &effort{}
	for _, tt := range []struct{ nodes, want int }{
		{0, 0}, {largeFleet - 1, 0}, {20_000, leastReserved + 20_000*reservedEach}, {3_000, leastReserved + 20_000*reservedEach}, {1_000_000, mostReserved},
	} {
		if e.expect(tt.nodes); e.reserved != tt.want {
			t.Errorf("after %d nodes: %d bytes are reserved, want %d", tt.nodes, e.reserved, tt.want)
		}
	}
	var stats runtime.MemStats
	if runtime.ReadMemStats(&stats); stats.HeapAlloc > mostReserved/2 {
		t.Errorf("%d bytes are still in use", stats.HeapAlloc)
	}
	var none *effort
	none.expect(1_000_000) // a process that runs more than one command
}

func TestOneProcessorIsEnoughWithoutSignatures(t *testing.T) {
	before := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(before)
	for _, tt := range []struct {
		verifies, said bool
		want           int
	}{{true, false, 2}, {false, true, 2}, {false, false, 1}} {
		e := &effort{getenv: func(name string) (string, bool) { return "2", tt.said && name == "GOMAXPROCS" }}
		if e.dialing(tt.verifies); runtime.GOMAXPROCS(0) != tt.want {
			t.Errorf("%+v: %d processors", tt, runtime.GOMAXPROCS(0))
		}
	}
	var none *effort
	none.dialing(false)
}
