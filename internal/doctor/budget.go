package doctor

import (
	"context"
	"errors"
	"fmt"
	"math"

	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
)

// budget looks whether runs can share limits of nodes that are down, and their records: our bucket, and the permission to
// use it. A fleet without it is well, unless the settings ask for limits.
func (c *checkup) budget(ctx context.Context) finding {
	if c.n.Collective == fleet.ProvisioningCollective {
		return finding{skipped: true, detail: "the provisioning account has no streams"}
	}
	store, err := c.n.Bucket(ctx, lease.Shared)
	if err != nil {
		return finding{err: err}
	}
	status, err := store.Status(ctx)
	if err != nil {
		return c.noBudget(err)
	}
	ledger, err := lease.ReadLedger(ctx, store, c.n.Collective)
	if err != nil {
		return c.noBudget(err)
	}
	// No key has this revision: what may write is refused for that reason, and nothing is written.
	if _, err := store.Put(ctx, "doctor", []byte("{}"), math.MaxInt64); !errors.Is(err, lease.ErrConflict) {
		return c.noBudget(err)
	}
	down := 0
	for _, p := range ledger.Runs {
		down += p.Down[lease.All]
	}
	f := finding{detail: fmt.Sprintf("bucket %s with %s can be used; %s of %s down", lease.Shared, plain.Count(status.Replicas, "replica"), plain.Count(down, "node"), plain.Count(len(ledger.Runs), "run"))}
	if len(ledger.Limits) > 0 {
		f.detail += fmt.Sprintf("; at most %s", ledger.Limits)
	}
	if status.TTL > 0 {
		f.warnings, f.fix = append(f.warnings, fmt.Sprintf("the bucket forgets its values after %s: limits and records are lost then", status.TTL)), "make the bucket again without a TTL: `fleetctl shared init`"
	}
	return f
}

// noBudget is why runs can share no limits: no fault, unless the settings ask for some.
func (c *checkup) noBudget(err error) finding {
	denied, isDenied := errors.AsType[*lease.DeniedError](err)
	fix := "make the bucket, once for the fleet: `fleetctl shared init`"
	switch {
	case isDenied:
		fix = "give the token the permission " + denied.Permission
	case errors.Is(err, lease.ErrNoStreams):
		fix = "give the brokers plugin.choria.network.stream.store"
	case !errors.Is(err, lease.ErrNoBucket):
		return finding{err: err}
	}
	if settings, serr := c.o.Fleet.Own(); serr == nil {
		what := ""
		if s := settings.In(c.n.Collective); len(s.MaxDown) > 0 {
			what = "a limit of nodes that are down, and runs cannot keep one"
		} else if s.Share {
			what = "shared records, and runs cannot keep one"
		}
		if what != "" {
			return finding{warnings: []string{fmt.Sprintf("the settings demand %s: %v", what, err)}, fix: fix}
		}
	}
	return finding{skipped: true, detail: fmt.Sprintf("runs cannot share limits or records: %v", err)}
}
