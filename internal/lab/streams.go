package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	clusterName  = "lab"
	electionTTL  = time.Minute // of a broker's own bucket
	electionSize = 1024        // bytes of a value there
	streamStore  = 1 << 30     // bytes of all streams of a server
	streamMemory = 64 << 20
	makePatience = 2 * time.Second
	makeAgain    = 100 * time.Millisecond // a new cluster has no leader at first
)

func serverName(i int) string {
	if i == 0 {
		return "lab"
	}
	return fmt.Sprintf("lab-%d", i+1)
}

// makeStore makes the folder of the streams. It lives as long as the lab, so that streams
// outlive a stop of the broker.
func (b *broker) makeStore() (err error) {
	if !b.options.Streams {
		return nil
	}
	if b.store, err = newFolder("streams-"); err != nil {
		return fmt.Errorf("make folder for streams: %w", err)
	}
	return nil
}

func (b *broker) removeStore() error { return b.store.remove() }

// reservePorts finds the ports of the servers and of their routes. They stay the same.
func (b *broker) reservePorts() error {
	if b.options.Brokers < 2 || b.links != nil {
		return nil
	}
	for range b.options.Brokers {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("find a port for the cluster: %w", err)
		}
		// Closed only when all are found: each must be another one.
		defer listener.Close()
		b.links = append(b.links, listener.Addr().(*net.TCPAddr).Port)
	}
	return nil
}

// port is where a server listens.
func (b *broker) port(i int) int {
	if i < len(b.urls) {
		if u, err := url.Parse(b.urls[i]); err == nil {
			if addr, err := net.ResolveTCPAddr("tcp", u.Host); err == nil {
				return addr.Port
			}
		}
	}
	if b.options.Port == 0 {
		return server.RANDOM_PORT
	}
	return b.options.Port + i
}

func (b *broker) withStreams(i int, o *server.Options) {
	if !b.options.Streams {
		return
	}
	o.JetStream, o.StoreDir = true, filepath.Join(b.store.path, serverName(i))
	o.JetStreamMaxMemory, o.JetStreamMaxStore = streamMemory, streamStore
}

// withPeers makes a server one of a cluster. Other programs of this machine do not know
// the password of its routes.
func (b *broker) withPeers(i int, o *server.Options) {
	if b.links == nil {
		return
	}
	o.Cluster = server.ClusterOpts{Name: clusterName, Host: "127.0.0.1", Port: b.links[i], Username: clusterName, Password: b.routes}
	for j, port := range b.links {
		if j != i {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", User: url.UserPassword(clusterName, b.routes), Host: fmt.Sprintf("127.0.0.1:%d", port)})
		}
	}
}

// openStreams lets the account of the fleet use JetStream, without limits.
func (b *broker) openStreams(ns *server.Server) error {
	account, err := ns.LookupAccount("choria")
	if err == nil {
		err = account.EnableJetStream(nil, nil)
	}
	if err != nil {
		return fmt.Errorf("enable streams: %w", err)
	}
	return nil
}

// makeBucket makes the bucket that each Choria broker with streams makes
// (docs/protocol.md, JetStream for clients). Real ones take 10 to 70 s until they do.
func (b *broker) makeBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("the cluster of brokers has no leader"))
	defer cancel()
	b.main.mu.Lock()
	conn := b.main.conn
	b.main.mu.Unlock()
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		return fmt.Errorf("make the brokers' bucket: %w", err)
	}
	config := jetstream.StreamConfig{
		Name: "KV_CHORIA_LEADER_ELECTION", Description: "Choria Leader Election Bucket", Subjects: []string{"$KV.CHORIA_LEADER_ELECTION.>"},
		Storage: jetstream.FileStorage, Replicas: b.options.Brokers, MaxAge: electionTTL, MaxMsgSize: electionSize, MaxMsgsPerSubject: 1,
		Discard: jetstream.DiscardNew, DenyDelete: true, AllowRollup: true, AllowDirect: true,
	}
	for {
		err := makeStream(ctx, js, config)
		if err == nil || b.options.Brokers == 1 || errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
		b.options.Logger.Debug("the brokers' bucket", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("make the brokers' bucket: %w: %v", context.Cause(ctx), err)
		case <-time.After(makeAgain):
		}
	}
}

// makeStream tries once: brokers without a leader do not answer.
func makeStream(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, makePatience)
	defer cancel()
	_, err := js.CreateStream(ctx, config)
	return err
}

// at is a server, nil while it is stopped.
func (b *broker) at(i int) *server.Server {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case i == 0:
		return b.server
	case i <= len(b.peers):
		return b.peers[i-1]
	}
	return nil
}

// put keeps a server that was started, or nil in place of one that was stopped.
func (b *broker) put(i int, ns *server.Server) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i == 0 {
		b.server = ns
	} else {
		b.peers[i-1] = ns
	}
}

// StopPeer ends one server of a cluster as a crash does. The first, number 0, has the
// fleet's connections: see StopBroker.
func (l *Lab) StopPeer(i int) error {
	l.brokerMu.Lock()
	defer l.brokerMu.Unlock()
	ns := l.broker.at(i)
	if i == 0 || ns == nil {
		return fmt.Errorf("no peer %d runs", i)
	}
	l.broker.put(i, nil)
	ns.Shutdown()
	ns.WaitForShutdown()
	return nil
}

// StopLeader ends the server that leads a stream, and returns which one, as Leader does.
func (l *Lab) StopLeader(ctx context.Context, stream string) (int, error) {
	leader, err := l.Leader(ctx, stream)
	if err != nil {
		return 0, err
	}
	return leader, l.StopPeer(leader)
}

// Leader returns which server leads a stream. The first server, which has the fleet's connections, gives the lead to a
// peer before.
func (l *Lab) Leader(ctx context.Context, stream string) (int, error) {
	l.broker.main.mu.Lock()
	conn := l.broker.main.conn
	l.broker.main.mu.Unlock()
	if conn == nil {
		return 0, errBrokerDown
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, fmt.Errorf("find the leader of %s: %w", stream, err)
	}
	for {
		if ns := l.broker.at(0); ns != nil && ns.JetStreamIsStreamLeader("choria", stream) {
			if err := ns.JetStreamStepdownStream("choria", stream); err != nil {
				return 0, fmt.Errorf("move the lead of %s: %w", stream, err)
			}
		}
		name := leaderOf(ctx, js, stream)
		for i := 1; i < l.options.Brokers; i++ {
			if serverName(i) == name {
				return i, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(makeAgain):
		}
	}
}

// leaderOf asks once, "" for no answer.
func leaderOf(ctx context.Context, js jetstream.JetStream, stream string) string {
	ctx, cancel := context.WithTimeout(ctx, makePatience)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil || s.CachedInfo().Cluster == nil {
		return ""
	}
	return s.CachedInfo().Cluster.Leader
}

// StartPeer starts it again.
func (l *Lab) StartPeer(ctx context.Context, i int) error {
	l.brokerMu.Lock()
	defer l.brokerMu.Unlock()
	if i < 1 || i > l.options.Brokers-1 || l.broker.at(0) == nil || l.broker.at(i) != nil {
		return fmt.Errorf("peer %d cannot be started", i)
	}
	ns, logger, err := l.broker.prepare(i)
	if err != nil {
		return err
	}
	ns.Start()
	l.broker.put(i, ns)
	if err := l.broker.openStreams(ns); err != nil {
		return err
	}
	return l.broker.listening(ctx, i, logger)
}
