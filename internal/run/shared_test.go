package run

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/security"
)

func seedOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func publicOf(k ed25519.PrivateKey) string {
	return hex.EncodeToString(k.Public().(ed25519.PublicKey))
}

// identityOf is an operator of our organization, up=NAME, for a day.
func identityOf(t *testing.T, name string) *security.Identity {
	return identityBy(t, name, seedOf(1))
}

func identityBy(t *testing.T, name string, issuer ed25519.PrivateKey) *security.Identity {
	return identityBehind(t, name, issuer, "")
}

// identityBehind is an operator whose requests a service signs; signer is its address, "" for none.
func identityBehind(t *testing.T, name string, issuer ed25519.PrivateKey, signer string) *security.Identity {
	t.Helper()
	now, seed := time.Now(), seedOf(name[0])
	c := security.ClientClaims{CallerID: "up=" + name, Agents: []string{"*"}, Permissions: security.ClientPermissions{FleetManagement: signer == "", SignedFleetManagement: signer != ""}}
	c.PublicKey, c.IssuedAt, c.ExpiresAt = publicOf(seed), security.At(now.Add(-time.Minute)), security.At(now.Add(24*time.Hour))
	token, err := security.IssueClient(c, issuer)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	id, err := security.Open(security.Options{
		Provider: "choria", Identity: "ops", TokenFile: write("token", token), SeedFile: write("seed", hex.EncodeToString(seed.Seed())),
		Issuers: map[string]string{"choria": publicOf(issuer)}, SignerURL: signer,
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newShared is a bucket whose values stay.
func newShared() *bucket {
	b := newBucket()
	b.life = 0
	return b
}

// cutOff is a bucket that one operator may lose.
type cutOff struct {
	lease.Store
	away *bool
}

func (c cutOff) Status(ctx context.Context) (lease.Status, error) {
	if *c.away {
		return lease.Status{}, errAway
	}
	return c.Store.Status(ctx)
}

func (c cutOff) Get(ctx context.Context, key string) (lease.Entry, error) {
	if *c.away {
		return lease.Entry{}, errAway
	}
	return c.Store.Get(ctx, key)
}

func (c cutOff) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if *c.away {
		return 0, errAway
	}
	return c.Store.Put(ctx, key, value, revision)
}

func (c cutOff) Delete(ctx context.Context, key string, revision uint64) error {
	if *c.away {
		return errAway
	}
	return c.Store.Delete(ctx, key, revision)
}

// operator is one of several that share a fleet: with a machine, a home and a name of its own.
type operator struct {
	*world
	name, dir string
	id        *security.Identity
	events    *recorder
	away      bool // it does not reach the buckets
}

// operators share the nodes and the buckets of a world.
func operators(t *testing.T, w *world, names ...string) []*operator {
	w.bucket, w.shared = newBucket(), newShared()
	var all []*operator
	for _, name := range names {
		all = append(all, &operator{world: w, name: name, dir: t.TempDir(), id: identityOf(t, name), events: &recorder{}})
	}
	return all
}

func (o *operator) Who() (fleet.Caller, error) {
	return fleet.Caller{ID: "up=" + o.name, Version: o.version}, nil
}

func (o *operator) Identity() (*security.Identity, error) { return o.id, nil }

func (o *operator) Bucket(ctx context.Context, name string) (lease.Store, error) {
	s, err := o.world.Bucket(ctx, name)
	return cutOff{s, &o.away}, err
}

func (o *operator) context() Context {
	c := o.world.context()
	machine := o.machine
	machine.Host = "desk of " + o.name
	c.Fleet, c.Store, c.Reporter, c.Host, c.User = o, Store{Dir: o.dir, Machine: &machine}, o.events, machine.Host, o.name
	return c
}

// sharedRestart is a shared restart, one node after another.
func sharedRestart() Request {
	r := slowly(restart())
	r.Shared.Mirror = true
	return r
}

// find is the shared record of the only run.
func find(t *testing.T, w *world) *SharedRun {
	t.Helper()
	all, err := lease.FindRuns(t.Context(), w.shared)
	if err != nil || len(all) != 1 {
		t.Fatalf("found %v, %v", all, err)
	}
	r, err := OpenShared(t.Context(), w.shared, all[0].Head.Run[:15])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// dead is a shared run whose driver is gone.
func dead(t *testing.T, w *world, id string) Stored {
	t.Helper()
	r, err := OpenShared(t.Context(), w.shared, id)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Dead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// adopts takes the only run over.
func (o *operator) adopts(t *testing.T, change ...func(*Request)) (Result, error) {
	t.Helper()
	s, err := find(t, o.world).Dead(t.Context())
	if err != nil {
		return Result{}, err
	}
	return Adopt(t.Context(), o.context(), o.again(t, s, change...), s)
}

// again is the request about a recorded run.
func (o *operator) again(t *testing.T, s Stored, change ...func(*Request)) Request {
	t.Helper()
	r := Request{Inputs: map[string]string{"token": "s3cret"}, Guards: Guards{Yes: true}}
	for _, c := range change {
		c(&r)
	}
	r, err := r.Reopen(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// resumes resumes the newest run of its own record.
func (o *operator) resumes(t *testing.T) (Result, error) {
	t.Helper()
	c := o.context()
	s, err := c.Store.Named("last")
	if err != nil {
		t.Fatal(err)
	}
	return Resume(t.Context(), c, o.again(t, s), s)
}

// refusal is the text of a refusal; it fails for any other error.
func refusal(t *testing.T, err error) string {
	t.Helper()
	e, ok := errors.AsType[*GuardError](err)
	if !ok {
		t.Fatalf("not refused: %v", err)
	}
	return e.Error()
}

// count is how many requests each node got.
func (w *world) count() map[string]int {
	out := map[string]int{}
	for _, text := range w.sent() {
		name, _, _ := strings.Cut(text, " ")
		out[name]++
	}
	return out
}

// sentOnce fails when a node got more than one request, and returns how many nodes got one.
func sentOnce(t *testing.T, w *world) int {
	t.Helper()
	count := w.count()
	for name, n := range count {
		if n > 1 {
			t.Errorf("node %s got %d requests", name, n)
		}
	}
	return len(count)
}

// dying has alice's run lose the brokers' streams, and all that it does there, when n2 has got its request. It has ended when
// the test continues.
func dying(t *testing.T, alice *operator) Result {
	t.Helper()
	return dyingAt(t, alice, "n2")
}

func dyingAt(t *testing.T, alice *operator, last string) Result {
	t.Helper()
	alice.leaves = func(node string) { // under the world's lock
		alice.away = alice.away || node == last
	}
	res, err := Start(t.Context(), alice.context(), sharedRestart())
	if err != nil || res.Summary.Verdict != batch.Stopped {
		t.Fatalf("alice's run: %v, %q, %v", res.Summary.Verdict, res.Summary.Reason, err)
	}
	alice.leaves, alice.away = nil, false
	return res
}

func TestASharedRunIsSeenElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		alice := operators(t, w, "alice")[0]
		var missing []string
		alice.leaves = func(node string) { // the intent is shared before the request leaves
			r := &SharedRun{store: w.shared, id: find(t, w).ID(), end: lease.NewReader(w.shared, find(t, w).ID())}
			if s, err := r.Next(t.Context(), nil); err != nil || s.Progress.State(node) != batch.Sending {
				missing = append(missing, node)
			}
		}
		res, err := Start(t.Context(), alice.context(), sharedRestart())
		if err != nil || res.Summary.Verdict != batch.Done {
			t.Fatal(res.Summary.Verdict, res.Summary.Reason, err)
		}
		if len(missing) > 0 {
			t.Errorf("sent without a shared intent: %q", missing)
		}
		r := find(t, w)
		s, err := r.Next(t.Context(), nil)
		if err != nil || s.Live || s.ID != res.ID || s.Progress.Summary().Verdict != batch.Done || s.Progress.Counts() != res.Summary.States || !s.Meta.Share {
			t.Errorf("elsewhere it is %+v, %v", s, err)
		}
		if h := r.Found.Head; h.Ended.IsZero() || h.Status != "succeeded" && h.Status != batch.Done.String() || h.States["verified"] != 3 || h.Caller != "up=alice" {
			t.Errorf("its head is %+v", h)
		}
		local, err := alice.context().Store.raw(res.ID)
		if err != nil || !bytes.Equal(local, r.data) {
			t.Errorf("the shared record has %d bytes, the record %d, %v", len(r.data), len(local), err)
		}
		for key, e := range w.shared.(*bucket).keys {
			text := e.Value
			if _, packed, ok := bytes.Cut(text, []byte("\n")); ok {
				z, err := gzip.NewReader(bytes.NewReader(packed))
				if err != nil {
					t.Fatal(err)
				}
				plain, err := io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
				text = append(text, plain...)
			}
			if bytes.Contains(text, []byte("s3cret")) {
				t.Errorf("key %s holds the token", key)
			}
		}
	})
}

// TestADeadRunIsAdopted: alice's driver is gone between a request and its reply. Bob adopts, carol is refused meanwhile, and
// alice is refused afterwards, whatever she tries.
func TestADeadRunIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4")
		ops := operators(t, w, "alice", "bob", "carol")
		alice, bob, carol := ops[0], ops[1], ops[2]
		first := dying(t, alice)
		if n := sentOnce(t, w); n != 2 {
			t.Fatalf("alice's run sent to %d nodes", n)
		}
		var third, resumed error
		bob.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindSent && third == nil {
				_, third = carol.adopts(t)
				_, resumed = alice.resumes(t)
			}
		}
		res, err := bob.adopts(t)
		if err != nil || res.Summary.Verdict != batch.Done || res.ID != first.ID {
			t.Fatalf("bob's adoption: %v, %q, %v\n%s", res.Summary.Verdict, res.Summary.Reason, err, bob.events.notes())
		}
		if n := sentOnce(t, w); n != 4 {
			t.Errorf("%d nodes got a request", n)
		}
		if text := refusal(t, third); !strings.Contains(text, "up=bob on desk of bob drives run "+res.ID) {
			t.Error("carol, meanwhile:", text)
		}
		if text := refusal(t, resumed); !strings.Contains(text, "up=bob on desk of bob drives run "+res.ID) {
			t.Error("alice, meanwhile:", text)
		}
		for name, again := range map[string]func() (Result, error){
			"resume": func() (Result, error) { return alice.resumes(t) },
			"retry": func() (Result, error) {
				s, err := alice.context().Store.Named("last")
				if err != nil {
					t.Fatal(err)
				}
				return Retry(t.Context(), alice.context(), alice.again(t, s), s, []batch.State{batch.NotSent})
			},
		} {
			if _, err := again(); !strings.Contains(refusal(t, err), "it was adopted by up=bob on desk of bob") {
				t.Errorf("alice's %s: %v", name, err)
			}
		}
		if _, err := alice.adopts(t); !strings.Contains(refusal(t, err), "this machine has a record of it") {
			t.Errorf("alice adopts: %v", err)
		}
		if n := sentOnce(t, w); n != 4 {
			t.Errorf("%d nodes got a request in the end", n)
		}
		s, err := bob.context().Store.Named("last")
		if a := s.Progress.Adopted(); err != nil || len(a) != 1 || a[0].By != "up=bob on desk of bob" || a[0].From != "up=alice on desk of alice" || s.Meta.User != "bob" || s.Meta.Caller != "up=bob" {
			t.Errorf("bob's record: %+v, %+v, %v", a, s.Meta, err)
		}
	})
}

