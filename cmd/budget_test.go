package cmd

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetctl/internal/lab"
)

// absence is a time in which a node had no process that the broker knows of.
type absence struct {
	node     string
	from, to time.Time
}

// absences are those of a node by its own log, and how many requests to restart it received.
func absences(l *lab.Lab, node string) (out []absence, restarts int) {
	for _, e := range l.Log(node) {
		switch {
		case e.Deed == lab.Received && e.Action == "restart":
			restarts++
		case e.Deed == lab.Ended:
			out = append(out, absence{node: node, from: e.Time})
		case e.Deed == lab.Connected && len(out) > 0:
			out[len(out)-1].to = e.Time
		}
	}
	return out, restarts
}

// together returns pairs of absences that overlap.
func together(all []absence) (pairs []string) {
	slices.SortFunc(all, func(a, b absence) int { return a.from.Compare(b.from) })
	for i, a := range all {
		for _, b := range all[i+1:] {
			if b.from.Before(a.to) {
				pairs = append(pairs, fmt.Sprintf("%s and %s at %s", a.node, b.node, b.from.Format("15:04:05.000")))
			}
		}
	}
	return pairs
}

// TestTwoRunsAtOnceKeepTheBudget: two operators restart the same 100 nodes at once, with at most one node of a rack down.
func TestTwoRunsAtOnceKeepTheBudget(t *testing.T) {
	t.Parallel()
	total := large(100)
	p := newPractice(t, lab.Options{Nodes: total, Protocol: 2, Streams: true, KeepLog: true})
	if r := p.run("shared init"); r.code != 0 {
		t.Fatalf("shared init: exit %d, %s", r.code, r.err)
	}
	command := "req choria_provision restart token=s3cret splay=1 --canary 0 --max-down rack=1 --batch-sleep 0 --yes --np" + p.all() + " --state-dir " + p.path("records")
	var wait sync.WaitGroup
	for _, config := range []string{"client.conf", "client-bob.conf"} {
		wait.Go(func() {
			if r := p.run(command + config + " --config " + filepath.Join(p.lab.Dir(), config)); r.code != 0 || !strings.Contains(r.out, strconv.Itoa(total)) {
				t.Errorf("%s: exit %d, %s%s", config, r.code, r.out, r.err)
			}
		})
	}
	wait.Wait()
	racks := map[string][]absence{}
	for _, n := range p.lab.Nodes() {
		gone, restarts := absences(p.lab, n.Identity)
		if restarts != 2 || len(gone) != 2 {
			t.Errorf("%s received %d requests to restart, and was away %d times", n.Identity, restarts, len(gone))
		}
		racks[n.Rack] = append(racks[n.Rack], gone...)
	}
	for rack, all := range racks {
		if pairs := together(all); len(pairs) > 0 {
			t.Errorf("two of rack %s were down: %q", rack, pairs)
		}
	}
	if r := p.run("shared limits"); r.code != 0 || !strings.Contains(r.err, "no nodes count as down") {
		t.Errorf("after the runs: %+v", r)
	}
}
