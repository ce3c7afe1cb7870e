package world

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/journal"
	"fleetctl/internal/lease"
	product "fleetctl/internal/run"
	"fleetctl/internal/secret"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// Operators that share a fleet. Each has a machine with its own records, and its processes are what the commands run:
// package run, with its guards, locks, budget and shared records.

// operator is one operator with a machine.
type operator struct {
	t       *testing.T
	w       *world
	s       *commonSpec
	name    string
	dir     string // of its records
	machine journal.Machine
	id      *security.Identity
	cutOff  bool    // it does not reach the brokers' streams
	d       *driver // the process in progress; nil: there is none
}

// driver is one process of an operator. It is the way to the fleet, and reports, of package run.
type driver struct {
	o      *operator
	c      *conn
	rng    *rand.Rand // of its way to the streams
	cancel context.CancelCauseFunc
	links  chan batch.Link
	done   chan struct{} // closed when the process has ended
	news   sync.WaitGroup
	finds  []string // the nodes of its discovery
	locks  []string // that its run holds

	client *rpcclient.Client
	id     string // of its run; "" before it is known
	adopts bool   // it takes the run over from another machine
	run    *sharedRun
	killed chan struct{}
	dead   bool
	died   time.Time
	size   int64 // of the record when the process died; -1: there was none
	dieAt  int   // the record at which it dies; 0: none
	stopAt int   // the record at which it is interrupted
	count  int   // records so far
}

func (c *common) operator(t *testing.T, s *commonSpec, name string) *operator {
	o := &operator{t: t, w: c.w, s: s, name: name, dir: t.TempDir(), id: signatory(t, s.seed, name), machine: journal.ThisMachine()}
	booted := time.Now().Add(-time.Hour)
	o.machine.Host, o.machine.Now, o.machine.Began = "desk of "+name, time.Now, time.Hour
	o.machine.Uptime = func() time.Duration { return time.Since(booted) }
	o.machine.Changed = func(fs.FileInfo) time.Time { return time.Time{} }
	c.operators = append(c.operators, o)
	return o
}

func (o *operator) store() product.Store { return product.Store{Dir: o.dir, Machine: &o.machine} }

// records are the ids of its runs, the oldest first.
func (o *operator) records() []string {
	list, err := o.store().List()
	if err != nil {
		return nil
	}
	var ids []string
	for _, i := range list {
		ids = append(ids, i.ID)
	}
	slices.Reverse(ids)
	return ids
}

// process begins a process, and does something with it.
func (o *operator) process(ctx context.Context, change func(d *driver), do func(ctx context.Context, d *driver) error) {
	before := o.records()
	d := &driver{
		o: o, c: o.w.connectLocked(), links: make(chan batch.Link, 64), done: make(chan struct{}), killed: make(chan struct{}), size: -1,
	}
	o.w.mu.Lock()
	d.rng = rand.New(rand.NewPCG(o.s.seed, o.w.rng.Uint64()))
	o.d = d
	change(d)
	o.w.mu.Unlock()
	ctx, d.cancel = context.WithCancelCause(ctx)
	defer d.cancel(nil)
	d.news.Go(d.hear)
	err := do(ctx, d)
	d.c.closeLocked()
	close(d.done)
	d.news.Wait()
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	o.d = nil
	if d.dead {
		o.cutDown(d, before)
	}
	o.w.logf("%-7s its process ends: %v", o.name, err)
}

// cutDown leaves of the record of a process that was killed what was durable then.
func (o *operator) cutDown(d *driver, before []string) {
	for _, id := range o.records() {
		path := filepath.Join(o.dir, id+".journal")
		switch {
		case id == d.id && d.size >= 0:
			if err := os.Truncate(path, d.size); err != nil {
				panic(err)
			}
		case !slices.Contains(before, id):
			if err := os.Remove(path); err != nil {
				panic(err)
			}
		}
	}
}