// A driver dies within the first 10 s, before its head counts a segment: its first request has left.
func TestARunThatDiedYoungIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		ops := operators(t, w, "alice", "bob")
		alice, bob := ops[0], ops[1]
		dyingAt(t, alice, "n1")
		if found := find(t, w).Found; found.Head.Segments != 0 || SharedStatus(found) != "died" {
			t.Errorf("elsewhere it is %q: %+v", SharedStatus(found), found.Head)
		}
		res, err := bob.adopts(t)
		if err != nil || res.Summary.Verdict != batch.Done {
			t.Fatalf("the adoption: %v, %q, %v\n%s", res.Summary.Verdict, res.Summary.Reason, err, bob.events.notes())
		}
		if n := sentOnce(t, w); n != 3 {
			t.Errorf("%d nodes got a request", n)
		}
	})
}

// A shared record that lost its last segments, as after a power cut of all brokers: nodes that were sent to look planned.
func TestAnAdoptionLooksBeforeItSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		ops := operators(t, w, "alice", "bob")
		dying(t, ops[0])
		b := w.shared.(*bucket)
		last := find(t, w)
		if _, err := last.Dead(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.set(func(b *bucket) {
			for n := len(last.parts); n > 0; n-- {
				key := lease.HeadKey(last.ID()) + ".j." + string(rune('0'+n))
				lost := b.keys[key]
				delete(b.keys, key)
				if _, packed, _ := bytes.Cut(lost.Value, []byte("\n")); bytes.Contains(unpacked(t, packed), []byte(`"k":"intent","t":`)) {
					return // that of n2
				}
			}
		})
		s, err := find(t, w).Dead(t.Context())
		if err != nil || s.Progress.State("n2") != batch.NotSent {
			t.Fatalf("n2 is %s in what is left, %v", s.Progress.State("n2"), err)
		}
		res, err := ops[1].adopts(t)
		if err != nil {
			t.Fatal(err)
		}
		sentOnce(t, w)
		if got := res.Summary.States; got.Of(batch.Unknown) != 1 || got.Of(batch.Verified) != 2 {
			t.Errorf("%v: %+v", res.Summary.Verdict, states(res.Summary))
		}
		if r := result(t, ops[1].stored(t).Progress, "n2"); r.State != batch.Unknown || r.Reason != "restarted since the run began" {
			t.Errorf("n2 is %+v", r)
		}
	})
}

