package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/lab"
)

// awaitLab waits until something has happened in the lab. ended has room for one result: it is an error that the command
// ends before.
func awaitLab[T any](t *testing.T, l *lab.Lab, ended chan T, done func() bool) error {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() {
		select {
		case r := <-ended:
			ended <- r
			cancel(fmt.Errorf("the command has ended: %+v", r))
		case <-ctx.Done():
		}
	}()
	return l.AwaitFunc(ctx, done)
}

// all names all nodes: no discovery is needed, in which nodes of a busy machine may be late.
func (p *practice) all() string { return " --nodes " + p.write("all", strings.Join(p.names, "\n")) }

// awaitRestarts waits until the nodes have received so many requests to restart together.
func awaitRestarts[T any](p *practice, ended chan T, n int) error {
	return awaitLab(p.t, p.lab, ended, func() bool {
		done := 0
		for _, name := range p.names {
			done += p.lab.Received(name, "choria_provision", "restart")
		}
		return done >= n
	})
}

// TestALockOutlivesEachOfItsBrokers: both peers of the broker that has the nodes are killed in turn, in the middle of a run
// that holds a lock. Each node is restarted once.
func TestALockOutlivesEachOfItsBrokers(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 40, Streams: true, Brokers: 3})
	ended := make(chan result, 1)
	go func() {
		ended <- p.run("req choria_provision restart token=s3cret --lock web --batch 10 --batch-sleep 1 --yes --json" + p.all())
	}()
	for i, n := range []int{1, 15} {
		if err := awaitRestarts(p, ended, n); err != nil {
			t.Fatal(err)
		}
		if err := p.lab.StopPeer(i + 1); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(5*time.Second, func() {
			if err := p.lab.StartPeer(t.Context(), i+1); err != nil {
				t.Error(err)
			}
		})
	}
	got := <-ended
	if got.code != 0 || !strings.Contains(got.out, `"verified": 40`) {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
	for _, name := range p.names {
		if n := p.lab.Received(name, "choria_provision", "restart"); n != 1 {
			t.Errorf("%s was sent to %d times", name, n)
		}
	}
	if got := p.run("shared locks"); got.code != 0 || !strings.Contains(got.err, "no locks are held") {
		t.Errorf("after the run: %+v", got)
	}
}

// TestASharedBudgetOutlivesItsLeaders: a run has a lock, limits and a shared record. The brokers that lead their streams are
// stopped in turn. Each node is restarted once, and never two of a rack, or more than 20, at once.
func TestASharedBudgetOutlivesItsLeaders(t *testing.T) {
	t.Parallel()
	total := large(200)
	p := newPractice(t, lab.Options{Nodes: total, Streams: true, Brokers: 3, KeepLog: true})
	if r := p.run("shared init"); r.code != 0 {
		t.Fatalf("shared init: exit %d, %s", r.code, r.err)
	}
	ended := make(chan result, 1)
	go func() {
		ended <- p.run("req choria_provision restart token=s3cret splay=1 --lock web --share --max-down 20 --max-down rack=1 --canary 0 --batch-sleep 1 --yes --json" + p.all())
	}()
	for i, stream := range []string{"KV_FLEETCTL", "KV_CHORIA_LEADER_ELECTION", "KV_FLEETCTL"} {
		if err := awaitRestarts(p, ended, total/20+total*3/10*i); err != nil {
			t.Fatal(err)
		}
		leader, err := p.lab.StopLeader(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("after %d batches' worth of nodes, broker %d led %s, and was stopped", i, leader, stream)
		if err := awaitRestarts(p, ended, total/5+total*3/10*i); err != nil {
			t.Fatal(err)
		}
		if err := p.lab.StartPeer(t.Context(), leader); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-ended; got.code != 0 || !strings.Contains(got.out, fmt.Sprintf(`"verified": %d`, total)) {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
	p.keptBudget(20)
}

// keptBudget fails unless each node was restarted once, never two of a rack, or more than most, at once, and nothing is left
// of the run.
func (p *practice) keptBudget(most int) {
	p.t.Helper()
	var all []absence
	racks := map[string][]absence{}
	for _, n := range p.lab.Nodes() {
		gone, restarts := absences(p.lab, n.Identity)
		if restarts != 1 || len(gone) != 1 {
			p.t.Errorf("%s received %d requests to restart, and was away %d times", n.Identity, restarts, len(gone))
		}
		all, racks[n.Rack] = append(all, gone...), append(racks[n.Rack], gone...)
	}
	for rack, of := range racks {
		if pairs := together(of); len(pairs) > 0 {
			p.t.Errorf("two of rack %s were down: %q", rack, pairs)
		}
	}
	for _, a := range all {
		down := slices.DeleteFunc(slices.Clone(all), func(b absence) bool { return b.from.After(a.from) || !b.to.After(a.from) })
		if len(down) > most {
			p.t.Fatalf("%d nodes were down when %s went", len(down), a.node)
		}
	}
	for _, about := range []string{"limits", "locks"} {
		if got := p.run("shared " + about); got.code != 0 || !strings.Contains(got.err, "no ") {
			p.t.Errorf("shared %s after the run: %+v", about, got)
		}
	}
}
