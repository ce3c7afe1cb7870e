package run

import (
	"context"
	"errors"
	"fmt"

	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
)

// A saved plan is applied once in the world where operators share a bucket: its run's head is made there once. Where they do
// not, it is applied once on a machine.

const onceGuard = "applied-once"

// appliedElsewhere refuses a plan that has become a run on another machine.
func appliedElsewhere(h lease.Head) error {
	return refuse("see `fleetctl runs list --shared`; to apply it again, save another plan",
		"cannot apply the plan: it was applied already, as run %s, by %s", h.Run, plain.Line(h.Who()))
}

// unshared reports that there is no bucket in which a plan could be claimed: a matter of the fleet, not a fault.
func unshared(err error) bool {
	return errors.Is(err, lease.ErrNoStreams) || errors.Is(err, lease.ErrNoBucket) || errors.Is(err, errProvisioning)
}

// unclaimed is what follows when a plan that is not shared could not be claimed.
func (c mirroring) unclaimed(err error) error {
	denied, isDenied := errors.AsType[*lease.DeniedError](err)
	switch {
	case unshared(err):
		return nil
	case isDenied:
		text := fmt.Sprintf("the plan is applied once on this machine; other machines do not see it: the token needs %s", denied.Permission)
		return c.Reporter.Report(Noted{Warning, text})
	}
	return fmt.Errorf("it is not known whether the plan was applied elsewhere: %w", BucketFailure(err))
}

// appliedOnce is the guard's check. begin repeats it, and claims the plan.
func (c mirroring) appliedOnce(ctx context.Context) error {
	store, err := sharing(c).bucket(ctx, lease.Shared)
	if err == nil {
		var found lease.Found
		if found, err = lease.FindRun(ctx, store, c.req.plan.Plan.ID); err == nil {
			return appliedElsewhere(found.Head)
		}
	}
	_, denied := errors.AsType[*lease.DeniedError](err)
	if errors.Is(err, lease.ErrNoKey) || denied || unshared(err) {
		return nil
	}
	return fmt.Errorf("it is not known whether the plan was applied elsewhere: %w", BucketFailure(err))
}