// A process that began when the run did may be older or younger: an adoption does not send to it, and says that it does not
// know.
func TestAnAdoptionSaysThatANodeMayHaveRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4")
		ops := operators(t, w, "alice", "bob")
		w.nodes["n3"].start = time.Now().Add(-3 * time.Second)
		w.nodes["n4"].start = time.Now().Add(-10 * time.Second)
		dying(t, ops[0])
		res, err := ops[1].adopts(t)
		if err != nil || states(res.Summary)[batch.Verified] != 3 || sentOnce(t, w) != 3 {
			t.Fatal(res.Summary.Verdict, states(res.Summary), err)
		}
		if r := result(t, ops[1].stored(t).Progress, "n3"); r.State != batch.Unknown || r.Reason != "may have restarted since the run began: it started at about the same time" {
			t.Errorf("n3 is %+v", r)
		}
	})
}

func unpacked(t *testing.T, packed []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (o *operator) stored(t *testing.T) Stored {
	t.Helper()
	s, err := o.context().Store.Named("last")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// With protocol 2, callers behind a remote signer have a key and a token: they sign records themselves.
func TestARunBehindARemoteSignerIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		ops := operators(t, w, "alice", "bob")
		for _, o := range ops {
			o.id = identityBehind(t, o.name, seedOf(1), "https://signer.example.net/sign")
		}
		dying(t, ops[0])
		if res, err := ops[1].adopts(t); err != nil || res.Summary.Verdict != batch.Done || sentOnce(t, w) != 3 {
			t.Errorf("%v, %v", res.Summary.Verdict, err)
		}
	})
}

