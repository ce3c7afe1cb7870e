package lab

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/nats-io/nats-server/v2/server"
)

// Peer is what a process needs to run a server of a lab's cluster. It survives JSON, and holds the password of the cluster.
type Peer struct {
	Number   int // from 1
	Store    string
	Port     int // of its routes
	Routes   []int
	Password string
}

// peer describes a server for another process.
func (b *broker) peer(i int) Peer {
	var o server.Options
	b.withStreams(i, &o)
	p := Peer{Number: i, Store: o.StoreDir, Port: b.links[i], Password: b.routes}
	for j, port := range b.links {
		if j != i {
			p.Routes = append(p.Routes, port)
		}
	}
	return p
}

// RunPeer runs a server of a cluster until the context ends. Clients cannot connect to it.
func RunPeer(ctx context.Context, p Peer) error {
	o := &server.Options{
		ServerName: serverName(p.Number), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, // without a listener it has no routes
		CustomClientAuthentication: &doorkeeper{log: slog.New(slog.DiscardHandler)}, // it admits no client
		JetStream:                  true, StoreDir: p.Store, JetStreamMaxMemory: streamMemory, JetStreamMaxStore: streamStore,
		Cluster: server.ClusterOpts{Name: clusterName, Host: "127.0.0.1", Port: p.Port, Username: clusterName, Password: p.Password, NoAdvertise: true},
	}
	for _, port := range p.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", User: url.UserPassword(clusterName, p.Password), Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	ns, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("configure server %d of the cluster: %w", p.Number, err)
	}
	if err := (&doorkeeper{}).openAccounts(ns); err != nil {
		return err
	}
	ns.Start()
	if err := (&broker{}).openStreams(ns); err != nil {
		return err
	}
	<-ctx.Done()
	ns.Shutdown()
	ns.WaitForShutdown()
	return nil
}
