package run

import "fleetctl/batch"

// Following reads the record of a run as it grows, without taking it: each line once.
type Following struct {
	store    Store
	id       string
	follower batch.Follower
}

// Follow follows a run from the beginning of its record.
func (s Store) Follow(id string) *Following { return &Following{store: s, id: id} }

// Next reads what is new, hands each record to see, and returns the run as it is: Live says whether its process still is. The
// progress is shared with the next call; of a run whose process is gone it is a new one, as a resume would see it. Before the run
// has a plan the error is batch.ErrNoPlan, and the run may be live.
func (f *Following) Next(see func(p batch.Progress, r batch.Record)) (Stored, error) {
	c, err := f.store.machine().Read(f.store.Dir, f.id)
	if err != nil {
		return Stored{}, recordError(err)
	}
	defer c.Close()
	n, live := 0, c.Live()
	for line, err := range c.Lines() {
		if err != nil {
			return Stored{}, err
		}
		if n++; n <= f.follower.Lines() {
			continue
		}
		r, err := f.follower.Add(line)
		if err != nil {
			return Stored{}, err
		}
		if p, err := f.follower.Progress(); err == nil {
			see(p, r)
		}
	}
	if !live {
		return f.store.Read(f.id)
	}
	r := Stored{ID: f.id, Live: true, Owner: c.Owner(), Ours: c.Owner().Ours, folder: f.store.Typed}
	if r.Progress, err = f.follower.Progress(); err != nil {
		return r, err
	}
	return r, r.describe()
}
