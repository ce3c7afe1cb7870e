package cmd

import (
	"strings"
	"testing"
	"time"

	"fleetctl/internal/lab"
)

// TestALockOutlivesEachOfItsBrokers: both peers of the broker that has the nodes are killed in turn, in the middle of a run
// that holds a lock. Each node is restarted once.
func TestALockOutlivesEachOfItsBrokers(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 40, Streams: true, Brokers: 3})
	ended := make(chan result, 1)
	go func() {
		ended <- p.run("req choria_provision restart token=s3cret --lock web --batch 10 --batch-sleep 1 --yes --json")
	}()
	restarts := func(n int) func() bool {
		return func() bool {
			done := 0
			for _, name := range p.names {
				done += p.lab.Received(name, "choria_provision", "restart")
			}
			return done >= n
		}
	}
	for i, n := range []int{1, 15} {
		if err := p.lab.AwaitFunc(t.Context(), restarts(n)); err != nil {
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
