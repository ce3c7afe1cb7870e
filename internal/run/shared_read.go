package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/journal"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/security"
)

// aliveFor is how old the last sign of a driver may be. It renews its head every 10 s.
const aliveFor = 35 * time.Second

// SharedRun is the record of a run as operators elsewhere see it, read so far. Not safe for concurrent use.
type SharedRun struct {
	Found lease.Found
	store lease.Store
	id    string
	data  []byte
	parts []part
	end   *lease.Reader
	begun time.Time // when the first segment was written, by the broker's clock
	read  time.Time // when the broker's clock was at Found.Written and Found.Age
	seen  batch.Follower
}

// part is a segment without its data.
type part struct {
	text    []byte
	signed  json.RawMessage
	written time.Time
}

// OpenShared finds the shared record of a run by its id, or a beginning of it that no other run has. It reads nothing else.
func OpenShared(ctx context.Context, store lease.Store, name string) (*SharedRun, error) {
	id, err := completeShared(ctx, store, name)
	if err != nil {
		return nil, err
	}
	r := &SharedRun{store: store, id: id, end: lease.NewReader(store, id)}
	return r, r.look(ctx)
}

// SharedBucket opens the bucket of the shared records.
func SharedBucket(ctx context.Context, f Fleet) (lease.Store, error) {
	if f.About().Collective == fleet.ProvisioningCollective {
		return nil, SharedFailure(errProvisioning)
	}
	store, err := f.Bucket(ctx, lease.Shared)
	if err != nil {
		return nil, BucketFailure(err)
	}
	return store, nil
}

// SharedStatus is a run's status in one word or two, for lists.
func SharedStatus(f lease.Found) string {
	if f.Head.Ended.IsZero() && f.Head.Mirrored() && f.Age > aliveFor {
		return "died"
	}
	return f.Head.Status
}

