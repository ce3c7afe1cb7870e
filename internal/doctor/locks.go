package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fleetctl/internal/config"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/rpcclient"
)

// locks looks whether runs can hold locks: streams, permission, bucket, and time for the fence. Where no lock is asked for
// by the settings, a fleet without them is well.
func (c *checkup) locks(ctx context.Context) finding {
	if c.n.Collective == fleet.ProvisioningCollective {
		return finding{skipped: true, detail: "the provisioning account has no streams"}
	}
	store, err := c.n.Bucket(ctx, lease.Elections)
	if err != nil {
		return finding{err: err}
	}
	status, err := store.Status(ctx)
	if err != nil {
		return c.noLocks(err)
	}
	fence := lease.Fence(status.TTL, rpcclient.DefaultTTL)
	f := finding{detail: fmt.Sprintf("a lock lives for %s; batches are sent within %s of a renewal", status.TTL, fence)}
	if fence < lease.MinFence {
		f.detail = ""
		f.warnings = append(f.warnings, fmt.Sprintf("the brokers keep a lock for %s only: too short for requests with a time to live of %s", status.TTL, rpcclient.DefaultTTL))
		f.fix = "leave plugin.choria.network.leader_election_ttl of the brokers at its default"
		return f
	}
	if _, err := store.Get(ctx, lease.LockKey("doctor")); err != nil && !errors.Is(err, lease.ErrNoKey) {
		if _, denied := errors.AsType[*lease.DeniedError](err); !denied {
			return finding{err: err}
		}
		f.warnings = append(f.warnings, "this caller cannot read who holds a lock")
		f.fix = "give the token the permission streams_user"
	}
	if worst := worstSkew(c.skews); worst > lease.Skew {
		f.warnings = append(f.warnings, fmt.Sprintf("clocks differ by %s: a request may act %s longer than a lock allows for", worst.Round(time.Second), (worst-lease.Skew).Round(time.Second)))
		f.fix = "set the clocks"
	}
	return f
}

// noLocks is why runs can hold no locks: no fault, unless the settings ask for one.
func (c *checkup) noLocks(err error) finding {
	denied, isDenied := errors.AsType[*lease.DeniedError](err)
	if !isDenied && !errors.Is(err, lease.ErrNoStreams) && !errors.Is(err, lease.ErrNoBucket) {
		return finding{err: err}
	}
	fix := "give the brokers plugin.choria.network.stream.store"
	if isDenied {
		fix = "give the token the permission " + denied.Permission
	}
	if settings, serr := c.o.Fleet.Own(); serr == nil && demandsLock(settings.In(c.n.Collective)) {
		return finding{warnings: []string{fmt.Sprintf("the settings demand a lock, and runs cannot hold one: %v", err)}, fix: fix}
	}
	return finding{skipped: true, detail: fmt.Sprintf("runs cannot hold locks: %v", err)}
}

// worstSkew is how far the clocks of nodes are from ours at most.
func worstSkew(skews map[string]time.Duration) time.Duration {
	var worst time.Duration
	for _, skew := range skews {
		worst = max(worst, skew.Abs())
	}
	return worst
}

// demandsLock reports whether runs hold a lock by the settings: a shared run has one of its own.
func demandsLock(s config.Settings) bool { return len(s.Locks) > 0 || s.Share || len(s.MaxDown) > 0 }
