package lease

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleetctl/internal/bus"
)

// broker starts a NATS server; rights are those of the client "limited".
func broker(t testing.TB, streams bool, rights ...string) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: streams, StoreDir: t.TempDir()}
	o.Users = []*server.User{
		{Username: "all", Password: "x"},
		{Username: "limited", Password: "x", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: append(rights, "none")}}},
	}
	ns, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the broker does not listen")
	}
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	return ns
}

func connect(t testing.TB, ns *server.Server, user string) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(t.Context(), bus.Options{Servers: []string{ns.ClientURL()}, User: user, Password: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// elections makes the bucket as Choria brokers do.
func elections(t testing.TB, ns *server.Server) jetstream.KeyValue {
	t.Helper()
	nc, err := nats.Connect(ns.ClientURL(), nats.UserInfo("all", "x"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "KV_CHORIA_LEADER_ELECTION", Subjects: []string{"$KV.CHORIA_LEADER_ELECTION.>"}, MaxAge: time.Minute, MaxMsgSize: 1024, MaxMsgsPerSubject: 1,
		Discard: jetstream.DiscardNew, DenyDelete: true, AllowRollup: true, AllowDirect: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), Elections)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestLockOnARealBroker(t *testing.T) {
	ns := broker(t, true)
	kv := elections(t, ns)
	store := Open(connect(t, ns, "all"), Elections)
	l, err := Take(t.Context(), store, "web", alice, requestTTL)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(t.Context(), "fleetctl_web"); err != nil || decode(e.Value()).Run != "r1" {
		t.Fatalf("the bucket has %v, %v", e, err)
	}
	_, err = Take(t.Context(), store, "web", bob, requestTTL)
	if h, ok := errors.AsType[*HeldError](err); !ok || h.Holder.Run != "r1" {
		t.Fatal("take a held lock:", err)
	}
	for range 2 {
		if !l.renew(t.Context()) {
			t.Fatal("it cannot be renewed")
		}
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err = Take(t.Context(), store, "web", bob, requestTTL)
	if err != nil || l.May() != nil {
		t.Fatalf("after the release: %v", err)
	}
	// An eviction is a delete marker without our header.
	if err := kv.Delete(t.Context(), "fleetctl_web"); err != nil {
		t.Fatal(err)
	}
	if l.renew(t.Context()) {
		t.Error("an evicted holder renewed")
	}
	if e, ok := errors.AsType[*lostError](l.May()); !ok || !e.Evicted {
		t.Error("after the eviction:", l.May())
	}
	l, err = Take(t.Context(), store, "web", alice, requestTTL)
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := errors.AsType[*StaleError](l.May()); !ok || e.Wait < 50*time.Second || e.Wait > time.Minute {
		t.Error("the next holder may send at once:", l.May())
	}
	if keys, err := store.Keys(t.Context(), keyStart); err != nil || len(keys) != 1 || keys[0] != "fleetctl_web" {
		t.Error("keys:", keys, err)
	}
	// What Choria's own election sees is a key that exists.
	if _, err := kv.Create(t.Context(), "fleetctl_web", []byte("srv1")); !errors.Is(err, jetstream.ErrKeyExists) {
		t.Error("an election took a held lock:", err)
	}
}

func TestBrokersThatCannot(t *testing.T) {
	plain := broker(t, false)
	if _, err := Open(connect(t, plain, "all"), Elections).Status(t.Context()); !errors.Is(err, ErrNoStreams) {
		t.Error("a broker without streams:", err)
	}
	empty := broker(t, true)
	if _, err := Open(connect(t, empty, "all"), Elections).Status(t.Context()); !errors.Is(err, ErrNoBucket) {
		t.Error("a broker without the bucket:", err)
	}
	if _, err := Open(connect(t, empty, "all"), Shared).Put(t.Context(), "x", []byte("y"), 0); !errors.Is(err, ErrNoBucket) {
		t.Error("a write without the bucket:", err)
	}
	nothing := broker(t, true)
	elections(t, nothing)
	_, err := Open(connect(t, nothing, "limited"), Elections).Status(t.Context())
	if e, ok := errors.AsType[*DeniedError](err); !ok || e.Permission != useElection {
		t.Error("a token without permission:", err)
	}
	blind := broker(t, true, "$JS.API.STREAM.INFO.KV_CHORIA_LEADER_ELECTION", "$KV.CHORIA_LEADER_ELECTION.>")
	elections(t, blind)
	l, err := Take(t.Context(), Open(connect(t, blind, "limited"), Elections), "web", alice, requestTTL)
	if err != nil || !l.Blind() || !l.renew(t.Context()) {
		t.Errorf("a token with election_user alone: %v", err)
	}
}

func TestBucketForWhatRunsShare(t *testing.T) {
	ns := broker(t, true, "$JS.API.STREAM.INFO.>")
	elections(t, ns)
	b := Open(connect(t, ns, "all"), Shared)
	if _, err := b.Status(t.Context()); !errors.Is(err, ErrNoBucket) {
		t.Fatal("before it is made:", err)
	}
	_, err := Open(connect(t, ns, "limited"), Shared).Create(t.Context(), 1)
	if e, ok := errors.AsType[*DeniedError](err); !ok || e.Permission != makeStreams {
		t.Error("a token that may not make it:", err)
	}
	none := connect(t, broker(t, true), "limited")
	_, blind := Replicas(t.Context(), Open(none, Elections))
	if _, err := Open(none, Shared).Create(t.Context(), 1); err == nil || err.Error() != blind.Error() {
		t.Error("a token without any permission:", err)
	}
	if e, ok := errors.AsType[*DeniedError](blind); !ok || e.Permission != makeStreams {
		t.Error("a token that may not look at the brokers' bucket lacks the permission to make ours:", blind)
	}
	if n, err := Replicas(t.Context(), Open(connect(t, ns, "all"), Elections)); n != 1 || err != nil {
		t.Errorf("%d copies, %v", n, err)
	}
	for _, want := range []bool{true, false} {
		if made, err := b.Create(t.Context(), 1); made != want || err != nil {
			t.Errorf("made %v, %v, want %v", made, err, want)
		}
	}
	if s, err := b.Status(t.Context()); s.TTL != 0 || s.Replicas != 1 || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
	at, err := b.Put(t.Context(), "x", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "x", []byte("2"), 0); !errors.Is(err, ErrConflict) {
		t.Error("a write against another revision:", err)
	}
	if _, err := b.Put(t.Context(), "x", []byte("2"), at); err != nil {
		t.Error(err)
	}
}