// kill ends the process at once.
func (d *driver) kill() {
	if d.dead {
		return
	}
	d.o.w.logf("EVENT   kill: the process of %s", d.o.name)
	d.o.w.saw("kill")
	d.dead, d.died = true, time.Now()
	d.c.kill()
	d.c.rouse()
	if info, err := os.Stat(filepath.Join(d.o.dir, d.id+".journal")); d.id != "" && err == nil {
		d.size = info.Size()
	}
	close(d.killed)
	d.o.w.common.died(d)
	d.links <- batch.Link{Time: time.Now(), Gone: true, Err: errDead}
	d.cancel(errDead)
}

// interrupt is the first Ctrl-C.
func (d *driver) interrupt() {
	d.o.w.logf("EVENT   signal: to the process of %s", d.o.name)
	d.o.w.saw("signal")
	d.cancel(errors.New("interrupt signal received"))
}

// hear hands the changes of the connection on.
func (d *driver) hear() {
	for {
		select {
		case l := <-d.c.links:
			select {
			case d.links <- batch.Link{Time: l.at, Up: l.up, Err: l.err}:
			default:
			}
		case <-d.done:
			return
		}
	}
}

func (d *driver) context() product.Context {
	return product.Context{
		Fleet: d, Store: d.o.store(), Asker: mute{}, Reporter: d, Scrub: &secret.Scrubber{}, User: d.o.name, Host: d.o.machine.Host, Version: "1.2.3",
		Secrets:   secret.Source{In: strings.NewReader(""), Getenv: func(string) (string, bool) { return "", false }},
		ReadNodes: func(context.Context, string) ([]string, error) { return nil, nil },
	}
}

// mute is an operator who is not there to ask.
type mute struct{}

var errNoTerminal = errors.New("there is no terminal to ask at")

func (mute) Reachable() error                             { return errNoTerminal }
func (mute) Line(context.Context, string) (string, error) { return "", errNoTerminal }
func (mute) Yes(context.Context, string) (bool, error)    { return false, errNoTerminal }

// Report implements the Reporter of package run. The process may die, or stop, at a record.
func (d *driver) Report(e product.Event) error {
	d.c.untilAwake()
	w := d.o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.dead {
		return nil
	}
	switch e := e.(type) {
	case product.Began:
		d.id, d.run = e.ID, w.common.runOf(e.ID, e.Progress.Header().Parent)
		w.logf("%-7s drives run %s", d.o.name, d.run.name)
		if d.adopts {
			w.saw("adopted")
		}
	case product.Noted:
		w.logf("%-7s says: %s", d.o.name, e.Text)
	case product.Recorded:
		w.common.recorded(d, e.Record, e.Progress)
		switch d.count++; d.count {
		case d.dieAt:
			d.kill()
		case d.stopAt:
			d.interrupt()
		}
	}
	return nil
}

// The way to the fleet.

func (d *driver) About() fleet.About {
	return fleet.About{ConfigFile: "client.conf", Collective: collective, MainCollective: collective}
}

func (d *driver) identity() nullIdentity { return nullIdentity{version: d.o.w.version, name: d.o.name} }

func (d *driver) Who() (fleet.Caller, error) {
	return fleet.Caller{ID: d.identity().Caller(), Version: d.o.w.version}, nil
}

func (d *driver) Documents() ddl.Resolver { return ddl.Resolver{} }

func (d *driver) Identity() (*security.Identity, error) { return d.o.id, nil }

func (d *driver) Find(context.Context, fleet.Targets, filter.Filter, string) (discovery.Result, error) {
	return discovery.Result{Nodes: d.finds, Took: time.Second}, nil
}

func (d *driver) MethodName(fleet.Targets, filter.Filter) string { return "mc" }

func (d *driver) Dial(context.Context) (*rpcclient.Client, error) {
	d.o.w.mu.Lock()
	defer d.o.w.mu.Unlock()
	if d.client == nil {
		if d.c.broker == nil {
			return nil, errDown
		}
		d.client = rpcclient.New(wire{d.c}, d.identity())
	}
	return d.client, nil
}

func (d *driver) Private(ctx context.Context) (bool, string, error) {
	if err := d.c.reaches(ctx, nil); err != nil {
		return false, "", err
	}
	return true, "nats://broker.example.net:4222", nil
}

