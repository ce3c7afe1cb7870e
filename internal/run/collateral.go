package run

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/choria"
	"fleetctl/internal/fleet"
	"fleetctl/internal/plain"
)

// collateral is the gate of --max-collateral: it counts the starts and ends of nodes that the run did not send to, from lifecycle
// events since the gates passed last. Events are not signed, and are lost while the connection is away: it can stop a run
// without need, and misses what it did not hear of.
type collateral struct {
	limit int

	mu    sync.Mutex // guards what follows
	sent  map[string]bool
	names map[string]bool // of the nodes that were counted
	count int
	seen  int // of them when it was looked at last: what came since counts for the next place
}

const collateralName = "--max-collateral"

// maxCollateralNames bounds what a flood of events can make it keep.
const maxCollateralNames = 10_000

// begin takes over the nodes that earlier lives of the run have sent to.
func (k *collateral) begin(p batch.Progress) {
	k.sent, k.names = map[string]bool{}, map[string]bool{}
	for r := range p.Results() {
		if r.State != batch.Planned && r.State != batch.NotSent {
			k.sent[r.Identity] = true
		}
	}
}

// listen subscribes to the events, until stop is called.
func (k *collateral) listen(ctx context.Context, events fleet.Events) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for _, kind := range []string{"startup", "shutdown"} {
		s, err := events.Subscribe(ctx, choria.LifecycleSubject(kind, ">"), k.deliver)
		if err != nil {
			stop()
			return nil, err
		}
		stops = append(stops, s)
	}
	return stop, nil
}

func (k *collateral) deliver(m choria.Message) {
	e, err := choria.DecodeEvent(m.Data)
	if err != nil || e.Identity == "" || e.Type != "startup" && e.Type != "shutdown" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sent == nil || k.sent[e.Identity] {
		return
	}
	if k.count++; len(k.names) < maxCollateralNames {
		k.names[e.Identity] = true
	}
}

// observe follows the run: which nodes are sent to, and when the gates pass.
func (k *collateral) observe(r batch.Record, p batch.Progress) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case r.Kind == batch.KindIntent:
		for name := range p.InBatch(r.Batch) {
			k.sent[name] = true
		}
	case r.Kind == batch.KindGate && r.Gate.Decided && r.Gate.Verdict == batch.GatePassed:
		if k.count -= k.seen; k.count == 0 {
			clear(k.names)
		}
		k.seen = 0
	}
}

// Look implements gate.Gate.
func (k *collateral) Look(context.Context, batch.Moment) (batch.GateLook, error) {
	began := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen = k.count
	l := batch.GateLook{Gate: collateralName, Verdict: batch.GatePassed, Value: fmt.Sprint(k.count)}
	if k.count > k.limit {
		l.Verdict = batch.GateFailed
		var names []string
		for name := range k.names {
			names = append(names, name)
		}
		l.Reason = fmt.Sprintf("nodes that were not sent to started or ended %s, and %d are allowed: %s", plain.Count(k.count, "time"), k.limit, discovery.Fold(names))
	}
	l.Took = time.Since(began)
	return l, nil
}

// hearsEvents refuses --max-collateral where no lifecycle event arrives.
func (c checkpoint) hearsEvents(ctx context.Context) error {
	if _, err := c.fleet.Dial(ctx); err != nil {
		return err
	}
	events := c.fleet.Events()
	if events == nil {
		return refuse("leave out --max-collateral", "cannot count starts of other nodes: lifecycle events do not cross federations")
	}
	stop, err := new(collateral).listen(ctx, events)
	if err != nil {
		return refuse("leave out --max-collateral, or get the permission to see events", "cannot count starts of other nodes: %v", err)
	}
	stop()
	return nil
}
