package lease

import (
	"context"
	"errors"
	"time"
)

// A cluster that has just started, or that is busy, calls peers offline for a moment, or does not answer in time.
const (
	placeTime  = 15 * time.Second // how long a bucket is tried to be made
	placeAgain = 500 * time.Millisecond
)

// ErrNoPeers reports that too few peers of the brokers' cluster are online for the copies of a bucket.
var ErrNoPeers = errors.New("too few peers of the brokers' cluster are online for its copies")

// maxReplicas is how many copies of a bucket are made where nothing else is asked for.
const maxReplicas = 3

// The permission to make a bucket of ours (docs/shared.md).
const makeStreams = "streams_admin (or the right to publish to $JS.API.STREAM.CREATE.KV_" + Shared + ")"

// errExists: a bucket of this name was made with another configuration.
var errExists = errors.New("the bucket exists already")

// Create makes a bucket as `choria kv add NAME --history 1 --replicas N` does. It reports false where there is one already,
// which stays as it is. A question whose answer was lost is asked again: brokers make one bucket of equal ones. The errors
// are ErrNoPeers, and those of a Store.
func (b *Bucket) Create(ctx context.Context, replicas int) (bool, error) {
	_, err := b.Status(ctx)
	if !errors.Is(err, ErrNoBucket) {
		return false, toMake(err)
	}
	config := map[string]any{
		"name": b.stream(), "description": "What runs of fleetctl share", "subjects": []string{b.subject(">")}, "retention": "limits", "storage": "file",
		"discard": "new", "num_replicas": replicas, "max_msgs_per_subject": 1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msg_size": -1,
		"max_consumers": -1, "duplicate_window": 120_000_000_000, "deny_delete": true, "allow_rollup_hdrs": true, "allow_direct": true,
	}
	var made info
	for end := time.Now().Add(placeTime); ; {
		err = b.ask(ctx, "$JS.API.STREAM.CREATE."+b.stream(), nil, config, &made, makeStreams)
		passes := errors.Is(err, ErrNoPeers) || errors.Is(err, context.DeadlineExceeded)
		if !passes || time.Now().After(end) {
			break
		}
		select {
		case <-time.After(placeAgain):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	if errors.Is(err, errExists) {
		return false, nil
	}
	return err == nil, err
}

// Replicas is how many copies a bucket of ours should have: as many as the brokers' own has, and not more than three. That
// one has a copy on each broker.
func Replicas(ctx context.Context, elections Store) (int, error) {
	status, err := elections.Status(ctx)
	return min(max(status.Replicas, 1), maxReplicas), toMake(err)
}

// toMake is the error of a look by a caller that wants to make a bucket: a token that may not look lacks that permission.
func toMake(err error) error {
	if denied, ok := errors.AsType[*DeniedError](err); ok {
		return &DeniedError{Permission: makeStreams, Err: denied.Err}
	}
	return err
}