func completeShared(ctx context.Context, store lease.Store, name string) (string, error) {
	if name == "" {
		return "", usage(errors.New("the name of the run is empty"), "is a variable unset? `fleetctl runs list --shared` has the names")
	}
	if name == "last" {
		return "", usage(errors.New("the last shared run may be that of another operator: its id is needed"), "see `fleetctl runs list --shared`")
	}
	if err := journal.CheckID(name); err != nil || strings.Contains(name, ".") {
		return "", usage(fmt.Errorf("no run %q", name), "see `fleetctl runs list --shared`")
	}
	_, err := lease.FindRun(ctx, store, name)
	if !errors.Is(err, lease.ErrNoKey) {
		if err != nil {
			err = BucketFailure(err)
		}
		return name, err
	}
	all, err := lease.FindRuns(ctx, store)
	if err != nil {
		return "", BucketFailure(err)
	}
	var found []string
	for _, f := range all {
		if strings.HasPrefix(f.Head.Run, name) {
			found = append(found, f.Head.Run)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", usage(fmt.Errorf("no shared run %q", name), "see `fleetctl runs list --shared`")
	}
	return "", ambiguous(name, found)
}

// ID is the id of the run.
func (r *SharedRun) ID() string { return r.id }

func (r *SharedRun) look(ctx context.Context) error {
	found, err := lease.FindRun(ctx, r.store, r.id)
	if err != nil {
		return BucketFailure(err)
	}
	r.Found, r.read = found, time.Now()
	return nil
}

// Alive reports whether a process drives the run, as far as its signs of life say.
func (r *SharedRun) Alive() bool { return r.Found.Head.Ended.IsZero() && r.Found.Age <= aliveFor }

// grow reads what is new.
func (r *SharedRun) grow(ctx context.Context) error {
	for {
		s, err := r.end.Next(ctx)
		if errors.Is(err, lease.ErrNoKey) {
			return nil
		}
		if err != nil {
			return BucketFailure(err)
		}
		if r.begun.IsZero() {
			r.begun = s.Written
		}
		r.data = append(r.data, s.Data...)
		r.parts = append(r.parts, part{s.Text, s.Signed, s.Written})
	}
}

// why is the reason why the record may lack lines.
func (r *SharedRun) why() string { return "it was taken over from " + plain.Line(r.Found.Head.Who()) }

// Next reads what is new, hands each record to see, and returns the run as it is. Before the run has a plan the error is
// batch.ErrNoPlan.
func (r *SharedRun) Next(ctx context.Context, see func(p batch.Progress, r batch.Record)) (Stored, error) {
	if err := r.look(ctx); err != nil { // before the record: what was written before the last sign of life is in it
		return Stored{}, err
	}
	if err := r.grow(ctx); err != nil {
		return Stored{}, err
	}
	c, err := journal.ThisMachine().Parse(r.id, r.data, r.why())
	if err != nil {
		return Stored{}, err
	}
	n := 0
	for line, err := range c.Lines() {
		if err != nil {
			return Stored{}, err
		}
		if n++; n <= r.seen.Lines() {
			continue
		}
		record, err := r.seen.Add(line)
		if err != nil {
			return Stored{}, err
		}
		if p, err := r.seen.Progress(); err == nil && see != nil {
			see(p, record)
		}
	}
	if !r.Alive() {
		return r.stored(journal.ThisMachine())
	}
	s := Stored{ID: r.id, Live: true, Owner: c.Owner(), Copied: r.why(), size: c.Size()}
	if s.Progress, err = r.seen.Progress(); err != nil {
		return s, err
	}
	return s, s.describe()
}

// stored is the run as an adoption would see it.
func (r *SharedRun) stored(m journal.Machine) (Stored, error) {
	c, err := m.Parse(r.id, r.data, r.why())
	if err != nil {
		return Stored{}, err
	}
	s := Stored{ID: r.id, Owner: c.Owner(), Ours: true, Copied: r.why(), clock: c.Clock(), size: c.Size(), Torn: c.Torn()}
	if c.Empty() {
		return s, refuse("nothing was sent: type the command again", "run %s: its process ended before it had a plan: %w", r.id, batch.ErrNoPlan)
	}
	if s.Progress, err = batch.Replay(c.Lines()); err != nil {
		return s, fmt.Errorf("run %s: %w", r.id, err)
	}
	if err := s.describe(); err != nil {
		return s, err
	}
	return s, s.sameAction(c)
}

// sameAction refuses a record in which a later driver describes another action than the plan's.
func (s Stored) sameAction(c *journal.Contents) error {
	for line, err := range c.Lines() {
		if err != nil {
			return err
		}
		h, err := batch.ReadHeader(line)
		if err != nil {
			return err
		}
		var m Meta
		if err := json.Unmarshal(h.Meta, &m); err != nil {
			return fmt.Errorf("run %s: its description cannot be read: %w", s.ID, err)
		}
		if m.Agent != s.Meta.Agent || m.Action != s.Meta.Action || m.Collective != s.Meta.Collective || !maps.Equal(m.Inputs, s.Meta.Inputs) {
			return fmt.Errorf("run %s: its record describes another action than its plan", s.ID)
		}
		return nil
	}
	return nil
}

// Dead reads the whole record, to adopt or to settle the run: as a resume would see it, whether its driver lives or not. The
// lock of the run decides about that.
func (r *SharedRun) Dead(ctx context.Context) (Stored, error) { return r.dead(ctx, false) }

// Known is for Forget: what Dead returns, but of a damaged record as much as can be read.
func (r *SharedRun) Known(ctx context.Context) (Stored, error) { return r.dead(ctx, true) }

func (r *SharedRun) dead(ctx context.Context, damaged bool) (Stored, error) {
	if !r.Found.Head.Mirrored() {
		return Stored{}, refuse("nothing was sent, or its record is on the machine that applied it", "cannot adopt or settle run %s: its record was not shared", r.id)
	}
	if err := r.grow(ctx); err != nil && !(damaged && errors.Is(err, lease.ErrDamaged)) {
		return Stored{}, err
	}
	s, err := r.stored(journal.ThisMachine())
	s.shared = r
	return s, err
}

// age is how old the run is, by the broker's clock.
func (r *SharedRun) age(now time.Time) time.Duration {
	atRead := r.Found.Written.Add(r.Found.Age).Sub(r.begun)
	return max(atRead+batch.Longest(r.read, now), time.Second)
}

// signed verifies that a caller who may manage the fleet signed every part, and returns who signed the plan.
func (r *SharedRun) signed(id *security.Identity) (string, error) {
	if !slices.ContainsFunc(r.parts, func(p part) bool { return len(p.signed) > 0 }) {
		return "", errors.New("no part of it is signed: its driver had no key of its own, as with protocol 1 behind a remote signer")
	}
	var last security.Statement
	owner := ""
	for i, p := range r.parts {
		var s security.Statement
		if len(p.signed) == 0 || json.Unmarshal(p.signed, &s) != nil {
			return "", fmt.Errorf("segment %d is not signed", i+1)
		}
		if s.Token == "" {
			s.Token = last.Token
		}
		if s.Certificate == "" {
			s.Certificate = last.Certificate
		}
		last = s
		who, err := id.VerifyStatement(s, p.text, p.written)
		if err != nil {
			return "", fmt.Errorf("segment %d: %w", i+1, err)
		}
		if owner == "" {
			owner = who.Caller
		}
	}
	return owner, nil
}
