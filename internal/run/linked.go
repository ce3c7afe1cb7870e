package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/journal"
	"fleetctl/internal/plain"
)

// A retry is linked to the run that it retries, its parent. Linked runs have nodes in common, and each record knows only
// what its own run sent, and what the runs before it had sent when it began. So before a resume or a retry sends to a node,
// the records of all linked runs show whether another one has sent to it.

// unlinked refuses a resume or a retry that would send to a node which another linked run sent to, or may have, without the
// knowledge of this one. Linked runs have their records on this machine, or share them.
func (c checkpoint) unlinked(ctx context.Context, p guardInput) error {
	look := []func() (linkedRuns, error){func() (linkedRuns, error) { return c.Store.linked(p.stored.ID) }}
	if c.adopting != nil || p.stored.Meta.Share || sharing(c).mirrored() {
		look = append(look, func() (linkedRuns, error) { return mirroring(c).linkedElsewhere(ctx, *p.stored) })
	}
	for _, runs := range look {
		linked, err := runs()
		if err != nil {
			return unknownLinks(p, err)
		}
		other, nodes, err := linked.sent(*p.stored, p.targets())
		if err != nil {
			return unknownLinks(p, err)
		}
		if len(nodes) == 0 {
			continue
		}
		next := other.Next()
		hint := fmt.Sprintf("use that run: `%s`", other.further())
		switch {
		case linked.shared:
			hint = fmt.Sprintf("see `%s`, and continue with that run", next.Command("show", "--shared"))
		case other.Live:
			hint = fmt.Sprintf("it is in progress: see `%s`; when it has ended, resume or retry that run", next.Command("watch"))
		}
		return refuse(hint, "cannot %s run %s: run %s, which is linked to it by a retry, has sent or may have sent to %s of these: %s",
			p.verb(), p.stored.ID, other.ID, plain.Count(len(nodes), "node"), discovery.Fold(nodes))
	}
	return nil
}

// unknownLinks is why a run may not be continued when its linked runs cannot be read.
func unknownLinks(p guardInput, err error) error {
	if shared, ok := errors.AsType[*SharedError](err); ok {
		return shared
	}
	return refuse("see `fleetctl runs list`", "cannot %s run %s: it is not known whether a linked run has sent to its nodes: %w", p.verb(), p.stored.ID, err)
}

// linkedRuns are the other runs that are linked to one by retries, the newest first.
type linkedRuns struct {
	ids     []string
	parents map[string]string
	read    func(id string) (Stored, error)
	shared  bool // read from the shared records
}

// linkTo finds the runs among all, sorted, that are linked to a run. A record may have been edited: no loop is endless.
func linkTo(id string, all []string, parents map[string]string) []string {
	root := func(id string) string {
		for range len(parents) {
			if parents[id] == "" {
				break
			}
			id = parents[id]
		}
		return id
	}
	return which(all, func(other string) bool {
		_, known := parents[other]
		return known && other != id && root(other) == root(id)
	})
}

// sent returns the newest run that sent or may have sent to some of the nodes without the knowledge of a run that it is
// linked to; and these nodes, none when there is no such run.
func (l linkedRuns) sent(of Stored, nodes []string) (Stored, []string, error) {
	var before []string // the run's parent, the parent's parent and so on
	for id := l.parents[of.ID]; id != "" && !slices.Contains(before, id); id = l.parents[id] {
		before = append(before, id)
	}
	for _, id := range l.ids {
		if slices.Contains(before, id) {
			continue
		}
		other, err := l.read(id)
		if errors.Is(err, batch.ErrNoPlan) {
			continue
		}
		if err != nil {
			return Stored{}, nil, err
		}
		if sent := which(nodes, func(n string) bool { return other.Progress.MayReach(n, other.Live) }); len(sent) > 0 {
			return other, sent, nil
		}
	}
	child := of.Progress
	for _, id := range before {
		if !slices.Contains(l.ids, id) {
			break // its record was deleted: it was finished
		}
		parent, err := l.read(id)
		if err != nil {
			return Stored{}, nil, err
		}
		if sent := which(nodes, func(n string) bool { return !child.Knows(parent.Progress, n, parent.Live) }); len(sent) > 0 {
			return parent, sent, nil
		}
		child = parent.Progress
	}
	return Stored{}, nil, nil
}

// takenOver reports whether a resume of the run would be refused, because a linked run of this machine has sent to its nodes.
func (s Store) takenOver(of Stored) (Stored, bool) {
	linked, err := s.linked(of.ID)
	if err != nil {
		return Stored{}, false // the guard of the resume reports it
	}
	other, nodes, err := linked.sent(of, remaining(of).targets())
	return other, err == nil && len(nodes) > 0
}

// which returns the nodes of which a report is true.
func which(nodes []string, is func(string) bool) []string {
	var out []string
	for _, n := range nodes {
		if is(n) {
			out = append(out, n)
		}
	}
	return out
}

// linked returns the runs of this machine that are linked to a run. A record whose first line cannot be read is linked to
// none: nothing reads or resumes it.
func (s Store) linked(id string) (linkedRuns, error) {
	list, err := s.List()
	if err != nil {
		return linkedRuns{}, err
	}
	l := linkedRuns{parents: map[string]string{}, read: s.Read}
	all := make([]string, 0, len(list))
	for _, r := range list {
		all = append(all, r.ID)
		line, err := s.machine().First(s.Dir, r.ID)
		if err != nil || line == nil {
			continue
		}
		if header, err := batch.ReadHeader(line); err == nil {
			l.parents[r.ID] = header.Parent
		}
	}
	l.ids = linkTo(id, all, l.parents)
	return l, nil
}

// lockLinks keeps other processes from resuming or retrying linked runs until the lock is closed: what they have sent does
// not change between the guard's look at them, which is repeated here, and the record of what this run may send to.
func (c checkpoint) lockLinks(ctx context.Context, p guardInput) (io.Closer, error) {
	lock, err := c.Store.machine().LockLinks(c.Store.Dir)
	if errors.Is(err, journal.ErrBusy) {
		return nil, refuse("type the command again", "cannot %s run %s: another process is about to resume or retry a run", p.verb(), p.stored.ID)
	}
	if err != nil {
		return nil, err
	}
	for _, g := range guards() {
		if g.name != linkedGuard {
			continue
		}
		if err := c.judge(ctx, g, p); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	return &once{Closer: lock}, nil
}

// once closes a lock the first time only.
type once struct {
	io.Closer
	closed bool
}

// Close implements io.Closer.
func (o *once) Close() error {
	if o.closed {
		return nil
	}
	o.closed = true
	return o.Closer.Close()
}

// verb is what is done with the recorded run.
func (p guardInput) verb() string {
	if p.retry {
		return "retry"
	}
	return "resume"
}

const linkedGuard = "linked-runs"
