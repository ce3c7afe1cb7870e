package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/choria"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bucketOf is what an operator of the lab sees of the brokers' bucket.
func bucketOf(t *testing.T, conn *nats.Conn) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "CHORIA_LEADER_ELECTION")
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestLabWithStreamsHasTheBrokersBucket(t *testing.T) {
	for _, o := range []Options{
		{Nodes: 1, Streams: true},
		{Nodes: 1, Streams: true, Protocol: 2},
		{Nodes: 1, Streams: true, Protocol: 2, Brokers: 3},
	} {
		l := start(t, o)
		c := dialAs(t, l, "operator", inboxOf(t, l, "operator"))
		kv := bucketOf(t, c.conn)
		status, err := kv.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if status.TTL() != time.Minute || status.Config().MaxValueSize != 1024 || status.Config().Replicas != max(o.Brokers, 1) {
			t.Errorf("%+v: bucket %+v, want a TTL of 1m, values of 1024 bytes, a copy on each broker", o, status.Config())
		}
		if _, err := kv.Create(t.Context(), "fleetctl_web", []byte("me")); err != nil {
			t.Errorf("%+v: take a key: %v", o, err)
		}
		if _, err := kv.Create(t.Context(), "fleetctl_web", []byte("you")); !errors.Is(err, jetstream.ErrKeyExists) {
			t.Errorf("%+v: take a key that is held: %v", o, err)
		}
		c.conn.Close()
	}
}

func inboxOf(t *testing.T, l *Lab, name string) nats.Option {
	t.Helper()
	return nats.CustomInboxPrefix(choria.ReplyPrefix(l.creds.mainCollective(), identityOf(t, l, name).Caller(), choria.MD5))
}

func TestStreamPermissionsAreThoseOfRealBrokers(t *testing.T) {
	l := start(t, Options{Nodes: 1, Streams: true, Protocol: 2})
	for _, tt := range []struct {
		who                    string
		create, read, election bool
	}{
		{"operator", true, true, true},
		{"bob", true, true, true},
		{"streams", false, true, true},
		{"election", false, false, true},
		{"plain", false, false, false},
	} {
		c := dialAs(t, l, tt.who, inboxOf(t, l, tt.who))
		ask := func(subject, body string) bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			go func() {
				select {
				case <-c.problems: // not allowed: there will be no reply
					cancel()
				case <-ctx.Done():
				}
			}()
			m, err := c.conn.RequestWithContext(ctx, subject, []byte(body))
			return err == nil && !strings.Contains(string(m.Data), `"error"`)
		}
		if got := ask("$JS.API.STREAM.CREATE.KV_FLEETCTL", `{"name":"KV_FLEETCTL","subjects":["$KV.FLEETCTL.>"],"storage":"file","retention":"limits","num_replicas":1}`); got != tt.create {
			t.Errorf("%s may make FLEETCTL: %v, want %v", tt.who, got, tt.create)
		}
		if ask("$JS.API.STREAM.CREATE.OTHER", `{"name":"OTHER","subjects":["other"],"storage":"file","retention":"limits","num_replicas":1}`) {
			t.Errorf("%s may make any stream", tt.who)
		}
		if got := ask("$KV.CHORIA_LEADER_ELECTION."+tt.who, "x"); got != tt.election {
			t.Errorf("%s may take a lock: %v, want %v", tt.who, got, tt.election)
		}
		if got := ask("$JS.API.STREAM.MSG.GET.KV_CHORIA_LEADER_ELECTION", `{"last_by_subj":"$KV.CHORIA_LEADER_ELECTION.bob"}`); got != (tt.read && tt.who != "operator") {
			t.Errorf("%s may read the holder: %v, want %v", tt.who, got, tt.read)
		}
		c.conn.Close()
	}
}

func TestStreamsOutliveTheBroker(t *testing.T) {
	l := start(t, Options{Nodes: 1, Streams: true})
	c := dial(t, l)
	if _, err := bucketOf(t, c.conn).PutString(t.Context(), "kept", "yes"); err != nil {
		t.Fatal(err)
	}
	c.conn.Close()
	l.StopBroker()
	if err := l.StartBroker(t.Context()); err != nil {
		t.Fatal(err)
	}
	c = dial(t, l)
	defer c.conn.Close()
	if entry, err := bucketOf(t, c.conn).Get(t.Context(), "kept"); err != nil || string(entry.Value()) != "yes" {
		t.Errorf("read after the restart: %v, %v", entry, err)
	}
}

func TestClusterOutlivesAPeer(t *testing.T) {
	l := start(t, Options{Nodes: 1, Streams: true, Brokers: 3})
	c := dial(t, l)
	defer c.conn.Close()
	kv := bucketOf(t, c.conn)
	for _, i := range []int{1, 2} {
		if err := l.StopPeer(i); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for {
			try, end := context.WithTimeout(ctx, time.Second)
			_, err := kv.PutString(try, "key", "value")
			end()
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("write without peer %d: %v", i, err)
			}
		}
		cancel()
		if err := l.StartPeer(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	if l.StopPeer(0) == nil || l.StopPeer(3) == nil || l.StartPeer(t.Context(), 1) == nil {
		t.Error("a peer that does not exist was stopped, or one that runs was started")
	}
}