// An adoption waits until nothing that the dead driver sent can act.
func TestAnAdoptionOutlastsTheDeadDriver(t *testing.T) {
	for _, tt := range []struct {
		name   string
		after  time.Duration // from the end of alice's run
		marked bool
		waits  time.Duration
	}{
		{"its lock has expired", 5 * time.Minute, false, 11 * time.Second},
		{"its lock was evicted", 5 * time.Minute, true, 61 * time.Second},
		{"it was heard of just now, and has no lock", 0, false, 61 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3")
			ops := operators(t, w, "alice", "bob")
			dying(t, ops[0])
			<-time.After(tt.after)
			b := w.bucket.(*bucket)
			id := find(t, w).ID()
			b.set(func(b *bucket) {
				delete(b.keys, lease.LockKey("run_"+id))
				if b.seq++; tt.marked {
					b.keys[lease.LockKey("run_"+id)] = lease.Entry{Deleted: true, Revision: b.seq, Written: time.Now()}
				}
			})
			if tt.after == 0 {
				key := lease.HeadKey(id)
				w.shared.(*bucket).set(func(b *bucket) {
					e := b.keys[key]
					e.Written = time.Now()
					b.keys[key] = e
				})
			}
			began, sent := time.Now(), time.Time{}
			ops[1].events.hook = func(e Event) {
				if e, ok := e.(Began); ok && e.ID == id {
					sent = time.Now()
				}
			}
			if _, err := ops[1].adopts(t); err != nil {
				t.Fatal(tt.name, err)
			}
			if got := sent.Sub(began); got < tt.waits || got > tt.waits+10*time.Second {
				t.Errorf("%s: waited %s, want %s", tt.name, got, tt.waits)
			}
			sentOnce(t, w)
		})
	}
}