func (d *driver) Events() fleet.Events     { return wire{d.c} }
func (d *driver) Links() <-chan batch.Link { return d.links }
func (d *driver) KeepTokens()              {}
func (d *driver) AskOfAbsence()            {}

func (d *driver) Bucket(_ context.Context, name string) (lease.Store, error) {
	if name == lease.Elections {
		return desk{d.o.w.common.elections, d}, nil
	}
	return desk{d.o.w.common.shared, d}, nil
}

// What operators do.

// begin is `req`.
func (d *driver) begin(ctx context.Context, r product.Request) error {
	_, err := product.Start(ctx, d.context(), r)
	return err
}

// again is a request about a recorded run.
func (d *driver) again(s product.Stored) (product.Request, error) {
	r := product.Request{Inputs: map[string]string{"token": "s3cret"}, Guards: product.Guards{Yes: true, InsecureToken: true}, Shared: product.Shared{Wait: d.o.s.lockWait}}
	return r.Reopen(s)
}

// stored reads a run of this machine.
func (d *driver) stored(id string) (product.Stored, product.Request, error) {
	s, err := d.o.store().Read(id)
	if err != nil {
		return s, product.Request{}, err
	}
	d.o.w.mu.Lock()
	d.locks = s.Meta.Locks
	d.o.w.mu.Unlock()
	r, err := d.again(s)
	return s, r, err
}

func (d *driver) resume(ctx context.Context, id string) error {
	s, r, err := d.stored(id)
	if err != nil {
		return err
	}
	d.o.w.mu.Lock()
	d.id = id
	d.o.w.mu.Unlock()
	_, err = product.Resume(ctx, d.context(), r, s)
	return err
}

func (d *driver) retry(ctx context.Context, id string) error {
	s, r, err := d.stored(id)
	if err != nil {
		return err
	}
	_, err = product.Retry(ctx, d.context(), r, s, retryStates("failed", "no-reply", "absent", "unknown", "not-sent"))
	return err
}

func (d *driver) settle(ctx context.Context, id string) error {
	s, err := d.o.store().Read(id)
	if err != nil {
		return err
	}
	found, err := product.Settle(ctx, d.context(), s)
	if err != nil && strings.Contains(err.Error(), "is outdated") { // the hint is to add --shared
		d.o.w.mu.Lock()
		d.o.w.logf("%-7s reads: %v", d.o.name, err)
		d.o.w.saw("settled by the shared record")
		d.o.w.mu.Unlock()
		if s, err = d.shared(ctx, id); err == nil {
			found, err = product.Settle(ctx, d.context(), s)
		}
	}
	if err != nil {
		return err
	}
	d.o.w.mu.Lock()
	defer d.o.w.mu.Unlock()
	if len(found.Answered) > 0 {
		d.o.w.saw("settled")
	}
	d.o.w.logf("%-7s settles: %s", d.o.name, found.Text(id))
	return nil
}

// shared reads the shared record of a run without a driver.
func (d *driver) shared(ctx context.Context, id string) (product.Stored, error) {
	store, err := product.SharedBucket(ctx, d)
	if err != nil {
		return product.Stored{}, err
	}
	shared, err := product.OpenShared(ctx, store, id)
	if err != nil {
		return product.Stored{}, err
	}
	return shared.Dead(ctx)
}

// adopt takes a shared run over.
func (d *driver) adopt(ctx context.Context, id string) error {
	s, err := d.shared(ctx, id)
	if err != nil {
		return err
	}
	d.o.w.mu.Lock()
	d.id, d.locks, d.adopts = s.ID, s.Meta.Locks, true
	d.o.w.mu.Unlock()
	r, err := d.again(s)
	if err != nil {
		return err
	}
	_, err = product.Adopt(ctx, d.context(), r, s)
	return err
}

var _ product.Fleet = (*driver)(nil)

// String names the driver in verdicts.
func (d *driver) String() string { return fmt.Sprintf("%s (%p)", d.o.name, d) }