// What is not signed by operators of the fleet is not adopted.
func TestARecordThatIsNotSignedIsNotAdopted(t *testing.T) {
	replant := func(w *world, n int, change func(meta map[string]any, text []byte) []byte) {
		b := w.shared.(*bucket)
		b.set(func(b *bucket) {
			for key, e := range b.keys {
				if !strings.HasSuffix(key, ".j."+string(rune('0'+n))) {
					continue
				}
				first, packed, _ := bytes.Cut(e.Value, []byte("\n"))
				var meta map[string]any
				if json.Unmarshal(first, &meta) != nil {
					continue
				}
				packed = change(meta, packed)
				line, _ := json.Marshal(meta) // of valid values
				e.Value = append(append(line, '\n'), packed...)
				b.keys[key] = e
			}
		})
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, w *world, alice *operator)
		want string
	}{
		{"without signatures", func(t *testing.T, w *world, _ *operator) {
			replant(w, 1, func(meta map[string]any, packed []byte) []byte { delete(meta, "signed"); return packed })
		}, "segment 1 is not signed"},
		{"a segment with the signature of another", func(t *testing.T, w *world, _ *operator) {
			var signed any
			replant(w, 1, func(meta map[string]any, packed []byte) []byte { signed = meta["signed"]; return packed })
			replant(w, 2, func(meta map[string]any, packed []byte) []byte { meta["signed"] = signed; return packed })
		}, "segment 2: "},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3")
			ops := operators(t, w, "alice", "bob")
			dying(t, ops[0])
			tt.do(t, w, ops[0])
			_, err := ops[1].adopts(t)
			if text := refusal(t, err); !strings.Contains(text, "cannot be trusted") || !strings.Contains(text, tt.want) {
				t.Errorf("%s: %s", tt.name, text)
			}
			if got := contents(t, ops[1].dir); len(got) > 0 || sentOnce(t, w) != 2 {
				t.Errorf("%s: %q, nodes got %q", tt.name, got, w.sent())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		ops := operators(t, w, "alice", "bob")
		ops[0].id = identityBy(t, "mallory", seedOf(9)) // of another organization, with streams_user
		dying(t, ops[0])
		if _, err := ops[1].adopts(t); !strings.Contains(refusal(t, err), "not issued by a trusted issuer") {
			t.Errorf("a run of a stranger: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		ops := operators(t, w, "alice", "bob")
		ops[0].id, _ = w.Identity() // without a key
		dying(t, ops[0])
		if !strings.Contains(ops[0].events.notes(), "warning: the shared record is not signed") {
			t.Error("alice was not warned")
		}
		if _, err := ops[1].adopts(t); !strings.Contains(refusal(t, err), "no part of it is signed: its driver had no key of its own, as with protocol 1 behind a remote signer") {
			t.Errorf("a run without signatures: %v", err)
		}
	})
}

func TestASilentSharedRecordHoldsARun(t *testing.T) {
	for _, tt := range []struct {
		away time.Duration
		says string // why the run stops; "": it does not
	}{{30 * time.Second, ""}, {5 * time.Minute, "the broker has not answered for 1m"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3")
			alice := operators(t, w, "alice")[0]
			b := w.shared.(*bucket)
			const begin = 4*time.Minute + 50*time.Second // the second batch is due soon after
			time.AfterFunc(begin, func() { b.set(func(b *bucket) { b.away = true }) })
			time.AfterFunc(begin+tt.away, func() { b.set(func(b *bucket) { b.away = false }) })
			res, err := Start(t.Context(), alice.context(), sharedRestart())
			if err != nil {
				t.Fatal(err)
			}
			kinds := alice.events.names()
			switch s := res.Summary; {
			case tt.says != "" && (s.Verdict != batch.Stopped || !strings.Contains(s.Reason, tt.says) || sentOnce(t, w) != 1):
				t.Errorf("%s away: %v, %q, nodes got %q", tt.away, s.Verdict, s.Reason, w.sent())
			case tt.says == "" && (s.Verdict != batch.Done || sentOnce(t, w) != 3 || !slices.Contains(kinds, "paused") || !slices.Contains(kinds, "continued")):
				t.Errorf("%s away: %v, %q, %q", tt.away, s.Verdict, s.Reason, kinds)
			}
			<-time.After(tt.away)
			if s, err := find(t, w).Next(t.Context(), nil); tt.says == "" && (err != nil || s.Progress.Counts() != res.Summary.States) {
				t.Errorf("elsewhere it is %v, %v", s.Progress.Counts(), err)
			}
		})
	}
}

func TestARunIsStoppedAndPausedFromElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4")
		alice := operators(t, w, "alice")[0]
		ask := func(after time.Duration, a lease.Ask) {
			time.AfterFunc(after, func() {
				a.By, a.Host, a.Time = "up=bob", "op2", time.Now()
				if err := a.Send(t.Context(), w.shared, find(t, w).ID()); err != nil {
					t.Error(err)
				}
			})
		}
		ask(4*time.Minute, lease.Ask{Pause: true})
		ask(12*time.Minute, lease.Ask{})
		ask(14*time.Minute, lease.Ask{Stop: true})
		var when []time.Duration
		began := time.Now()
		alice.leaves = func(string) { when = append(when, time.Since(began)) }
		res, err := Start(t.Context(), alice.context(), sharedRestart())
		if err != nil || res.Summary.Verdict != batch.Interrupted || !strings.Contains(res.Summary.Reason, "stopped by up=bob on op2") {
			t.Fatalf("%v, %q, %v", res.Summary.Verdict, res.Summary.Reason, err)
		}
		if len(when) != 2 || when[1] < 12*time.Minute {
			t.Errorf("sent after %s", when)
		}
	})
}

func TestAPlanIsAppliedOnceInTheWorld(t *testing.T) {
	for _, shared := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2")
			plan := savedBy(t, w, restart())
			ops := operators(t, w, "alice", "bob")
			apply := func(o *operator) (Result, error) {
				r := Request{Inputs: map[string]string{"token": "s3cret"}, Guards: Guards{Yes: true}, Shared: Shared{Mirror: shared}}
				r, err := r.FromPlan(plan, batch.Amount{})
				if err != nil {
					t.Fatal(err)
				}
				return Apply(t.Context(), o.context(), r)
			}
			res, err := apply(ops[0])
			if err != nil || res.Summary.Verdict != batch.Done {
				t.Fatal(shared, res.Summary.Verdict, err)
			}
			if _, err := apply(ops[1]); !strings.Contains(refusal(t, err), "it was applied already, as run "+plan.Plan.ID+", by up=alice on desk of alice") {
				t.Errorf("shared %t: bob applies: %v", shared, err)
			}
			if n := sentOnce(t, w); n != 2 {
				t.Errorf("shared %t: %d nodes got a request", shared, n)
			}
		})
	}
}

// A plan that a guard refused can still be applied, by another operator, too.
func TestARefusedPlanIsNotUsedUpElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		plan := savedBy(t, w, restart())
		ops := operators(t, w, "alice", "bob")
		for i, o := range ops {
			w.settings.MaxNodes = 1 + i
			r := Request{Inputs: map[string]string{"token": "s3cret"}, Shared: Shared{Mirror: true}}
			r, err := r.FromPlan(plan, batch.Amount{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Apply(t.Context(), o.context(), r)
			if refused := i == 0; refused != (err != nil) {
				t.Errorf("%s: %v", o.name, err)
			}
		}
	})
}

// A lock is possible with election_user, too; a shared record is not, so the refusal does not name it.
func TestASharedRunNeedsMoreThanALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		w.bucket = broken{&lease.DeniedError{Permission: "streams_user or election_user"}}
		r := sharedRestart()
		for _, shared := range []bool{true, false} {
			r.Shared = Shared{Mirror: shared, Locks: []string{"web"}}
			_, err := w.start(t.Context(), r)
			if e, ok := errors.AsType[*SharedError](err); !ok || strings.Contains(e.Error()+e.Hint, "election_user") == shared {
				t.Errorf("shared %t: %v", shared, err)
			}
		}
		if len(w.sent()) != 0 {
			t.Errorf("sent %q", w.sent())
		}
	})
}

func TestASharedRunNeedsABucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		alice := operators(t, w, "alice")[0]
		w.shared = &bucket{none: true}
		for _, dry := range []bool{true, false} {
			r := sharedRestart()
			r.DryRun = dry
			_, err := Start(t.Context(), alice.context(), r)
			if e, ok := errors.AsType[*SharedError](err); !ok || !strings.Contains(e.Hint, "fleetctl shared init") {
				t.Errorf("dry run %t: %v", dry, err)
			}
		}
		if got := contents(t, alice.dir); len(got) > 0 || len(w.sent()) > 0 {
			t.Errorf("there are %q, nodes got %q", got, w.sent())
		}
	})
}

// The process that drives a detached adoption does what adopt does.
func TestADetachedAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		ops := operators(t, w, "alice", "bob")
		first := dying(t, ops[0])
		<-time.After(5 * time.Minute)
		s, err := find(t, w).Dead(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var text []byte
		c := ops[1].context()
		c.Detach = func(_ context.Context, h Handover) (err error) { text, err = json.Marshal(h); return err }
		r := ops[1].again(t, s, func(r *Request) { r.Detach = true })
		if _, err := Adopt(t.Context(), c, r, s); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, ops[1].dir); len(got) > 0 {
			t.Errorf("the first process made %q", got)
		}
		var h Handover
		if err := json.Unmarshal(text, &h); err != nil {
			t.Fatal(err)
		}
		res, err := Drive(t.Context(), ops[1].context(), h)
		if err != nil || res.ID != first.ID || res.Summary.Verdict != batch.Done || sentOnce(t, w) != 3 {
			t.Errorf("%v, %v, nodes got %q", res.Summary.Verdict, err, w.sent())
		}
		if _, err := ops[0].resumes(t); !strings.Contains(refusal(t, err), "it was adopted by up=bob") {
			t.Errorf("alice resumes: %v", err)
		}
	})
}

// A run that was not adopted is resumed where its record is, and its shared record continues.
func TestASharedRunIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		alice := operators(t, w, "alice")[0]
		dying(t, alice)
		res, err := alice.resumes(t)
		if err != nil || res.Summary.Verdict != batch.Done || sentOnce(t, w) != 3 {
			t.Fatalf("%v, %v, nodes got %q", res.Summary.Verdict, err, w.sent())
		}
		r := find(t, w)
		if s, err := r.Next(t.Context(), nil); err != nil || s.Progress.Counts() != res.Summary.States || s.Progress.Summary().Resumes != 1 {
			t.Errorf("elsewhere it is %+v, %v", s.Progress.Counts(), err)
		}
	})
}

// A run of nodes that a shared retry has sent to is not adopted.
func TestARunThatWasRetriedIsNotAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		ops := operators(t, w, "alice", "bob")
		alice, bob := ops[0], ops[1]
		first := dying(t, alice)
		s := alice.stored(t)
		var meanwhile error
		alice.events.hook = func(e Event) {
			if e, ok := e.(Recorded); ok && e.Record.Kind == batch.KindSent {
				s := dead(t, w, first.ID)
				_, meanwhile = Adopt(t.Context(), bob.context(), bob.again(t, s), s)
			}
		}
		res, err := Retry(t.Context(), alice.context(), alice.again(t, s), s, []batch.State{batch.NotSent})
		if err != nil || res.Summary.Verdict != batch.Done || !alice.stored(t).Meta.Share {
			t.Fatal(res.Summary.Verdict, err)
		}
		if text := refusal(t, meanwhile); !strings.Contains(text, "retries run "+first.ID+", as run "+res.ID) {
			t.Error("during the retry:", text)
		}
		<-time.After(5 * time.Minute)
		s = dead(t, w, first.ID)
		_, err = Adopt(t.Context(), bob.context(), bob.again(t, s), s)
		if text := refusal(t, err); !strings.Contains(text, "which is linked to it by a retry, has sent or may have sent to 1 node of these: n3") {
			t.Error("after the retry:", text)
		}
		sentOnce(t, w)
	})
}

// The same for a retry whose driver died before its head counted a segment.
func TestARunWhoseRetryDiedYoungIsNotAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		ops := operators(t, w, "alice", "bob")
		alice, bob := ops[0], ops[1]
		first := dying(t, alice)
		s := alice.stored(t)
		alice.leaves = func(string) { alice.away = true }
		if _, err := Retry(t.Context(), alice.context(), alice.again(t, s), s, []batch.State{batch.NotSent}); err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * time.Minute)
		s = dead(t, w, first.ID)
		_, err := Adopt(t.Context(), bob.context(), bob.again(t, s), s)
		if text := refusal(t, err); !strings.Contains(text, "has sent or may have sent to 1 node of these: n3") {
			t.Error("after the retry:", text)
		}
		sentOnce(t, w)
	})
}
